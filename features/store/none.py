"""The online store of a use case without events: everything its model needs is in the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features import clock
from features.store.base import Lookup


class NoEvents:
    """Answers every key as known, with no aggregates; there is nothing to load or to materialize."""

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Nothing to take over."""

    def last_batch(self) -> int:
        """No batch."""
        return 0

    def materialize(self, keys: np.ndarray[Any, Any], rows: Lookup, as_of: int, batch: int) -> None:
        """Nothing to write."""

    def as_of(self) -> tuple[int, int, int]:
        """Now: there are no rows that could be old."""
        return clock.now(), 0, 0

    def read(self, keys: Sequence[str]) -> Lookup:
        """As of now."""
        return self.compute(keys, clock.now())

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """As of `t`."""
        return Lookup({}, np.ones(len(keys), dtype=np.bool_), np.full(len(keys), t, dtype=np.int64))

    def close(self) -> None:
        """Nothing is open."""
