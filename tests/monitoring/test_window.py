"""Windows: counts that add up the same in any order and split, from frames and records, stored and read again."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import Profile, ProfileError, Window, judge
from tests.effort import examples
from tests.model.profile.test_profile import frame

PROFILE = Profile.from_frame(frame(4_000))
ROWS = frame(400, seed=1)


def rows(chosen: Any) -> dict[str, Any]:
    return {name: values[chosen] for name, values in ROWS.items()}


@settings(max_examples=examples(30), deadline=None)
@given(st.permutations(range(400)), st.lists(st.integers(0, 400), max_size=5))
def test_any_split_and_order_gives_the_same_window_and_verdict(order: list[int], cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), 400]
    parts = [rows(np.array(order[a:b], int)) for a, b in pairwise(bounds)]
    windows = [Window.from_frame(PROFILE, part) for part in parts]
    whole = Window.from_frame(PROFILE, ROWS)
    total = reduce(add, reversed(windows), Window.empty(PROFILE))
    assert total == whole
    assert judge(PROFILE, [total]).to_json() == judge(PROFILE, [whole]).to_json()


def test_records_count_as_their_frame_does_and_what_they_lack_is_missing() -> None:
    records = [
        {
            name: values[place].item() if hasattr(values[place], "item") else values[place]
            for name, values in ROWS.items()
        }
        for place in range(400)
    ]
    assert Window.from_records(PROFILE, records) == Window.from_frame(PROFILE, ROWS)
    assert Window.from_records(PROFILE, iter(records)) == Window.from_frame(PROFILE, pd.DataFrame(ROWS))
    poor = Window.from_records(PROFILE, [{"x": 1.0, "place": "mars"}])
    cells = {
        name: dict(zip(column.cells, poor_cells, strict=True))
        for column in PROFILE.columns
        for name, poor_cells in [(column.name, PROFILE.view(poor.counts)[column.name].tolist())]
    }
    assert cells["y"]["missing"] == cells["flag"]["missing"] == 1
    assert cells["place"]["unseen"] == 1
    assert poor.labelled == 0


def test_outcomes_that_come_later_are_counted_as_if_they_had_come_with_the_rows() -> None:
    early = Window.from_frame(PROFILE, {name: values for name, values in ROWS.items() if name != "outcome"})
    late = Window.from_outcomes(PROFILE, ROWS["score"], ROWS["outcome"])
    assert (early.labelled, late.rows, late.labelled) == (0, 0, 400)
    assert early + late == Window.from_frame(PROFILE, ROWS)
    some = np.where(np.arange(400) < 100, ROWS["outcome"].astype(float), np.nan)
    assert Window.from_outcomes(PROFILE, ROWS["score"], some).labelled == 100


def test_a_window_is_stored_in_few_bytes_and_read_again() -> None:
    window = Window.from_frame(PROFILE, ROWS)
    data = window.to_bytes()
    assert Window.from_bytes(PROFILE, data) == window
    assert len(data) < 400 * len(PROFILE.columns)
    large = window
    for _ in range(20):
        large = large + large
    assert Window.from_bytes(PROFILE, large.to_bytes()) == large
    assert large.rows == 400 * 2**20


def test_windows_of_other_profiles_do_not_add_nor_are_they_judged() -> None:
    other = Profile.from_frame(frame(4_000, seed=9))
    mine, theirs = Window.from_frame(PROFILE, ROWS), Window.from_frame(other, ROWS)
    with pytest.raises(ProfileError, match=other.digest):
        mine + theirs
    with pytest.raises(ProfileError, match=other.digest):
        judge(PROFILE, [mine, theirs])
    with pytest.raises(ProfileError, match=other.digest):
        Window.from_bytes(PROFILE, theirs.to_bytes())
    with pytest.raises(ProfileError, match="no window"):
        Window.from_bytes(PROFILE, b"\xc1")
    with pytest.raises(ProfileError, match="no window to judge"):
        judge(PROFILE, [])


def test_a_frame_that_lacks_a_column_is_told_which() -> None:
    with pytest.raises(ProfileError, match="lacks place"):
        Window.from_frame(PROFILE, {name: values for name, values in ROWS.items() if name != "place"})
