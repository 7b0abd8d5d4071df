"""Commands over models: what there is, what is live, what was live, and the way back."""

from cli.models import comparing, keeping, looking, moving, promotion, rollback
from cli.models.app import models

__all__ = ["comparing", "keeping", "looking", "models", "moving", "promotion", "rollback"]
