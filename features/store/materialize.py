"""Materialization: from the event store into the online store, everyone or only those who changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from features.store.base import EventStore, Held, Materialized, OnlineStore, Rows, Spine, StoreError, Unreachable

SIZE = 50_000
"""Keys computed, written and compared at a time."""
_AGAIN = 0.5
"""Seconds between two looks at whether another writer is done."""


@dataclass(frozen=True)
class Outcome:
    """What a run did: the keys it computed, whether those were all there are, and what the store holds now."""

    computed: int
    full: bool
    now: Materialized


@contextmanager
def writing(online: OnlineStore, patience: float = 0.0) -> Iterator[None]:
    """Hold the right to write while the block runs, once whoever holds it now is done.

    Args:
        patience: seconds to wait for that.

    Raises:
        Held: if it is still held then, naming who does.
    """
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(online.exclusive())
                break
            except Held:
                if time.monotonic() >= until:
                    raise
                time.sleep(min(_AGAIN, patience))
        yield


def load(events: EventStore, online: OnlineStore) -> int:
    """Let the online store take over the batches it has not seen; its last batch."""
    last = online.last_batch()
    for batch in events.batches():
        if batch.number > last:
            online.load(batch.number, events.events(batch.number))
    return online.last_batch()


def materialize(
    events: EventStore,
    online: OnlineStore,
    as_of: int,
    *,
    full: bool = False,
    patience: float = 0.0,
    size: int = SIZE,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Bring the online rows of the feature set to `as_of` (microseconds).

    Only keys that changed are computed, unless `full`, or there are no rows yet, or `as_of` lies before theirs
    or before that of an interrupted run.

    Args:
        patience: seconds to wait for another process that is writing.
        size: keys at a time, which bounds the memory; progress: called with keys done and keys in all.

    Raises:
        StoreError: if another process is still writing, or a store fails; then the rows and their as_of are as before.
    """
    with writing(online, patience):
        batch = load(events, online)
        before = there(online)
        if before is not None and (before.as_of, before.batch, before.begun) == (as_of, batch, None) and not full:
            return Outcome(0, False, before)
        computed = 0

        def counted(parts: Iterator[Rows]) -> Iterator[Rows]:
            nonlocal computed
            for keys, rows in parts:
                computed += len(keys)
                yield keys, rows

        if before is None or full or as_of < max(before.as_of, before.begun or before.as_of):
            online.materialize(counted(_everyone(events, as_of, batch, size, progress)), as_of, batch, full=True)
            return Outcome(computed, True, online.as_of())
        parts = counted(_changed(events, before, as_of, batch, size, progress))
        online.materialize(parts, as_of, batch, full=False)
        return Outcome(computed, False, online.as_of())


def _everyone(
    events: EventStore, t: int, batch: int, size: int, progress: Callable[[int, int], None]
) -> Iterator[Rows]:
    bounds: list[str | None] = [*events.ranges(t, size), None]
    for number, (low, high) in enumerate(pairwise(bounds), start=1):
        keys = events.keys(t, low or "", high)
        yield _known(events, keys, t, batch)
        progress(number * size if high is not None else (number - 1) * size + len(keys), (len(bounds) - 1) * size)


def _changed(
    events: EventStore, before: Materialized, t: int, batch: int, size: int, progress: Callable[[int, int], None]
) -> Iterator[Rows]:
    keys = events.changed(before, t)
    for start in range(0, len(keys), size):
        yield _known(events, keys[start : start + size], t, batch)
        progress(min(start + size, len(keys)), len(keys))


def _known(events: EventStore, keys: np.ndarray[Any, Any], t: int, batch: int) -> Rows:
    """The aggregates of those keys who are known by the batches up to that number: one that is committed meanwhile is
    not in rows that say they end before it."""
    rows = events.aggregate(Spine.at(keys, t), upto=batch)
    return keys[rows.known], rows.take(rows.known)


def there(online: OnlineStore) -> Materialized | None:
    """What the rows of the feature set are; None where there are none.

    Raises:
        Unreachable: if nobody can say.
    """
    try:
        return online.as_of()
    except Unreachable:  # there may well be rows: no reason to compute everyone
        raise
    except StoreError:
        return None
