"""A batch run: part after part, each committed whole, taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from batch.plan import Finished, Part, Plan, Run, data, divide
from batch.score import STAMPS, Scoring, part
from batch.sink import Sink, SinkError, Target
from features import clock
from features.store.base import EventStore, StoreError
from settings import HoldfastError
from usecases import UseCase

TOLD = 3
"""Reasons of rejected rows that are told."""


class BudgetExceeded(HoldfastError):
    """More rows could not be scored than the failure budget allows; the message says why the first ones could not."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to. rows = scored + quarantined = keys known at its as_of; `resumed` parts were there before."""

    run: Run
    rows: int
    scored: int
    quarantined: int
    parts: int
    resumed: int
    where: str


def begun(sink: Sink, run: Run, cadence: int) -> Run:
    """The run to take up: an unfinished one that differs in nothing but its as_of, within one cadence (microseconds);
    else `run` itself. So the same command resumes although its clock has moved."""
    for other in reversed(sink.unfinished()):
        same = other.model_copy(update={"as_of": run.as_of}) == run
        if same and clock.floor(other.t, cadence) == clock.floor(run.t, cadence):
            return other
    return run


def score(
    usecase: UseCase,
    events: EventStore,
    sink: Sink,
    run: Run,
    scoring: Scoring,
    *,
    budget: float = 0.0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Score everyone known at the run's as_of into `sink`.

    Args:
        budget: share of the rows that may lack a score; they are kept apart, with reasons.
        progress: called with parts done and parts in all.

    Raises:
        BudgetExceeded: if more rows lack one; what is committed stays, and a run with a larger budget goes on there.
        GateRefused: if the model may not score here.
        SinkError, StoreError: if scores cannot be kept or data not be read; likewise.
    """
    scoring.load()
    if usecase.key in STAMPS:
        raise SinkError(f"{usecase.name}: its key is called {usecase.key!r}, as a column of every score is; rename it")
    with sink.hold(run) as target:
        plan = target.plan()
        if plan is None:
            plan = divide(run, events)
            target.keep(plan)
        there = {one.number: one for one in target.committed()}
        done, seen = dict(there), 0
        for number, (low, high) in enumerate(plan.parts):
            if number not in done:
                scores, rejected = part(usecase, events, run, scoring, events.keys(run.t, low, high))
                seen = _unchanged(events, run, seen)
                done[number] = target.commit(plan, _told(number, scores, rejected), scores, rejected)
            _within(budget, plan, done, target)
            progress(number + 1, len(plan.parts))
        parts = tuple(done[number] for number in sorted(done))
        scored, bad = sum(one.scored for one in parts), sum(one.quarantined for one in parts)
        target.finish(Finished(run_id=run.id, run=run, scored=scored, quarantined=bad, parts=parts))
        return Outcome(run, scored + bad, scored, bad, len(parts), len(there), target.where)


def _told(number: int, scores: pa.Table, rejected: pa.Table) -> Part:
    first = rejected.slice(0, TOLD)
    reasons = [f"{key!r}: {why}" for key, why in zip(first[0].to_pylist(), first["reason"].to_pylist(), strict=True)]
    return Part(number=number, scored=len(scores), quarantined=len(rejected), reasons=tuple(reasons), files={})


def _unchanged(events: EventStore, run: Run, seen: int) -> int:
    """How many batches there are. What was just read is what the plan says, as batches are only ever added: either
    there are as many as when that was last looked at, or the new ones have no part in this run."""
    there = len(events.batches())
    if there != seen and data(events, run.t) != run.data:
        raise StoreError(
            f"{run.usecase}: rows that count at {run.as_of} were ingested while run {run.id} was under way; what it "
            "has scored does not know them: run it again, as a new run"
        )
    return there


def _within(budget: float, plan: Plan, done: Mapping[int, Part], target: Target) -> None:
    bad = sum(part.quarantined for part in done.values())
    whole = len(done) == len(plan.parts)
    rows = sum(part.scored + part.quarantined for part in done.values())
    most = rows if whole else max(rows, len(plan.parts) * plan.run.rows_per_part)
    if bad > budget * most:
        reasons = [reason for number in sorted(done) for reason in done[number].reasons][:TOLD]
        raise BudgetExceeded(
            f"{bad:,} of {rows:,} rows cannot be scored, more than the failure budget of {budget:.4%} allows: "
            f"{'; '.join(reasons)}{'; ...' if bad > len(reasons) else ''}. They are in quarantine at {target.where}. "
            "What is scored stays there; run again with a larger --failure-budget to go on"
        )
