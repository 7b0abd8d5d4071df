"""A run is its question: the same question has the same id, and everything that may change an answer changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch.files import Directory
from batch.plan import Finished, Plan, Run, divide
from batch.run import begun
from features import clock
from features.clock import DAY
from features.store.base import StoreError
from tests.batch.conftest import AS_OF, START, Club

RUN = Run(
    usecase="club",
    as_of="2025-07-01T00:00:00Z",
    model="club:1",
    content="c" * 64,
    fingerprint="f" * 64,
    data="d" * 64,
    rows_per_part=10,
)


def test_an_id_sorts_by_time_and_can_be_a_name_of_a_file() -> None:
    assert RUN.id.startswith("20250701T000000Z-")
    assert len(RUN.id) == len("20250701T000000Z-") + 16
    assert RUN.t == clock.parse("2025-07-01T00:00:00Z")


@pytest.mark.parametrize("field", sorted(Run.model_fields))
def test_every_field_is_part_of_the_id(field: str) -> None:
    other: dict[str, Any] = {"rows_per_part": 11, "explain": 3, "as_of": "2025-07-01T00:00:01Z"}
    assert RUN.model_copy(update={field: other.get(field, "another")}).id != RUN.id


def test_rows_that_do_not_count_at_that_time_are_another_matter(club: Club) -> None:
    t = START + 100 * DAY
    before, later = club.ask(t=t), club.ask(t=START + 250 * DAY)
    club.take("events", "member_id,came_at,paid", [("m000", clock.rfc3339(AS_OF + DAY), "1.00")], now=AS_OF + 2 * DAY)
    assert club.ask(t=t) == before
    assert club.ask(t=START + 250 * DAY) != later


def test_a_record_that_counts_is_another_run(club: Club) -> None:
    before = club.ask()
    club.take("records", "member_id,age,discount", [("m000", 77, 0.5)])
    assert club.ask().id != before.id


@pytest.mark.parametrize("at_a_time", [1_000_000, 40, 1])
def test_parts_hold_everyone_once(at_a_time: int, club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.parquet.SORTED", at_a_time)
    plan = divide(club.ask(70), club.events)
    keys = [key for low, high in plan.parts for key in club.events.keys(AS_OF, low, high).tolist()]
    assert keys == club.events.keys(AS_OF).tolist()
    assert list(plan.bounds) == ["", *keys[70::70]]


def test_a_time_at_which_nobody_is_known_is_refused(club: Club) -> None:
    with pytest.raises(StoreError, match=r"nobody was known at 2024-12-31T00:00:00Z.*--backfill"):
        divide(club.ask(t=START - DAY), club.events)


def test_an_unfinished_run_of_the_same_cadence_is_taken_up(tmp_path: Path) -> None:
    sink = Directory(tmp_path)
    with sink.hold(RUN) as place:
        place.keep(Plan(run=RUN, bounds=("",)))
        later = RUN.model_copy(update={"as_of": "2025-07-01T09:00:00Z"})
        assert begun(sink, later, DAY) == RUN
        tomorrow = RUN.model_copy(update={"as_of": "2025-07-02T00:00:00Z"})
        assert begun(sink, tomorrow, DAY) == tomorrow
        other = later.model_copy(update={"model": "club:2"})
        assert begun(sink, other, DAY) == other
        place.finish(Finished(run_id=RUN.id, run=RUN, scored=0, quarantined=0, parts=()))
        assert begun(sink, later, DAY) == later
