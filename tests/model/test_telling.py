"""Outcomes that a job brings: in the log once, however often they are brought; in files and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.servers import Server
from features.store.base import StoreError
from model.predictions.outcome import Outcome
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.telling import Told, tell

NOON = 1_717_243_200_000_000


def outcome(number: int, *, received: int | None = None) -> Outcome:
    """The outcome of that number."""
    return Outcome(
        outcome_id=f"o{number:06d}",
        key=f"k{number}",
        at=NOON,
        outcome=number % 3 == 0,
        observed_at=NOON + number,
        received_at=NOON + (number if received is None else received),
    )


@pytest.fixture(params=["files", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path, postgresql: Server) -> Iterator[Log]:
    """An empty log of each kind; nobody has made a directory or tables yet."""
    if request.param == "files":
        yield Directory(tmp_path / "log", "telling")
        return
    yield Table(postgresql.url, "telling")
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA holdfast_telling CASCADE")


def test_what_is_brought_is_there_once(log: Log) -> None:
    made = [outcome(number) for number in range(2_500)]
    assert tell(log, made[:2_001]) == Told(2_001, 0)
    assert tell(log, [*made, made[2_400]]) == Told(499, 2_002)
    assert tell(log, made) == Told(0, 2_500)
    assert list(log.outcomes()) == made


def test_what_was_received_first_stays(log: Log) -> None:
    tell(log, [outcome(1, received=5)])
    assert tell(log, [outcome(1, received=3), outcome(1, received=9), outcome(2)]) == Told(1, 2)
    assert list(log.outcomes()) == [outcome(2), outcome(1, received=5)]


def test_of_nothing_nothing_is_written(tmp_path: Path) -> None:
    assert tell(Directory(tmp_path / "log", "telling"), []) == Told(0, 0)
    assert not (tmp_path / "log").exists()


def test_a_segment_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    log = Directory(tmp_path / "log", "telling")
    tell(log, [outcome(1)])
    before = sorted(log.path.iterdir())
    bad = Outcome(outcome_id="o2", key="\ud800", at=NOON, outcome=True, observed_at=NOON, received_at=NOON)
    with pytest.raises(UnicodeEncodeError):
        tell(log, [outcome(3), bad])
    assert sorted(log.path.iterdir()) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="outcomes cannot be written"):
        tell(Directory(tmp_path / "file" / "log", "telling"), [outcome(1)])


def test_one_use_cases_outcomes_are_not_anothers(tmp_path: Path) -> None:
    tell(Directory(tmp_path, "telling"), [outcome(1)])
    assert tell(Directory(tmp_path, "other"), [outcome(1)]) == Told(1, 0)
    assert list(Directory(tmp_path, "other").outcomes()) == [outcome(1)]
