"""Rows of aggregates as plain values, for stores that are written and read row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from features import aggregates as agg
from features.featureset import FeatureSet
from features.store.base import Lookup, Rows, StoreError


def tuples(features: FeatureSet, part: Rows) -> list[tuple[Any, ...]]:
    """One tuple per key: key (str), known (0 or 1), then the aggregates as int, a missing one as None."""
    keys, rows = part
    values = [_integers(rows.aggregates[aggregate.name]) for aggregate in features.aggregates]
    return list(zip(keys.tolist(), rows.known.astype(int).tolist(), *values, strict=True))


def lookup(
    features: FeatureSet, rows: Sequence[Sequence[Any]], as_of: int | Sequence[int], batch: int | None = None
) -> Lookup:
    """What engines answer, one row per key: known (None where there is no row), then the aggregates."""
    names = [aggregate.name for aggregate in features.aggregates]
    listed = list(zip(*rows, strict=True)) if rows else [() for _ in range(1 + len(names))]
    return Lookup(
        agg.convert(features.aggregates, dict(zip(names, listed[1:], strict=True))),
        np.array([bool(known) for known in listed[0]], dtype=np.bool_),
        np.full(len(rows), as_of, dtype=np.int64),
        batch,
    )


def verify(where: str, written: Sequence[tuple[Any, ...]], found: Sequence[Sequence[Any]]) -> None:
    """What is read back is what was written, in any order.

    Raises:
        StoreError: naming the first row that is not.
    """
    there = {row[0]: tuple(row) for row in found}
    for row in written:
        if there.get(row[0]) != row:
            raise StoreError(f"{where}: wrote {row} and read back {there.get(row[0])}; nothing was changed")


def _integers(values: np.ndarray[Any, Any]) -> list[int | None]:
    return [None if value != value else int(value) for value in values.tolist()]


def typed(kind: str, nullable: bool, values: Any) -> np.ndarray[Any, Any]:
    """A stored field of records as `contract.array` gives it, from an array in which a missing value is masked."""
    if kind == "category":
        texts = np.ma.filled(values, "")  # with None, numpy's own "?" would stand for what is missing
        return np.array(["" if value is None else value for value in texts], dtype=np.str_)
    if kind == "number" or nullable:
        return np.asarray(np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan))
    return np.asarray(values).astype(np.bool_ if kind == "flag" else np.int64)
