"""The profiles of the models that can be had here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.fetching import Models
    from model.profile import Profile


def profiles(models: Models) -> Callable[[str], Profile | None]:
    """The profile of a model's artefact, by its tag; None where the model cannot be had here, or has none."""
    from model import store
    from model.archive import Away
    from model.artefact import ArtefactError
    from model.profile import Profile, ProfileError
    from monitoring.passes.passing import PROFILE

    found: dict[str, Profile] = {}

    def profile(tag: str) -> Profile | None:
        if tag not in found:
            try:
                found[tag] = Profile.load(models.path(tag) / PROFILE)
            except (store.ModelNotFound, ArtefactError, ProfileError, Away):
                return None
        return found[tag]

    return profile
