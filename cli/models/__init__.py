"""Commands over models: what there is, what is live, what was live, and the way back."""

from cli.models import looking, moving, promotion
from cli.models.app import models

__all__ = ["looking", "models", "moving", "promotion"]
