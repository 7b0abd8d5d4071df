"""Skew: none on a system that is right, whatever was asked; and a bit that is another is named, and nothing else is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from features.featureset import FeatureSet
from features.store.base import StoreError
from model import store
from model.predictions import Prediction
from model.predictions.reading import Directory
from model.predictions.segment import read, segments
from model.replay import Events, Replay
from monitoring.ledger.sqlite import SQLiteLedger
from monitoring.passes.passing import run
from monitoring.skew import BEHIND, DEGRADED, Found, Skew, compare
from serving.recorder import Recorder
from tests.cli.studio import NOBODY, Studio, member
from tests.effort import examples

DAY, LATER = 200.5, 214.25
ASKED = [*(member(number) for number in (1, 22, 33, 60, 999)), [member(number) for number in [*range(150), 999]]]
AWAY = {"online_url": "redis://127.0.0.1:1/0", "online_down": "cold-start"}


@dataclass(frozen=True)
class Served:
    """A studio that answered, before and after more events came, some of them late."""

    studio: Studio
    tag: str
    predictions: list[Prediction]

    @property
    def features(self) -> FeatureSet:
        """What the model reads."""
        return self.studio.at(LATER).usecase.features

    @property
    def events(self) -> Events:
        """Where the truth is."""
        return Events(self.studio.at(LATER).events, lambda one: one.key)

    @cached_property
    def replay(self) -> Replay:
        """Of the model."""
        return Replay(store.path(self.tag), self.features)

    def compare(self, predictions: list[Prediction], events: Events | None = None) -> Found:
        """What comes of these."""
        return compare(self.replay, predictions, events or self.events)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Answers from materialized rows, computed on read, and without a store."""
    studio = Studio(tmp_path_factory.mktemp("studio"))
    studio.members(DAY)
    studio.visits((0, DAY), DAY)
    tag = studio.train(DAY)
    for day in (DAY, LATER):
        studio.answer(tag, day, ASKED)
        studio.answer(tag, day, ASKED, online_read="on-read")
        studio.answer(tag, day, ASKED[:2], **AWAY)
        studio.visits((day - 60, day - 1), day, only=int(day))
        studio.at(LATER).materialize()
    log = studio.home / "var" / "studio" / "predictions"
    return Served(studio, tag, list(Directory(log, "studio").between()))


def test_a_system_that_is_right_has_none_in_any_answer(served: Served) -> None:
    found = served.compare(served.predictions)
    answers = 4 * (5 + 151)
    assert (found.checked, found.answers, found.not_compared) == (answers, 0, {DEGRADED: 2 * 2})
    aggregates = [aggregate.name for aggregate in served.features.aggregates]
    assert found.body(served.tag)["features"] == {
        name: {"compared": answers, "differing": 0, "ratio": 0.0}
        for name in {*served.features.inputs, *aggregates, "known"}
    }
    assert len({one.batch for one in served.predictions if not one.degraded}) > 1
    assert any(one.key == NOBODY and not one.known for one in served.predictions)


def test_events_that_came_later_would_be_seen(served: Served) -> None:
    """Or else the test above would prove little."""
    last = served.events.last()
    found = served.compare([replace(one, batch=last) for one in served.predictions])
    assert found.differing["visits"] > 0


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_a_bit_of_one_number_is_named_and_nothing_else(served: Served, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(served.predictions) - 1).filter(lambda n: not served.predictions[n].degraded))
    one = served.predictions[place]
    which = data.draw(st.sampled_from(["aggregates", "features"]))
    values = getattr(one, which)
    names = values if which == "aggregates" else [function.__name__ for function in served.features.rows]
    name = data.draw(st.sampled_from(sorted(names)))
    other = _flipped(values[name], data.draw(st.integers(0, 51)))
    rows = list(served.predictions)
    rows[place] = replace(one, **{which: {**values, name: other}})
    assume(other == other or values[name] == values[name])  # another NaN says the same
    found = served.compare(rows)
    assert dict(found.differing) == {name: 1}
    told = found.body(served.tag)["features"][name]
    assert told["ratio"] == 1 / found.compared[name] > 0
    assert told["example"]["prediction_id"] == one.prediction_id


def _flipped(value: float, bit: int) -> float:
    """The number with one bit changed; of an integer one of the lower ones."""
    if isinstance(value, int):
        return value ^ (1 << (bit % 40))
    return float((np.array([value]).view(np.int64) ^ np.int64(1 << bit)).view(np.float64)[0])


@pytest.mark.parametrize("name", ["paid", "last_at"])
def test_an_aggregate_of_an_online_row_is_named_and_not_what_is_made_of_it(
    served: Served, tmp_path: Path, name: str
) -> None:
    rows = served.studio.home / "var" / "studio" / "online.sqlite"
    wrong = tmp_path / "online.sqlite"
    for suffix in ("", "-wal"):
        if (path := rows.with_name(rows.name + suffix)).exists():
            wrong.with_name(wrong.name + suffix).write_bytes(path.read_bytes())
    with closing(sqlite3.connect(wrong)) as connection, connection:
        table = f"rows_{served.features.fingerprint[:16]}"
        assert connection.execute(f'UPDATE {table} SET "{name}" = "{name}" + 1 WHERE key = \'m22\'').rowcount == 1
    url = f"file://{tmp_path / 'log'}"
    served.studio.answer(served.tag, LATER, ASKED, online_url=f"sqlite://{wrong}", predictions_url=url)
    found = served.compare(list(Directory(tmp_path / "log", "studio").between()))
    assert (dict(found.differing), found.answers, found.checked) == ({name: 2}, 0, 156)
    example = found.body(served.tag)["features"][name]["example"]
    assert example["logged"] == example["now"] + 1


