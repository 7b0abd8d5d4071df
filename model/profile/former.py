"""Profiles of format 1, as artefacts of former releases hold them: cells of single columns, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.profile.column import Column
from model.profile.counting import Counts, Layout

ANSWERS = {"score": "score", "decision": "decision"}


def read(said: dict[str, Any], decisions: tuple[str, str] = ("false", "true")) -> tuple[Layout, Counts, int]:
    """Its columns, counts and rows: no pairs, no outcomes, no days.

    Args:
        decisions: in words, which format 1 did not have: what is answered below and above the threshold.
    """
    columns, counts = [], list[int]()
    for name, one in said.items():
        role: Any = ANSWERS.get(name, "input")
        if one["kind"] == "category":
            columns.append(Column(name, "category", role, levels=tuple(one["counts"])))
            counts += [*one["counts"].values(), one["unseen"], one["missing"]]
        elif role == "decision":  # a flag was counted as a number: its one edge is false
            bins = [*one["counts"], 0][:2] if one["edges"] != [1.0] else [0, sum(one["counts"])]
            columns.append(Column(name, "category", role, levels=decisions))
            counts += [*bins, 0, one["missing"]]
        else:
            low, high = (one["low"], one["high"]) if one["low"] is not None else (-np.inf, np.inf)
            columns.append(Column(name, "number", role, tuple(one["edges"]), low, high))
            counts += [*(one["counts"] or [0]), 0, 0, one["missing"]]
    layout = Layout(tuple(columns))
    vector = np.zeros(layout.size, np.int64)
    vector[: len(counts)] = counts
    rows = int(layout.column(vector, 0).sum()) if columns else 0
    return layout, vector, rows
