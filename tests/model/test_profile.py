"""The reference profile: every row is counted once, in every column."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.profile import profile
from tests.model.conftest import Model


def counted(column: dict[str, Any]) -> int:
    """How many rows a column's profile accounts for."""
    counts = column["counts"]
    return int(
        sum(counts.values() if isinstance(counts, dict) else counts) + column["missing"] + column.get("unseen", 0)
    )


numbers = st.one_of(st.floats(-1e12, 1e12), st.just(float("nan")), st.sampled_from([0.0, -0.0, 1.0]))


@given(hnp.arrays(np.float64, st.integers(0, 200), elements=numbers))
def test_numbers_are_counted_once_within_their_edges(values: Any) -> None:
    found = profile({"x": values}, {})["x"]
    assert counted(found) == len(values)
    assert found["missing"] == sum(value != value for value in values.tolist())
    assert found["edges"] == sorted(set(found["edges"]))
    if found["missing"] < len(values):
        edges = [-np.inf, *found["edges"], np.inf]
        slow = [sum(low < value <= high for value in values.tolist()) for low, high in pairwise(edges)]
        assert found["counts"] == slow
        assert found["low"] <= np.nanmin(values) <= np.nanmax(values) <= found["high"]
    json.dumps(found, allow_nan=False)


def test_bins_of_many_different_numbers_hold_a_twentieth_each() -> None:
    found = profile({"x": np.random.default_rng(0).permutation(10_000).astype(float)}, {})["x"]
    assert sum(found["counts"]) == 10_000
    assert all(abs(count - 500) <= 1 for count in found["counts"])
    assert len(found["counts"]) == 20


@pytest.mark.parametrize("values", [np.full(9, np.nan), np.array([]), np.full(5, 3.0), np.array([1, 0, 1], dtype=bool)])
def test_columns_with_nothing_or_one_thing_in_them(values: Any) -> None:
    found = profile({"x": values}, {})["x"]
    assert counted(found) == len(values)
    json.dumps(found, allow_nan=False)


@given(st.lists(st.sampled_from(["north", "south", "", "mars"]), max_size=50), st.integers(0, 50))
def test_categories_are_counted_by_level_unseen_and_missing_and_parts_add_up(values: list[str], cut: int) -> None:
    levels = ("north", "south", "west")

    def of(part: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = profile({"c": np.array(part, dtype=np.str_)}, {"c": levels})["c"]
        return found

    whole, first, second = of(values), of(values[:cut]), of(values[cut:])
    assert counted(whole) == len(values)
    assert whole["counts"] == {level: values.count(level) for level in levels}
    assert (whole["unseen"], whole["missing"]) == (values.count("mars"), values.count(""))
    assert whole["counts"] == {level: first["counts"][level] + second["counts"][level] for level in levels}
    assert whole["unseen"] == first["unseen"] + second["unseen"]
    assert whole["missing"] == first["missing"] + second["missing"]


def test_profiles_with_the_same_edges_add_up() -> None:
    values = np.random.default_rng(1).normal(size=1_000)
    one, both = profile({"x": values}, {})["x"], profile({"x": np.concatenate([values, values])}, {})["x"]
    assert one["edges"] == both["edges"]
    assert [2 * count for count in one["counts"]] == both["counts"]


def test_a_stored_profile_covers_every_input_the_score_and_the_decision(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        stored = json.loads((model.directory / "profile.json").read_text())
        rows = sum(model.manifest.dataset.rows.values())
        assert set(stored) == {*model.manifest.inputs, "score", "decision"}
        if model is linear:
            assert {counted(column) for column in stored.values()} == {rows}
        assert len({counted(column) for column in stored.values()}) == 1
