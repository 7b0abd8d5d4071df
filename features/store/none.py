"""The online store of a use case without events: everything its model needs is in the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from features import clock
from features.store.base import Lookup, Materialized, Rows


class NoEvents:
    """Answers every key as known, with no aggregates; there is nothing to load or to materialize."""

    def migrate(self) -> str:
        """Nothing to keep rows in."""
        return "nothing is stored: every input is in the request"

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody writes."""
        return nullcontext()

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Nothing to take over."""

    def last_batch(self) -> int:
        """No batch."""
        return 0

    def materialize(self, parts: Iterable[Rows], as_of: int, batch: int, *, full: bool) -> None:
        """Nothing to write."""

    def as_of(self) -> Materialized:
        """Now: there are no rows that could be old."""
        return Materialized(clock.now(), 0, 0)

    def fingerprints(self) -> list[str]:
        """No rows."""
        return []

    def drop(self, fingerprint: str) -> None:
        """Nothing to forget."""

    def clear(self) -> None:
        """Nothing to forget."""

    def read(self, keys: Sequence[str]) -> Lookup:
        """As of now."""
        return self.compute(keys, clock.now())

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """As of `t`."""
        return Lookup({}, np.ones(len(keys), dtype=np.bool_), np.full(len(keys), t, dtype=np.int64))

    def close(self) -> None:
        """Nothing is open."""
