"""Commands over models: what there is, what is live, what was live, and the way back."""

from cli.models import keeping, looking, moving, promotion, rollback
from cli.models.app import models

__all__ = ["keeping", "looking", "models", "moving", "promotion", "rollback"]
