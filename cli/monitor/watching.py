"""What looks at more than windows in a pass: outcomes, skew and quality."""

from __future__ import annotations

from cli.replay import everyone
from cli.workspace import Workspace
from model.fetching import Models
from model.predictions.pseudonym import Pseudonyms
from model.replay import Events
from monitoring.outcomes.maturing import Maturing
from monitoring.passes.passing import Watcher
from monitoring.quality import Quality
from monitoring.skew import Skew


def watchers(workspace: Workspace, models: Models, skew_share: float | None = None) -> list[Watcher]:
    """All of them, for passes of this use case."""
    settings, features = workspace.settings, workspace.usecase.features

    def events() -> Events:
        return Events(workspace.events, *everyone(workspace, Pseudonyms(settings.id_hmac_key)))

    checks = Skew(
        features, events if features.sql else None, skew_share, enforce=settings.gate == "enforce", find=models.path
    )
    return [Maturing(settings.now), checks, Quality()]
