"""Outcomes: what became of those whom predictions were about, as clients tell it, and which one holds.

An outcome is about a prediction: by its id, or by a key and a time, and then about the last prediction of that key that
was answered at or before it. Predictions are looked for when outcomes are read, so either may come first. Of all
outcomes about a prediction the one that was observed last holds, and of those observed at one time the one received
last. An id that is received again is the same outcome, as it was received first. So what holds depends on what was
received alone: not on the order in which it is read, nor on how often.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import asdict

from model.predictions.entry import Prediction

Answered = tuple[int, int, str]
"""When a prediction was answered, and its place among those of that time: of a bulk request the last row is last."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Whether it happened. Fields are encoded by position: a new one goes to the end and has a default. Times are
    microseconds."""

    outcome_id: str
    """The client's, or else `identity`."""
    prediction_id: str | None = None
    """What it is about; None where it is about `key` and `at`."""
    key: str | None = None
    """As the log holds keys: a pseudonym where it has those."""
    at: int | None = None
    outcome: bool
    """Whether what the use case predicts has happened."""
    observed_at: int
    """When it was known, by the client's word."""
    received_at: int
    """When it came, by the clock on the wall; one process gives no time twice."""
    client: str = ""
    """Name of the API key it came with."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The accepted outcomes of one request: what is written."""

    items: list[Outcome]


class Settled(Prediction, frozen=True, kw_only=True):
    """A prediction and the outcome that holds now; None where there is none."""

    outcome: bool | None = None
    observed_at: int | None = None


def identity(prediction_id: str | None, key: str | None, at: int | None, outcome: bool, observed_at: int) -> str:
    """The id of an outcome that came without one: of what it says, 32 hex digits of the SHA-256."""
    said = msgspec.json.encode([prediction_id, key, at, outcome, observed_at])
    return hashlib.sha256(said).hexdigest()[:32]


def answered(answered_at: int, prediction_id: str) -> Answered:
    """By what the predictions of a key are in order."""
    return answered_at, len(prediction_id), prediction_id


def unique(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """One per id: as it was received first."""
    found: dict[str, Outcome] = {}
    for one in outcomes:
        there = found.get(one.outcome_id)
        if there is None or one.received_at < there.received_at:
            found[one.outcome_id] = one
    return found


def settle(outcomes: Iterable[Outcome], predictions: Mapping[str, Sequence[Answered]]) -> dict[str, Outcome]:
    """What holds, by prediction id; also of predictions that are not there.

    Args:
        predictions: all of each key that an outcome is about, in order.
    """
    holds: dict[str, Outcome] = {}
    for one in unique(outcomes).values():
        whom = about(one, predictions)
        if whom is not None and (whom not in holds or _observed(one) > _observed(holds[whom])):
            holds[whom] = one
    return holds


def about(one: Outcome, predictions: Mapping[str, Sequence[Answered]]) -> str | None:
    """Id of the prediction that an outcome is about, also of one that is not there; None where its key had none yet.

    Args:
        predictions: as `settle` takes them.
    """
    if one.prediction_id is not None:
        return one.prediction_id
    own = predictions.get(one.key or "", ())
    place = bisect_right(own, one.at, key=lambda answered: answered[0])
    return own[place - 1][2] if place else None


def joined(one: Prediction, last: Outcome | None) -> Settled:
    """A prediction with what holds of it."""
    holds = (None, None) if last is None else (last.outcome, last.observed_at)
    return Settled(**asdict(one), outcome=holds[0], observed_at=holds[1])


def by_key(answers: Iterable[tuple[str, Answered]]) -> dict[str, list[Answered]]:
    """Predictions by their keys, in order."""
    found = defaultdict[str, list[Answered]](list)
    for key, one in answers:
        found[key].append(one)
    for own in found.values():
        own.sort()
    return found


def _observed(one: Outcome) -> tuple[int, int, str]:
    return one.observed_at, one.received_at, one.outcome_id
