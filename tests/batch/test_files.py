"""A directory of scores: the same bytes for the same run, readable by everybody, made whole again where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from batch.files import Directory, RunDirectory
from batch.sink import SinkError
from features.store.base import StoreError
from tests.batch.conftest import Club


def content(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, less its lock."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_two_runs_are_the_same_bytes(club: Club, tmp_path: Path) -> None:
    club.join("child", 13, 0.0)
    for name in ("one", "two"):
        club.score(Directory(tmp_path / name), budget=0.5)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert any(name.endswith("_quarantine/00000.parquet") for name in content(tmp_path / "one"))


def test_pandas_and_duckdb_read_the_scores_and_nothing_else(club: Club, tmp_path: Path) -> None:
    club.join("child", 13, 0.0)
    outcome = club.score(Directory(tmp_path), budget=0.5)
    assert outcome.where == str(tmp_path / f"run={club.ask().id}")
    frame = pd.read_parquet(outcome.where)
    assert len(frame) == outcome.scored == 300
    assert frame["as_of"].dtype == "datetime64[us, UTC]"
    with duckdb.connect() as connection:
        sql = f"SELECT count(*), count(DISTINCT member_id) FROM '{outcome.where}/*.parquet'"
        assert connection.execute(sql).fetchall() == [(300, 300)]
    told = json.loads((Path(outcome.where) / "_SUCCESS").read_text())
    assert (told["scored"], told["quarantined"], len(told["parts"])) == (300, 1, 4)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_part_that_was_damaged_is_done_again(damage: str, club: Club, tmp_path: Path) -> None:
    place = Path(club.score(Directory(tmp_path)).where)
    before, part = content(place), place / "part-00001.parquet"
    if damage == "changed":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        part.unlink()
    outcome = club.score(Directory(tmp_path))
    assert (outcome.parts, outcome.resumed) == (3, 2)
    assert content(place) == before


def test_a_second_process_is_refused(club: Club, tmp_path: Path) -> None:
    sink = Directory(tmp_path)
    with sink.hold(club.ask()), pytest.raises(StoreError, match=r"scoring into .*: process \d+ is doing it"):
        club.score(sink)


def test_another_run_goes_beside_it(club: Club, tmp_path: Path) -> None:
    sink = Directory(tmp_path)
    first = club.score(sink)
    second = club.score(sink, rows_per_part=50)
    assert first.where != second.where
    assert (second.parts, second.resumed) == (6, 0)


def test_a_place_that_cannot_be_written_is_told(club: Club, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"--out .*file: Not a directory"):
        club.score(Directory(tmp_path / "file"))


def test_a_plan_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "_plan.json").write_text('{"run": 1}')
    with pytest.raises(SinkError, match=r"_plan\.json is not what a run writes"):
        RunDirectory(tmp_path).plan()