def test_a_category_is_named_as_the_model_s_input(served: Served) -> None:
    one = next(one for one in served.predictions if one.features["plan=month"] == 1)
    found = served.compare([replace(one, features={**one.features, "plan=month": 0.0})])
    assert dict(found.differing) == {"plan": 1}


def test_a_score_that_is_not_the_model_s_is_no_feature_s_fault(served: Served) -> None:
    found = served.compare([replace(served.predictions[0], margin=1.0)])
    assert (found.answers, dict(found.differing)) == (1, {})


def test_what_is_not_compared_is_counted_with_its_reason(served: Served) -> None:
    known = served.predictions[:3]
    hidden = Events(served.studio.at(LATER).events, lambda _: None, "nobody knows the key")
    found = served.compare(known, hidden)
    assert found.not_compared == {"nobody knows the key": 3}
    assert set(found.compared) == {name for name in served.features.inputs if name not in known[0].aggregates}
    found = served.compare([replace(one, batch=99) for one in known])
    assert found.not_compared == {BEHIND: 3}
    assert not found.differing
    other = replace_features(served.features)
    found = compare(Replay(store.path(served.tag), other), known, served.events)
    (why,) = found.not_compared
    assert "has other features" in why
    assert (found.checked, found.compared) == (0, {})


def replace_features(features: FeatureSet) -> FeatureSet:
    """Others, of the same names."""
    return FeatureSet(
        inputs=features.inputs[:-1],
        events=features.events,
        attributes=features.attributes,
        aggregates=features.aggregates,
        rows=features.rows,
    )


def facts(served: Served, log: Path, home: Path, share: float | None, rows: int = 100) -> list[dict[str, Any]]:
    """Of a pass over a log."""
    workspace, ledger = served.studio.at(LATER), SQLiteLedger(home)
    watcher = Skew(served.features, lambda: served.events, share)
    run(workspace.usecase, ledger, Directory(log, "studio"), [watcher], rows=rows)
    return ledger.facts("skew", served.tag)


def test_a_pass_tells_of_all_that_it_checked(served: Served, tmp_path: Path) -> None:
    log = served.studio.home / "var" / "studio" / "predictions"
    told = facts(served, log, tmp_path, 1.0)
    assert len(told) > 1
    assert told[-1]["checked"] == len(served.predictions) - 4
    assert {one["ratio"] for one in told[-1]["features"].values()} == {0.0}
    assert told[-1]["since"] == told[0]["since"] > 0
    half = facts(served, log, tmp_path / "half", 0.5)[-1]
    assert 0.3 < half["checked"] / told[-1]["checked"] < 0.7
    assert facts(served, log, tmp_path / "none", 0.0)[-1]["checked"] == 0
    assert facts(served, log, tmp_path / "again", 0.5, rows=10**6)[-1]["checked"] == half["checked"]


def test_without_a_share_so_many_are_checked_of_what_is_read_at_once(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.skew.MOST", 50)
    log = served.studio.home / "var" / "studio" / "predictions"
    (told,) = facts(served, log, tmp_path, None, rows=10**6)
    assert told["checked"] + sum(told["not_compared"].values()) == 50


def test_a_bit_in_the_log_is_named_within_one_pass(served: Served, tmp_path: Path) -> None:
    log = served.studio.home / "var" / "studio" / "predictions"
    found = [both for path in segments(log) for both in read(path)]
    header, entry = next(both for both in found if len(both[1].keys) > 100)
    cells = bytearray(entry.features)
    row, width = 22, len(cells) // len(entry.keys)
    cells[row * width] ^= 1  # the lowest bit of the first feature that is no input of the request
    with closing(Recorder(f"file://{tmp_path / 'log'}", tmp_path, header, 10**9)) as recorder:
        recorder.append(replace(entry, features=bytes(cells)))
    (told,) = facts(served, tmp_path / "log", tmp_path / "ledger", 1.0)
    wrong = {name: one for name, one in told["features"].items() if one["ratio"]}
    assert list(wrong) == ["paid_per_visit"]
    assert wrong["paid_per_visit"]["differing"] == 1
    assert wrong["paid_per_visit"]["example"]["prediction_id"] == f"{entry.id}-{row}"


def test_what_cannot_be_compared_now_is_told_and_harms_no_pass(served: Served) -> None:
    def away() -> Events:
        raise StoreError("the events are away")

    found = Skew(served.features, away).check(served.tag, served.predictions[:7])
    assert found.not_compared == {"the events are away": 7}
    found = Skew(served.features, away).check("studio:20200101-00000000", served.predictions[:7])
    (why,) = found.not_compared
    assert "studio:20200101-00000000" in why


def test_what_was_found_adds_up() -> None:
    first = Found(since=2, checked=3, compared={"a": 3, "b": 3}, differing={"a": 1}, examples={"a": {"logged": 1}})
    second = Found(since=1, checked=2, compared={"a": 2}, not_compared={"x": 1}, differing={"a": 1}, how="h")
    both = first + second
    assert both.body("m")["features"] == {
        "a": {"compared": 5, "differing": 2, "ratio": 0.4, "example": {"logged": 1}},
        "b": {"compared": 3, "differing": 0, "ratio": 0.0},
    }
    assert (both.since, both.checked, both.not_compared, both.how) == (1, 5, {"x": 1}, "h")
