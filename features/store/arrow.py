"""Between numpy's arrays and Arrow's columns, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from features import aggregates as agg
from features.contract import SYSTEM, columns
from features.source import Source
from features.store.base import Lookup

CARRIERS = {"U": pa.string(), "b": pa.bool_(), "i": pa.int64(), "u": pa.int64(), "f": pa.float64()}
"""The Arrow type that carries every value of an array of that numpy kind."""


def column(values: np.ndarray[Any, Any]) -> pa.Array:
    """The array as a column of its carrier; NaN stays NaN."""
    carrier = CARRIERS[values.dtype.kind]
    return pa.array(values.tolist(), carrier) if values.dtype.kind == "U" else pa.array(values).cast(carrier)


def array(values: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
    """The column as an array: of `dtype`, or as it is; strings are as wide as the longest one."""
    if pa.types.is_string(values.type):
        return np.array(values.to_pylist(), dtype=np.str_)
    return np.asarray(values).astype(dtype, copy=False) if dtype is not None else np.asarray(values)


def lookup(aggregates: Sequence[agg.Aggregate], rows: pa.Table | pa.RecordBatch, t: np.ndarray[Any, Any]) -> Lookup:
    """What an engine answered to the SQL text, row i for t[i] (int64 microseconds)."""
    raw = {aggregate.name: masked(rows[aggregate.name]) for aggregate in aggregates}
    return Lookup(agg.convert(aggregates, raw), np.asarray(rows["known"]) > 0, t)


def layout(source: Source) -> pa.Schema:
    """The columns of a stored table: the store's own, the contract's fields, the batch."""
    kinds = {"category": pa.string(), "number": pa.float64()}
    own = [(c.name, kinds.get(c.kind, pa.int64())) for c in columns(source.contract) if c.kind not in SYSTEM]
    system = [("event_id", pa.string()), ("key", pa.string()), ("ts", pa.int64()), ("ingested_at", pa.int64())]
    return pa.schema([*system, *own, ("batch", pa.int64())])


def masked(values: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """The column with missing values masked and integers exact; texts are objects."""
    if pa.types.is_string(values.type):
        return np.ma.masked_array(np.array(values.to_pylist(), dtype=np.object_), mask=np.asarray(values.is_null()))
    if not values.null_count:
        return np.asarray(values)
    # numpy has no missing integer: to_numpy would go through float64, which is not exact beyond 2**53
    return np.ma.masked_array(np.asarray(values.fill_null(0)), mask=np.asarray(values.is_null()))
