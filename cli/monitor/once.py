"""A pass with everything that watches, and what is asked for after it: what `run` and `serve` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from cli.monitor.watching import watchers
from cli.predictions import log_of
from cli.workspace import Workspace
from features.clock import parse
from model.fetching import Models
from monitoring.ledger import Closed, Ledger
from monitoring.passes import asking, passing
from monitoring.passes.passing import Passed
from settings import HoldfastError

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
    models: Models | None = None,
) -> Done:
    """Make a pass; ask for a new model if that is due, and write the request to its file.

    Args:
        verdict: the file; by default HOME/USECASE/monitor/retrain.json. tell: as `passing.run` calls it.
        skew_share: as `monitoring.skew.Skew` takes it. models: those of other passes, with what they remember.

    Raises:
        Busy, StoreError: as `passing.run`. HoldfastError: if the file cannot be written, be a request due or not.
    """
    usecase, path = workspace.usecase, verdict or workspace.home / "monitor" / "retrain.json"
    if verdict is not None:
        _tried(verdict)
    models = workspace.models if models is None else models
    watching = watchers(workspace, models, skew_share)
    passed = passing.run(usecase, ledger, log_of(workspace), watching, tell=tell, find=models.path)
    _answer(workspace, ledger)
    asking.ask(usecase, ledger, {one.model for one in passed.closed})
    request = asking.untold(ledger)
    if request is not None:
        with _writing(path):
            asking.write(path, usecase.name, request)
    return Done(passed, request, path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HoldfastError(
            f"{path}: a request for a new model cannot be written there: {error.strerror}; name a file in a directory "
            "that can be written with --verdict"
        ) from error


def _tried(path: Path) -> None:
    """Find out whether the file can be written, as long as there is nothing yet to be lost."""
    with _writing(path):
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


def _answer(workspace: Workspace, ledger: Ledger) -> None:
    """Close a request that somebody decided on since: with a model, or against one."""
    request = asking.standing(ledger)
    if request is None or not request["open"]:
        return
    for entry in reversed(workspace.registry.entries(workspace.usecase.name)):
        if entry.action in DECISIONS and parse(entry.time) >= request["asked"]:
            asking.answer(ledger, request, f"{entry.action} of {entry.tag} by {entry.who} at {entry.time}")
            return
