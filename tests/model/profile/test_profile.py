"""The profile of a reference: what it counts, how it is stored, and what it says no to."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.contract import Contract, Key
from model.profile import Profile, ProfileError
from model.profile.counting import CHUNK
from monitoring import Window
from tests.model.conftest import Model

HERE = Path(__file__).parent


def frame(n: int, seed: int = 0) -> dict[str, Any]:
    """Rows with every kind of column."""
    random = np.random.default_rng(seed)
    z = random.normal(size=n)
    score = 1 / (1 + np.exp(-z))
    return {
        "x": z,
        "y": 0.8 * z + 0.6 * random.normal(size=n),
        "alone": random.exponential(size=n),
        "place": random.choice(["north", "south", "west"], n, p=[0.6, 0.3, 0.1]).astype(object),
        "flag": random.random(n) < 0.3,
        "score": score,
        "decision": np.where(score > 0.7, "act", "leave"),
        "outcome": random.random(n) < score,
        "day": np.arange(n) % 10,
    }


def test_names_and_dtypes_tell_what_columns_are() -> None:
    profile = Profile.from_frame(frame(2_000))
    kinds = {column.name: (column.kind, column.role) for column in profile.columns}
    assert kinds == {
        "x": ("number", "input"),
        "y": ("number", "input"),
        "alone": ("number", "input"),
        "place": ("category", "input"),
        "flag": ("category", "input"),
        "score": ("number", "score"),
        "decision": ("category", "decision"),
    }
    assert profile.layout.outcome == "outcome"
    assert profile.season is not None
    assert profile.season.blocks == 10


def test_a_pandas_frame_and_arrays_have_the_same_profile() -> None:
    arrays = frame(3_000)
    table = pd.DataFrame(arrays)
    table.index = pd.Index(range(5, 3_005))  # positions count, not labels
    one, other = Profile.from_frame(arrays), Profile.from_frame(table)
    assert one.to_json() == other.to_json()
    table["place"] = table["place"].astype("category")
    table["day"] = pd.Timestamp("2026-01-01", tz="Europe/Berlin") + pd.to_timedelta(table["day"], unit="D")
    assert Profile.from_frame(table).counts.tolist() == one.counts.tolist()


def test_every_row_is_counted_once_in_every_column_and_pair_also_over_chunks() -> None:
    n = CHUNK + 77
    arrays = frame(n)
    profile = Profile.from_frame(arrays)
    assert {name: int(cells.sum()) for name, cells in profile.view(profile.counts).items()} == dict.fromkeys(
        ("x", "y", "alone", "place", "flag", "score", "decision"), n
    )
    assert [int(profile.layout.pair(profile.counts, place).sum()) for place in range(4)] == [n] * 4
    happened = profile.layout.outcomes(profile.counts).sum(axis=1)
    assert happened.tolist() == [n - int(arrays["outcome"].sum()), int(arrays["outcome"].sum())]
    places = dict(zip(profile.columns[3].cells, profile.view(profile.counts)["place"].tolist(), strict=True))
    assert places == {name: int((arrays["place"] == name).sum()) for name in ("north", "south", "west")} | {
        "unseen": 0,
        "missing": 0,
    }


def test_the_strongest_pair_is_watched_and_answers_are_in_none() -> None:
    profile = Profile.from_frame(frame(5_000))
    assert profile.pairs[0] == ("x", "y")
    assert len(profile.pairs) == 4
    assert not {"score", "decision"} & {name for pair in profile.pairs for name in pair}


def test_a_profile_is_the_same_again_from_its_file(tmp_path: Path) -> None:
    arrays = frame(2_000) | {"empty": np.full(2_000, np.nan)}
    profile = Profile.from_frame(arrays, use={"x": 0.7, "y": 0.3})
    (tmp_path / "profile.json").write_text(json.dumps(profile.to_json(), allow_nan=False))
    again = Profile.load(tmp_path / "profile.json")
    assert again.to_json() == profile.to_json()
    assert (again.digest, again.rows, dict(again.use)) == (profile.digest, 2_000, {"x": 0.7, "y": 0.3})
    assert again.layout == profile.layout


def test_a_reference_of_served_rows_has_the_same_cells() -> None:
    profile = Profile.from_frame(frame(2_000))
    served, rows, _ = profile.layout.count(frame(500, seed=1))
    other = profile.refer(served, rows)
    assert other.digest == profile.digest
    assert (other.counts == served).all()
    assert (other.rows, other.season) == (500, None)


class Customer(Contract):
    """A contract as schema."""

    customer: Key
    spend: int
    member: bool


def test_a_contract_is_a_schema_and_its_key_is_not_watched() -> None:
    arrays = {"customer": np.array(["a", "b"]), "spend": np.array([1, 2]), "member": np.array([True, False])}
    profile = Profile.from_frame(arrays | {"score": np.array([0.1, 0.2])}, Customer)
    assert [(column.name, column.kind) for column in profile.columns] == [
        ("spend", "number"),
        ("member", "category"),
        ("score", "number"),
    ]


def test_a_schema_says_what_is_watched_and_as_what() -> None:
    profile = Profile.from_frame(frame(500), {"place": ("north", "south", "east"), "x": "number", "y": "skip"})
    assert [column.name for column in profile.columns] == ["place", "x"]
    assert set(profile.columns[0].levels) == {"north", "south", "west", "east"}
    assert profile.season is None


def test_kinds_may_be_called_as_others_call_them() -> None:
    others = {"x": "numeric", "place": "categorical", "flag": "bool", "score": "probability", "outcome": "target"}
    ours = {"x": "number", "place": "category", "flag": "category", "score": "score", "outcome": "outcome"}
    assert Profile.from_frame(frame(300), others) == Profile.from_frame(frame(300), ours)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"z": "number"}, "'z'"),
        ({"x": "numbers"}, "'numbers'"),
        ({"x": "score", "y": "score"}, "x and y"),
        ({"x": "skip"}, "skips"),
    ],
)
def test_a_schema_that_does_not_fit_is_told(schema: Any, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        Profile.from_frame(frame(100), schema)


def test_pandas_own_dtypes_objects_and_records_are_read_alike() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "count": pd.array(random.integers(0, 9, 500), dtype="Int64"),
            "flag": pd.array(random.random(500) < 0.3, dtype="boolean"),
            "text": pd.array(random.choice(["a", "b"], 500), dtype="string"),
            "price": [Decimal(int(cents)) / 100 for cents in random.integers(0, 9_999, 500)],
            "nothing": [None] * 500,
        }
    )
    table.loc[:5, ["count", "flag", "text"]] = pd.NA
    profile = Profile.from_frame(table)
    assert [column.kind for column in profile.columns] == ["number", "category", "category", "number", "category"]
    missing = {name: int(cells[-1]) for name, cells in profile.view(profile.counts).items()}
    assert missing == {"count": 6, "flag": 6, "text": 6, "price": 0, "nothing": 500}
    assert profile.columns[1].levels == ("false", "true")
    window = Window.from_records(profile, ({str(name): row[name] for name in row} for row in table.to_dict("records")))
    assert (window.counts == profile.counts).all()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (None, "DataFrame or a mapping"),
        ({}, "with a column at least"),
        ({"x": np.zeros((3, 2))}, "2 dimensions"),
        ({"x": [{}, {}]}, "'x' is a category, and a value is none"),
        ({0: np.zeros(3)}, "0 is none: rename it"),
    ],
)
def test_what_is_no_frame_is_told(frame: Any, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        Profile.from_frame(frame)


@pytest.mark.parametrize("said", [["yes", "no", None], ["True", "false", ""], [True, False, None], [1.0, 0.0, np.nan]])
def test_outcomes_are_read_as_people_write_them(said: list[Any]) -> None:
    score = np.array([0.2, 0.4, 0.6])
    profile = Profile.from_frame({"score": score, "outcome": np.array(said, object)})
    assert profile.layout.outcomes(profile.counts).sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize("wrong", [2, 0.5, "churn"])
def test_an_outcome_that_is_none_is_told(wrong: Any) -> None:
    with pytest.raises(ProfileError, match=f"not {wrong!r}"):
        Profile.from_frame({"score": np.array([0.2, 0.4]), "outcome": np.array([0, wrong], object)})


def test_dates_as_objects_are_times_and_a_missing_time_is_of_no_day() -> None:
    days = [date(2026, 1, 1), date(2026, 1, 2)] * 50
    profile = Profile.from_frame({"x": np.arange(100.0), "day": np.array(days, object)})
    assert profile.season is not None
    assert profile.season.blocks == 2
    when = pd.Series(np.array(["2026-03-01", "NaT", "2026-03-01"], "datetime64[us]"))
    window = Window.from_frame(profile, pd.DataFrame({"x": [1.0, 2.0, 3.0], "day": when}))
    assert dict(window.days) == {20_513: 2}
    with pytest.raises(ProfileError, match="'day' is a time"):
        Window.from_frame(profile, {"x": np.zeros(1), "day": np.array(["soon"], object)})


def test_of_several_datetimes_the_one_that_is_called_so_is_the_time() -> None:
    both = {"x": np.zeros(3), "signup": np.zeros(3, "datetime64[D]"), "day": np.zeros(3, "datetime64[D]")}
    assert Profile.from_frame(both).layout.time == "day"
    unnamed = {"x": np.zeros(3), "signup": both["signup"], "gone": both["day"]}
    assert Profile.from_frame(unnamed).layout.time is None


def test_profiles_are_equal_if_they_say_the_same() -> None:
    assert Profile.from_frame(frame(300)) == Profile.from_frame(frame(300))
    assert Profile.from_frame(frame(300)) != Profile.from_frame(frame(301))


def test_a_frame_without_rows_or_of_unequal_columns_is_no_reference() -> None:
    with pytest.raises(ProfileError, match="no rows"):
        Profile.from_frame({"x": np.array([])}, {"x": "number"})
    with pytest.raises(ProfileError, match="different lengths"):
        Profile.from_frame({"x": np.zeros(3), "y": np.zeros(4)})


@pytest.mark.parametrize("said", [{"format": 3}, {"format": 2}, {"format": 2, "rows": 1, "columns": [{"name": "x"}]}])
def test_what_is_no_profile_of_this_release_is_told(said: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match="profile"):
        Profile.from_json(said)


def test_the_profile_of_a_former_release_is_read() -> None:
    said = json.loads((HERE.parent / "format1" / "profile.json").read_text())
    profile = Profile.load(HERE.parent / "format1" / "profile.json")
    assert {column.name for column in profile.columns} == set(said)
    assert {int(cells.sum()) for cells in profile.view(profile.counts).values()} == {profile.rows}
    assert profile.pairs == ()
    decision = next(column for column in profile.columns if column.role == "decision")
    assert dict(zip(decision.levels, profile.view(profile.counts)["decision"].tolist(), strict=False)) == {
        "stay": said["decision"]["counts"][0],
        "churn": said["decision"]["counts"][1],
    }
    assert Profile.from_json(profile.to_json()).to_json() == profile.to_json()


def test_a_stored_profile_covers_every_input_the_score_and_the_decision(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        profile = Profile.load(model.directory / "profile.json")
        rows = sum(model.manifest.dataset.rows.values())
        assert {column.name for column in profile.columns} == {*model.manifest.inputs, "score", "decision"}
        assert {int(cells.sum()) for cells in profile.view(profile.counts).values()} == {profile.rows}
        if model is linear:
            assert profile.rows == rows
        told = profile.layout.outcomes(profile.counts)
        assert told.sum() == model.manifest.dataset.rows["test"]
        assert told[1].sum() == model.manifest.dataset.positives["test"]
        assert set(profile.use) == set(model.manifest.inputs)
        assert sum(profile.use.values()) == pytest.approx(1.0, abs=1e-4)
