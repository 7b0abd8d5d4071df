"""A table of scores on a real server: idempotent, resumed, and whole after the server went away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from batch.files import Directory
from batch.postgres import Postgres
from batch.run import BudgetExceeded
from batch.sink import SinkError
from benchmarks.servers import Server
from cli.workspace import Workspace
from features.store.base import Unreachable
from tests.batch.conftest import Club, scored


def rows(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """What the server answers."""
    with psycopg.connect(server.url) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def sink(database: Server) -> Iterator[Postgres]:
    """A table that is not there yet."""
    yield Postgres.at(f"{database.url}/scores", "member_id")
    with psycopg.connect(database.url) as connection:
        for table in ("scores", "scores_quarantine", "scores_parts", "scores_runs"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def test_a_table_holds_what_the_files_hold(cdnow: Workspace, database: Server, tmp_path: Path) -> None:
    files = pd.read_parquet(scored(cdnow, Directory(tmp_path), 10_000).where).drop(columns="run", errors="ignore")
    scored(cdnow, Postgres.at(f"{database.url}/public.everyone", "customer_id"), 10_000)
    found = rows(database, "SELECT * FROM everyone ORDER BY customer_id")
    assert found == [tuple(row) for row in files.sort_values("customer_id").itertuples(index=False)]
    [(run_id, finished)] = rows(database, "SELECT run_id, finished->>'scored' FROM everyone_runs")
    assert (run_id, finished) == (files["run_id"][0], "23570")


def test_again_it_changes_nothing(club: Club, sink: Postgres, database: Server) -> None:
    club.join("child", 13, 0.0)
    with pytest.raises(BudgetExceeded, match=r"'child': ValueError"):
        club.score(sink)
    first = club.score(sink, budget=0.01)
    assert first.resumed >= 1
    before = [rows(database, f"SELECT t::text, xmin::text FROM scores{name} t ORDER BY 1") for name in TABLES]
    again = club.score(sink, budget=0.01)
    assert (again.resumed, again.rows, again.quarantined) == (again.parts, 301, 1)
    after = [rows(database, f"SELECT t::text, xmin::text FROM scores{name} t ORDER BY 1") for name in TABLES]
    assert after == before
    assert len(before[0]) == 300


TABLES = ("", "_quarantine", "_parts")


def test_a_part_whose_manifest_is_gone_is_replaced(club: Club, sink: Postgres, database: Server) -> None:
    club.score(sink)
    before = rows(database, "SELECT t::text FROM scores t ORDER BY 1")
    with psycopg.connect(database.url) as connection:
        connection.execute("DELETE FROM scores_parts WHERE part = 1")
        connection.execute("UPDATE scores SET probability = 2")
    outcome = club.score(sink)
    assert (outcome.parts, outcome.resumed) == (3, 2)
    assert rows(database, "SELECT count(*) FROM scores WHERE probability = 2") == [(200,)]
    assert len(rows(database, "SELECT 1 FROM scores")) == len(before)


def test_runs_live_beside_each_other(club: Club, sink: Postgres, database: Server) -> None:
    club.score(sink)
    club.score(sink, rows_per_part=50)
    assert rows(database, "SELECT count(*), count(DISTINCT member_id), count(DISTINCT run_id) FROM scores") == [
        (600, 300, 2)
    ]


def test_a_restart_in_the_middle_loses_nothing(club: Club, sink: Postgres, database: Server) -> None:
    restarting = threading.Thread(target=database.restart)
    outcome = club.score(sink, rows_per_part=10, progress=lambda done, _: restarting.start() if done == 5 else None)
    restarting.join()
    assert outcome.rows == 300
    assert rows(database, "SELECT count(*), count(DISTINCT member_id) FROM scores") == [(300, 300)]
    assert sink.unfinished() == []


def test_a_server_that_stays_away_is_told_without_the_password(
    club: Club, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.postgres.PAUSES", (0.01,))
    sink = Postgres.at(f"{database.url.replace('holdfast@', 'holdfast:secret@')}/left", "member_id")

    def leave(done: int, _: int) -> None:
        if done == 2:
            database.stop()

    with pytest.raises(Unreachable, match=r"out of reach") as caught:
        club.score(sink, rows_per_part=50, progress=leave)
    assert "secret" not in str(caught.value)
    database.start()
    assert [run.id for run in sink.unfinished()] == [club.ask(50).id]
    outcome = club.score(sink, rows_per_part=50)
    assert (outcome.resumed, outcome.rows) == (2, 300)
    assert "secret" not in outcome.where


def test_a_table_of_somebody_else_is_refused(club: Club, database: Server) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE theirs (a int)")
    with pytest.raises(SinkError, match=r"has columns a, not member_id, as_of"):
        club.score(Postgres.at(f"{database.url}/theirs", "member_id"))
    assert rows(database, "SELECT to_regclass('theirs_runs')") == [(None,)]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@host/scores",
        "mysql://host/db/scores",
        "postgresql://h/db/a.b.c",
        "scores",
        "postgresql://h/db/A b",
    ],
)
def test_an_address_that_names_no_table_is_refused(address: str) -> None:
    with pytest.raises(SinkError, match=r"DATABASE/TABLE") as caught:
        Postgres.at(address, "key")
    assert "secret" not in str(caught.value)


def test_an_address_keeps_its_parameters() -> None:
    sink = Postgres.at("postgresql://me@host:5433/db/mine.scores?sslmode=require", "key")
    assert (sink.url, sink.name("parts")) == ("postgresql://me@host:5433/db?sslmode=require", '"mine"."scores_parts"')
