"""`holdfast monitor report`, and the same after an alarm: Evidently's report of a window."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Out
from cli.monitor.app import AsJson, Model, Name, ledger_of, monitor
from cli.workspace import Workspace
from features import clock
from settings import HoldfastError

if TYPE_CHECKING:
    import pandas as pd

    from model.predictions import Prediction
    from model.predictions.reading import Log
    from model.profile import Profile
    from monitoring.ledger import Closed, Ledger

log = logging.getLogger("holdfast.monitoring")


@monitor.command("report")
def report_command(
    usecase: Name = None,
    model: Model = None,
    number: Annotated[int | None, typer.Option("--window", min=1, help="Its number; default: the newest one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evidently's report of a window against rows of its reference, linked from the page; no alarm comes of it."""
    from cli.monitor.profiles import profiles
    from cli.predictions import log_of
    from monitoring import evidently
    from monitoring.page import Watched

    out, workspace = Out(as_json), Workspace.open(usecase)
    ledger, find = ledger_of(workspace), profiles(workspace.models)
    watched = Watched(workspace.usecase, ledger, find, workspace.home / "monitor" / "reports")
    tag = watched.model(model or _latest(ledger))
    ring = watched.ring(tag, number)
    if not ring:
        raise HoldfastError(f"{tag} has no window yet: one closes first")
    window, profile = ring[-1], find(tag)
    if profile is None:
        raise HoldfastError(f"{tag} is not in the model store here, so what its columns are is not known")
    answers = log_of(workspace)
    rows = evidently.frame(_between(answers, tag, window.start, window.end), profile.columns)
    reference, which = _reference(workspace, answers, ledger, profile, window)
    title = f"{tag}, window {window.number} (until {clock.rfc3339(window.end)}), against {which}"
    path = watched.reports / f"{tag.replace(':', '-')}-{window.number}.html"
    evidently.write(path, reference, rows, profile.columns, title)
    evidently.sweep(path.parent, f"{tag.replace(':', '-')}-")
    out.proved("report", f"{path} ({len(rows):,} rows, {len(reference):,} of the reference: {which})")
    out.result({"file": str(path), "rows": len(rows), "reference_rows": len(reference), "reference": which})


class Reporter:
    """Makes reports beside the monitor, one after another, each in a process of its own: Evidently takes some hundreds
    of megabytes, which a process that runs for months does not give back."""

    def __init__(self, usecase: str) -> None:
        self._usecase = usecase
        self._waiting: list[Closed] = []
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, window: Closed) -> None:
        """A report of that window, soon; of several windows of a model that wait, only the newest is made."""
        self._waiting = [one for one in self._waiting if one.model != window.model] + [window]

    def go_on(self) -> bool:
        """Begin the next one, unless one is being made; whether one is, now."""
        if self._process is not None and self._process.poll() is None:
            return True
        if self._process is not None and self._process.returncode:
            log.error("a report of Evidently's could not be made: see the lines before")
        self._process = None
        if self._waiting:
            one = self._waiting.pop(0)
            own = ["report", self._usecase, "--model", one.model, "--window", str(one.number)]
            command = [sys.executable, "-m", "cli.main", "monitor", *own]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command
        return self._process is not None

    def stop(self) -> None:
        """Make no other one, and not this one to its end."""
        if self._process is not None:
            self._process.kill()


def _latest(ledger: Ledger) -> str:
    """The model that answered last.

    Raises:
        HoldfastError: if none did.
    """
    opened = [one for one in map(ledger.opened, ledger.models()) if one is not None]
    if not opened:
        raise HoldfastError("nothing was counted yet: run `holdfast monitor run`")
    newest = {one.model: max([one.end, *(closed.end for closed in ledger.closed(one.model, 1))]) for one in opened}
    return max(newest, key=lambda tag: newest[tag])


def _between(answers: Log, tag: str, start: int, end: int) -> Iterator[Prediction]:
    return (one for one in answers.between(start, end + 1) if one.model == tag)


def _reference(
    workspace: Workspace, answers: Log, ledger: Ledger, profile: Profile, window: Closed
) -> tuple[pd.DataFrame, str]:
    """Rows of what the window was held against, and what they are.

    Windows that were served have theirs in the prediction log. An artefact has counts of its training set and no rows,
    so they are computed again from the events; where those are not at hand, windows before that did not alarm stand in.

    Raises:
        HoldfastError: if there are none of these either.
    """
    from monitoring import evidently

    closed = [one for one in ledger.closed(window.model) if one.number < window.number]
    first, _, last = window.reference.removeprefix("served ").partition("-")
    if window.reference.startswith("served "):
        own = [one for one in closed if int(first) <= one.number <= int(last)]
        which = f"the windows {first} to {last} that were served"
    else:
        try:
            return trained(workspace, window.model, profile)
        except HoldfastError as error:
            own = [one for one in closed if not one.alarm][: workspace.usecase.watch.settle]
            if not own:
                raise HoldfastError(
                    f"there are no rows to hold window {window.number} against: its training set cannot be computed "
                    f"again ({error}), and no window before it is without an alarm"
                ) from None
            numbers = ", ".join(str(one.number) for one in own)
            which = f"the first windows without an alarm ({numbers}), for the training set is not at hand here"
    rows = (one for span in own for one in _between(answers, window.model, span.start, span.end))
    return evidently.frame(rows, profile.columns), which


def trained(workspace: Workspace, tag: str, profile: Profile) -> tuple[pd.DataFrame, str]:
    """Rows of the training set, computed again from the events, with the model's answers to them; and what they are.

    Raises:
        HoldfastError: if the code or the events are others than those that it was trained with.
    """
    import numpy as np
    import pandas as pd

    from model import gate
    from monitoring import evidently
    from training.dataset import build, label_times
    from usecases import Absence

    usecase, settings = workspace.usecase, workspace.settings
    loaded = gate.load(workspace.models.path(tag), usecase.features, enforce=settings.gate == "enforce")
    manifest, scorer = loaded.manifest, loaded.scorer
    parts = {clock.parse(time) for own in manifest.dataset.label_times.values() for time in own}
    times = label_times(usecase, workspace.events, workspace.now)
    if isinstance(usecase.label, Absence):  # between the parts there are times that none of them has
        times = sorted({*parts, *(time for time in times if min(parts) <= time <= max(parts))})
    dataset, _ = build(usecase, workspace.events, times, workspace.now, workspace.cache)
    same = dataset.content == manifest.dataset.content
    some = np.arange(0, len(dataset), max(1, -(-len(dataset) // evidently.ROWS)))
    dataset = dataset.take(some)
    scores = scorer.score_features(dataset.features)
    rule = scorer.decision
    own = {name: dataset.features[name] for name in usecase.features.inputs}
    own["score"], own["decision"] = scores.probability, np.where(scores.positive, rule.positive, rule.negative)
    names = [column.name for column in profile.columns]
    rows = evidently.typed(pd.DataFrame({name: own[name] for name in names}), profile.columns)
    return rows, "the training set" if same else "the training set as the events give it now"
