"""Explanations of a part: as flat arrays, which every engine hands on, and as the one column that a sink keeps.

`explanation` is what every face of the service tells, {base, margin, contributions: [{feature, value, contribution}],
rest}, with the same bits. A value is kept as its JSON text, since the inputs of a model are of different types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

from features.rows import Arrays

COLUMN = "explanation"
_WHOLE = ("base", "margin", "rest")
_NOTHING: dict[str, Any] = {"feature": "", "value": None, "contribution": np.nan}


def flat(rows: Sequence[dict[str, Any] | None], most: int) -> Arrays:
    """Arrays of n: base, margin and rest (float64), and of each of the `most` contributions the feature and the value
    as JSON (str) and the contribution (float64); NaN and "" in a row that has none."""
    found = {name: _floats([np.nan if row is None else row[name] for row in rows]) for name in _WHOLE}
    for place in range(most):
        told = [_NOTHING if row is None else row["contributions"][place] for row in rows]
        values = [json.dumps(one["value"], ensure_ascii=False) for one in told]
        found[f"feature {place}"] = np.array([one["feature"] for one in told], dtype=np.str_)
        found[f"value {place}"] = np.array(values, dtype=np.str_)
        found[f"contribution {place}"] = _floats([one["contribution"] for one in told])
    return found


def nested(found: Arrays) -> pa.StructArray:
    """The same as one column of n."""
    rows = len(found["base"])
    most = next(place for place in count() if f"feature {place}" not in found)
    kinds = {"feature": pa.string(), "value": pa.string(), "contribution": pa.float64()}
    told = {
        name: pa.array(np.stack([found[f"{name} {place}"] for place in range(most)], axis=1).ravel(), kind)
        for name, kind in kinds.items()
    }
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * most)
    listed = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(list(told.values()), list(told)))
    base, margin, rest = (pa.array(found[name]) for name in _WHOLE)
    return pa.StructArray.from_arrays([base, margin, listed, rest], ["base", "margin", "contributions", "rest"])


def text(column: pa.ChunkedArray) -> pa.Array:
    """The column as JSON texts, for a database: every value in its own type."""
    return pa.array([_text(row) for row in column.to_pylist()], pa.string())


def _text(row: dict[str, Any]) -> str:
    told = [{**one, "value": json.loads(one["value"])} for one in row["contributions"]]
    return json.dumps({**row, "contributions": told}, ensure_ascii=False)


def _floats(values: Sequence[float]) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.float64)
