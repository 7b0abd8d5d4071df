"""Outcomes are counted as they mature: each prediction's once, when its time is over, and not as soon as it is known.

A prediction is mature when its `request_time` and what the use case says of `Watch.matures` have passed by the data's
clock. Sooner, those whose outcome is known early would speak for all: of "orders nothing for 90 days" every "no" comes
first. What is counted is the outcome that holds when the prediction is looked at (`model.predictions.outcome`), in the
window that is open then: of a mature prediction without one, whenever one comes. What is corrected later is told, and
not counted again.

Which predictions to look at is known from slices of time (`marks.SLICE`), by when predictions were answered: those in
which answers matured, or which outcomes came about. They are read from the log once, behind the last chunk of a pass,
so nothing is held in memory but the marks of slices that are touched, 9 bytes for each prediction that was counted.
Everything that is remembered is in notes of the ledger, committed with the windows that it was counted in.

Counters "outcomes":
    matched    predictions whose outcome was counted; corrected: those whose outcome was another one later
    unmatched  outcomes that fitted no prediction in the log when they came; should it come after them, it is matched
    immature   predictions that are not mature, now, and were seen to have an outcome when one came
    missing    predictions that are mature, now, and have none
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np

from model.predictions.entry import Prediction
from model.predictions.outcome import Outcome, Settled
from monitoring.outcomes import marks
from monitoring.outcomes.marks import Marks
from monitoring.outcomes.standing import Standing
from monitoring.outcomes.tally import Tally
from monitoring.passes.passing import Pass
from monitoring.window import Window

NOTE = "outcomes"
_WAITING = 50_000
"""Outcomes that are kept until it is looked up what they are about."""
_PART = 20_000
"""Outcomes that are added up at once."""


@dataclass
class _Agenda:
    """What is still to be looked at.

    due: by slice, the data's time from which on one of its predictions is mature; 0 for at once.
    waiting: outcomes that came, as they are stored.
    """

    due: dict[int, int] = field(default_factory=dict)
    waiting: list[Outcome] = field(default_factory=list)

    def add(self, slice_: int, moment: int) -> None:
        self.due[slice_] = min(moment, self.due.get(slice_, moment))


class Maturing:
    """A watcher: outcomes into windows, and facts of performance.

    Args:
        fixed: HOLDFAST_NOW, if the data's clock stands still.
    """

    def __init__(self, fixed: datetime | None = None) -> None:
        self._fixed = fixed

    def watch(self, pass_: Pass) -> None:
        """Gather what was read; behind the last chunk, count what matured."""
        standings = _Standings(pass_)
        matures = pass_.usecase.watch.matures
        agenda = _read(pass_.noted(NOTE))
        for block in pass_.chunk.blocks:
            if len(block):
                standings.of(block.model).answers += Tally.of(block.scores, block.flagged)
                slices, places = np.unique(block.times // marks.SLICE, return_inverse=True)
                first = np.full(len(slices), np.iinfo(np.int64).max)
                np.minimum.at(first, places, block.moments)
                for slice_, moment in zip(slices.tolist(), first.tolist(), strict=True):
                    agenda.add(slice_, moment + matures)
        standings.close(sorted({one.model for one in pass_.closed}))
        agenda.waiting += pass_.chunk.outcomes
        if pass_.last or len(agenda.waiting) >= _WAITING:
            self._place(pass_, agenda)
        if pass_.last:
            self._settle(pass_, agenda, standings)
        pass_.note(NOTE, _written(agenda))
        standings.keep()

    def _place(self, pass_: Pass, agenda: _Agenda) -> None:
        """Look up which slices outcomes are about."""
        told = {one.outcome_id: one for one in agenda.waiting}
        times = pass_.log.about(told.values())
        pass_.count("outcomes", "unmatched", len(told) - len(times))
        for moment in times.values():
            agenda.due[marks.of(moment)] = 0
        agenda.waiting.clear()

    def _settle(self, pass_: Pass, agenda: _Agenda, standings: _Standings) -> None:
        """Look at all slices that are due."""
        now = pass_.usecase.now(self._fixed)
        slices = [slice_ for slice_, moment in agenda.due.items() if moment <= now]
        if not slices:
            return
        former = {slice_: Marks.from_bytes(pass_.noted(f"{NOTE} {slice_}")) for slice_ in slices}
        counted = {slice_: Marks(dict(former[slice_].outcomes)) for slice_ in slices}
        for slice_ in slices:
            del agenda.due[slice_]
        found = defaultdict[str, list[tuple[float, bool, bool]]](list)
        settled = pass_.log.settled(_answered(pass_, slices))
        for one in settled:
            mature = one.request_time + pass_.usecase.watch.matures
            slice_ = marks.of(one.answered_at)
            if mature > now:
                agenda.add(slice_, mature)
            if _mark(counted[slice_], one, mature <= now, pass_):
                own = found[one.model]
                own.append((one.probability, one.probability >= one.threshold, bool(one.outcome)))
                if len(own) == _PART:
                    standings.count(one.model, found.pop(one.model))
        for model, own in found.items():
            standings.count(model, own)
        for slice_, now_there in counted.items():
            was = former[slice_]
            pass_.count("outcomes", "missing", now_there.missing - was.missing)
            pass_.count("outcomes", "immature", now_there.early - was.early)
            if now_there != was:
                pass_.note(f"{NOTE} {slice_}", now_there.to_bytes())


class _Standings:
    """Of the models that a commit is about."""

    def __init__(self, pass_: Pass) -> None:
        self._pass, self._there, self._labelled = pass_, dict[str, Standing](), set[str]()

    def of(self, model: str) -> Standing:
        """Of that model."""
        if model not in self._there:
            self._there[model] = Standing.from_bytes(self._pass.noted(f"performance {model}"))
        return self._there[model]

    def count(self, model: str, own: list[tuple[float, bool, bool]]) -> None:
        """Add (score, flagged, outcome) of predictions that are counted now."""
        score, flagged, outcome = (np.array(values) for values in zip(*own, strict=True))
        standing = self.of(model)
        standing.labelled += Tally.of(score, flagged, outcome)
        self._labelled.add(model)
        self._pass.count("outcomes", "matched", len(own))
        profile = self._pass.profile(model)
        if profile is not None and profile.layout.judged:
            self._pass.add(model, Window.from_outcomes(profile, score, outcome))

    def close(self, models: Iterable[str]) -> None:
        """Publish what was gathered for windows that this commit closes."""
        for model in models:
            numbers = [one.number for one in self._pass.closed if one.model == model]
            self._publish(model, max(numbers))
            self.of(model).close()

    def keep(self) -> None:
        """Note how all stand; publish where outcomes were counted."""
        for model, standing in self._there.items():
            if model in self._labelled:
                here = [one.number for one in self._pass.closed if one.model == model]
                last = here or [one.number for one in self._pass.ledger.closed(model, 1)]
                self._publish(model, max(last, default=0) + 1)
            self._pass.note(f"performance {model}", standing.to_bytes())

    def _publish(self, model: str, window: int) -> None:
        for body in self.of(model).facts(model, window, self._pass.usecase.costs):
            self._pass.fact("performance", body, model)


def _answered(pass_: Pass, slices: list[int]) -> Iterator[Prediction]:
    """The predictions of these slices, each once, by models that have a profile here, as windows count them."""
    asked, seen = set(slices), set[int]()
    for start, end in marks.runs(slices):
        seen.clear()
        for one in pass_.log.between(start, end):
            name = marks.hashed(one.prediction_id)
            if marks.of(one.answered_at) in asked and name not in seen and pass_.profile(one.model) is not None:
                seen.add(name)  # a record may be in two segments: a pod's disk was copied, a spool was put back
                yield one


def _mark(there: Marks, one: Settled, mature: bool, pass_: Pass) -> bool:
    """Note what is known of a prediction; whether its outcome is to be counted now."""
    if one.outcome is None or not mature:
        there.missing += mature
        there.early += one.outcome is not None
        return False
    name = marks.hashed(one.prediction_id)
    before = there.outcomes.get(name)
    there.outcomes[name] = one.outcome
    if before is not None and before != one.outcome:
        pass_.count("outcomes", "corrected")
    return before is None


def _read(data: bytes | None) -> _Agenda:
    if data is None:
        return _Agenda()
    due, waiting = msgspec.msgpack.decode(data, type=tuple[dict[int, int], list[Outcome]])
    return _Agenda(due, waiting)


def _written(agenda: _Agenda) -> bytes:
    return msgspec.msgpack.encode([agenda.due, agenda.waiting])
