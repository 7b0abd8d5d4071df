"""Outcomes from the events themselves: for a label by absence, nobody has to deliver any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from features.clock import rfc3339
from features.store.base import EventStore, Spine
from model.predictions.entry import Prediction
from model.predictions.outcome import Outcome, identity
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Log
from model.predictions.telling import tell
from settings import HoldfastError
from training.dataset import reach
from usecases import Absence, UseCase

_PART = 50_000
"""Predictions whose labels are asked for at once."""


@dataclass(frozen=True)
class Derived:
    """What became of the predictions: read = new + known + undecided + strangers.

    Attributes:
        known: the same outcome is in the log already; undecided: their horizon is not over, by the events there are.
        strangers: of keys without an event when they were asked about, who are in no training set either; and of keys
            that are hashed with another secret.
    """

    read: int
    new: int
    known: int
    undecided: int
    strangers: int
    upto: str
    """How far the events tell something."""


def derive(
    usecase: UseCase,
    store: EventStore,
    log: Log,
    pseudonyms: Pseudonyms,
    received_at: int,
    *,
    as_of: int,
    since: int | None,
) -> Derived:
    """Bring the outcome of every prediction into the log that was answered at or after `since`: whether its key has no
    event in [request_time, request_time + horizon), which is the label that training uses. It counts as observed when
    the horizon was over, so that deriving again changes nothing but where events came late.

    Args:
        received_at: microseconds, by the clock on the wall; as_of: the data's clock.

    Raises:
        HoldfastError: if the label is no absence. StoreError: if events or log cannot be read or written.
    """
    label = usecase.label
    if not isinstance(label, Absence):
        raise HoldfastError(
            f"{usecase.name}: its label is a field of records, no absence of events, so outcomes cannot be derived; "
            "bring them with `holdfast outcomes ingest FILE`"
        )
    upto, read, undecided, strangers = reach(usecase, store, as_of), 0, 0, 0
    plain = {pseudonyms(key): key for key in store.keys(as_of).tolist()} if pseudonyms.mark else {}

    def found() -> Iterator[Outcome]:
        nonlocal read, undecided, strangers
        rest = log.between(since)
        while part := list(islice(rest, _PART)):
            read += len(part)
            over = [one for one in part if one.request_time + label.horizon <= upto]
            undecided += len(part) - len(over)
            whom = [(one, key) for one in over if one.known and (key := _plain(one, plain, pseudonyms)) is not None]
            strangers += len(over) - len(whom)
            if whom:
                times = np.array([one.request_time for one, _ in whom], np.int64)
                active = store.active(Spine(np.array([key for _, key in whom]), times), label.horizon)
                for (one, _), events in zip(whom, active.tolist(), strict=True):
                    yield _outcome(one.prediction_id, not events, one.request_time + label.horizon, received_at)

    told = tell(log, found())
    return Derived(read, told.new, told.known, undecided, strangers, rfc3339(upto))


def _plain(one: Prediction, plain: dict[str, str], pseudonyms: Pseudonyms) -> str | None:
    """Its key as the events have it."""
    if not one.hashed:
        return one.key
    return plain.get(one.key) if one.hashed == pseudonyms.mark else None


def _outcome(prediction_id: str, outcome: bool, observed_at: int, received_at: int) -> Outcome:
    return Outcome(
        outcome_id=identity(prediction_id, None, None, outcome, observed_at),
        prediction_id=prediction_id,
        outcome=outcome,
        observed_at=observed_at,
        received_at=received_at,
    )
