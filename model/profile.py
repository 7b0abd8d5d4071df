"""The reference of monitoring: how inputs and answers were spread when the model was trained. Integer counts only.

Per number: 20 quantile bins, the range (with half of it as margin), missing. Per category: each level, unseen, missing.
Counts of two profiles with the same edges add up, so that any split of the rows gives the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

BINS = 20


def profile(columns: Mapping[str, np.ndarray[Any, Any]], levels: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Counts of every column, as plain JSON values.

    Args:
        columns: arrays of n, by name: numbers, flags or str. levels: the declared levels of the str columns.
    """
    return {name: _category(v, levels[name]) if name in levels else _number(v) for name, v in columns.items()}


def _category(values: np.ndarray[Any, Any], levels: tuple[str, ...]) -> dict[str, Any]:
    counts = {level: int((values == level).sum()) for level in levels}
    missing = int((values == "").sum())
    return {
        "kind": "category",
        "counts": counts,
        "unseen": len(values) - sum(counts.values()) - missing,
        "missing": missing,
    }


def _number(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    numbers = values.astype(np.float64)
    there = numbers[~np.isnan(numbers)]
    missing = len(numbers) - len(there)
    if not len(there):
        return {"kind": "number", "edges": [], "counts": [], "low": None, "high": None, "missing": missing}
    low, high = float(there.min()), float(there.max())
    inner = np.quantile(there, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
    edges = np.unique(inner)
    counts = np.bincount(np.searchsorted(edges, there, side="left"), minlength=len(edges) + 1)
    margin = (high - low) / 2
    return {
        "kind": "number",
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "low": low - margin,
        "high": high + margin,
        "missing": missing,
    }
