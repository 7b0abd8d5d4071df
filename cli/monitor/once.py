"""A pass with everything that watches, and what is asked for after it: what `run` and `serve` have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.monitor.watching import watchers
from cli.predictions import log_of
from cli.workspace import Workspace
from features.clock import parse
from monitoring.ledger import Closed, Ledger
from monitoring.passes import asking, passing
from monitoring.passes.passing import Passed

DECISIONS = ("promote", "rollback", "refuse")
"""What answers a request for a new model, in the journal."""


@dataclass(frozen=True)
class Done:
    """A pass, and the request for a new model that nobody was told of yet; it is in the file `verdict`."""

    passed: Passed
    request: dict[str, Any] | None
    verdict: Path


def once(
    workspace: Workspace,
    ledger: Ledger,
    verdict: Path | None = None,
    tell: Callable[[int, list[Closed]], None] = lambda *_: None,
    *,
    skew_share: float | None = None,
) -> Done:
    """Make a pass; ask for a new model if that is due, and write the request to its file.

    Args:
        verdict: the file; by default HOME/USECASE/monitor/retrain.json. tell: as `passing.run` calls it.
        skew_share: as `monitoring.skew.Skew` takes it.

    Raises:
        Busy, StoreError: as `passing.run`.
    """
    usecase, path = workspace.usecase, verdict or workspace.home / "monitor" / "retrain.json"
    passed = passing.run(usecase, ledger, log_of(workspace), watchers(workspace, skew_share), tell=tell)
    _answer(workspace, ledger)
    asking.ask(usecase, ledger, {one.model for one in passed.closed})
    request = asking.untold(ledger)
    if request is not None:
        asking.write(path, usecase.name, request)
    return Done(passed, request, path)


def _answer(workspace: Workspace, ledger: Ledger) -> None:
    """Close a request that somebody decided on since: with a model, or against one."""
    request = asking.standing(ledger)
    if request is None or not request["open"]:
        return
    for entry in reversed(workspace.registry.entries(workspace.usecase.name)):
        if entry.action in DECISIONS and parse(entry.time) >= request["asked"]:
            asking.answer(ledger, request, f"{entry.action} of {entry.tag} by {entry.who} at {entry.time}")
            return
