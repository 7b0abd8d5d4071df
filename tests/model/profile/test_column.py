"""A column's cells: every value falls into exactly one, and the same one wherever it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.profile.column import GROUPS, LEVELS, Column, Levels, category, number, text

numbers = st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.sampled_from([0.0, -0.0, 1.0, np.inf, -np.inf]))


def slow(column: Column, value: float) -> int:
    """The cell of one number, from what a cell says of itself."""
    if value != value:
        return column.body + 2
    if value < column.low:
        return column.body
    if value > column.high:
        return column.body + 1
    return sum(value > edge for edge in column.edges)


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=numbers), st.lists(numbers, max_size=20))
def test_a_number_falls_into_one_cell_between_its_edges(reference: Any, others: list[float]) -> None:
    column = number("x", "input", reference)
    values = np.array([*reference.tolist(), *others])
    assert column.codes(values).tolist() == [slow(column, value) for value in values.tolist()]
    assert list(column.edges) == sorted(set(column.edges))
    assert len(column.cells) == column.size == len(column.groups)
    assert set(column.groups) <= set(range(GROUPS + 1))
    finite = reference[np.isfinite(reference)]
    assert (column.codes(finite) < column.body).all()


def test_bins_of_many_different_numbers_hold_a_twentieth_each() -> None:
    values = np.random.default_rng(0).permutation(10_000).astype(float)
    column = number("x", "input", values)
    counts = np.bincount(column.codes(values), minlength=column.size)
    assert column.body == 20
    assert np.abs(counts[:20] - 500).max() <= 1


def test_a_value_that_many_rows_have_gets_a_bin_of_its_own_and_the_rest_is_still_parted() -> None:
    rest = np.random.default_rng(0).exponential(10, 1_000)
    values = np.concatenate([np.zeros(9_000), rest])
    column = number("spend", "input", values)
    counts = np.bincount(column.codes(values), minlength=column.size)[: column.body]
    assert counts.max() == 9_000
    assert (np.sort(counts)[:-1] <= 60).all()
    assert column.body >= 15


@pytest.mark.parametrize(
    ("values", "bins"),
    [([3.0] * 5, 1), ([0.0, 1.0, 1.0, 1.0], 2), ([np.nan] * 4, 1), (list(map(float, range(20))), 20)],
)
def test_few_values_have_a_bin_each(values: list[float], bins: int) -> None:
    assert number("x", "input", np.array(values)).body == bins


def test_what_is_far_out_is_out_of_range_and_what_is_a_little_beyond_is_not() -> None:
    column = number("x", "input", np.linspace(0, 100, 1_001))
    cells = [column.cells[code] for code in column.codes(np.array([-51.0, -49.0, 149.0, 151.0, np.nan]))]
    assert cells[0] == "below range"
    assert cells[3:] == ["above range", "missing"]
    assert not {cells[1], cells[2]} & {"below range", "above range", "missing"}


@given(st.lists(st.sampled_from(["north", "south", "", "mars"]), max_size=50))
def test_a_category_is_a_level_unseen_or_missing(values: list[str]) -> None:
    column = category("c", "input", ["south", "north", "north"], ("west",))
    assert column.levels == ("north", "south", "west")
    levels = Levels(column.levels)
    said = [column.cells[levels[value]] for value in values]
    assert said == [{"": "missing", "mars": "unseen"}.get(value, value) for value in values]


def test_more_levels_than_are_kept_are_unseen_already_in_the_reference() -> None:
    values = [f"level {number % 100:02d}" for number in range(1_000)] + ["often"] * 100
    column = category("c", "input", values)
    assert column.chosen
    assert len(column.levels) == LEVELS
    assert column.levels[0] == "often"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (float("nan"), None),
        ("", None),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (2.0, "2"),
        (2.5, "2.5"),
    ],
)
def test_a_level_is_written_the_same_from_a_frame_and_from_a_record(value: Any, said: str | None) -> None:
    assert text(value) == said
    assert text(np.array([value], object)[0]) == said


def test_unseen_values_without_end_do_not_fill_the_memory() -> None:
    levels = Levels(("a",))
    assert {levels[f"new {number}"] for number in range(Levels.KEPT * 2)} == {1}
    assert len(levels) == Levels.KEPT
