"""What a request asks for once it was accepted, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from features.contract import Column, array

Values = list[Any] | np.ndarray[Any, Any]
"""A column: plain values, None where one is missing; or the array `features.contract.array` makes of them, unless it is
text."""

FEW = 8
"""Rows of fewer than this are quicker as lists: an array by array would cost more than value by value."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n accepted rows.

    Attributes:
        keys: n. columns: n values per field of the request's contract, in its order, as the contract read them.
        places: n positions in a bulk request; None for a single prediction.
        errors: of the bulk request's other rows: `{"row": position, "problems": [...]}`.
        explain: how many contributions are asked for; 0: none.
    """

    keys: list[str]
    columns: tuple[Values, ...]
    places: Sequence[int] | None = None
    errors: Sequence[dict[str, Any]] = ()
    explain: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def cut(self, start: int, stop: int) -> Rows:
        """Rows [start, stop), without the errors."""
        columns = tuple(column[start:stop] for column in self.columns)
        return Rows(
            self.keys[start:stop], columns, None if self.places is None else self.places[start:stop], (), self.explain
        )


def joined(parts: Sequence[Rows], fields: Sequence[Column]) -> Rows:
    """The rows of several requests behind one another; their places and errors stay with the requests."""
    keys = [key for rows in parts for key in rows.keys]
    own = (rows.columns for rows in parts)
    return Rows(keys, tuple(map(_joined, fields, zip(*own, strict=True))))


def _joined(field: Column, columns: Sequence[Values]) -> Values:
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) == len(columns):
        return list(chain.from_iterable(lists))
    return np.concatenate([array(field, column) for column in columns])
