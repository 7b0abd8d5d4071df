"""The ledger: all of a commit or nothing, one at a time, and nothing of a version that is not known."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import psycopg
import pytest

from benchmarks.servers import Server
from features.store.base import StoreError
from model.registry import Busy
from monitoring.ledger import Change, Closed, Fact, Ledger, Opened, Seen, open_ledger

MODEL = "club:20240101-aaaaaaaa"
Open = Callable[[], Ledger]
_NUMBER = count(1)


@pytest.fixture(params=["file", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one ledger, as another process would."""
    if request.param == "file":
        return lambda: open_ledger(None, tmp_path, "club")
    server: Server = request.getfixturevalue("postgresql")
    own = f"ledger_{next(_NUMBER)}"
    return lambda: open_ledger(server.url, tmp_path, own)


def closed(number: int, alarm: bool = False) -> Closed:
    """A window."""
    verdict = {"alarm": alarm, "findings": [], "p": 0.25}
    return Closed(MODEL, number, number * 10, number * 10 + 9, 1_000, 5, 1, 0, bytes([number]), verdict, "training")


def change(after: int, number: int) -> Change:
    """What a pass might learn."""
    return Change(
        after,
        cursor={"part": str(number), f"gone-{number}": "1"},
        forgotten={f"gone-{number - 1}"},
        opened={MODEL: Opened(MODEL, number, 0, 0, 1, 2, b"open")},
        closed=[closed(number)],
        facts=[Fact("skew", MODEL, number, {"ratio": 0.5, "nothing": float("nan")}), Fact("pass", None, number, {})],
        counters=Counter({("records", "counted"): 5}),
        notes={"kept": b"%d" % number, "dropped": None if number > 1 else b"x"},
        seen=[Seen(number * 10, number * 10 + 9, np.array([number, 2**63 + number], np.uint64))],
        unseen=number * 10 - 10,
    )


def test_what_is_committed_is_read_by_everybody(opening: Open) -> None:
    ledger = opening()
    assert (ledger.number(), ledger.models(), ledger.closed(MODEL), ledger.opened(MODEL)) == (0, [], [], None)
    assert (ledger.cursor(), ledger.counters(), ledger.facts("skew"), ledger.note("kept")) == ({}, {}, [], None)
    for number in (1, 2, 3):
        assert ledger.commit(change(number - 1, number)) == number
    other = opening()
    assert other.number() == 3
    assert other.cursor() == {"part": "3", "gone-3": "1"}
    assert other.models() == [MODEL]
    assert other.opened(MODEL) == Opened(MODEL, 3, 0, 0, 1, 2, b"open")
    assert other.closed(MODEL) == [closed(1), closed(2), closed(3)]
    assert other.closed(MODEL, 2) == [closed(2), closed(3)]
    assert other.closed("club:other") == []
    assert other.counters() == {("records", "counted"): 15}
    assert other.facts("skew", last=1) == [{"ratio": 0.5, "nothing": None, "at": 3, "model": MODEL}]
    assert [one["at"] for one in other.facts("skew", MODEL)] == [1, 2, 3]
    assert other.facts("skew", "club:other") == []
    assert (other.note("kept"), other.note("dropped")) == (b"3", None)
    assert [ids.tolist() for ids in other.seen(25, 35)] == [[2, 2**63 + 2], [3, 2**63 + 3]]
    assert other.seen(0, 19) == []  # no longer kept
    assert str(opening().migrate()).startswith(ledger.where)


def test_the_second_of_two_passes_is_refused_and_changes_nothing(opening: Open) -> None:
    first, second = opening(), opening()
    first.commit(change(0, 1))
    with pytest.raises(Busy, match="another pass"):
        second.commit(change(0, 2))
    assert (second.number(), len(second.closed(MODEL)), second.cursor()["part"]) == (1, 1, "1")


def test_a_commit_that_fails_leaves_the_former_state(opening: Open) -> None:
    ledger = opening()
    ledger.commit(change(0, 1))
    broken = change(1, 2)
    broken.seen.append(Seen(None, 1, np.zeros(1, np.uint64)))  # type: ignore[arg-type]  # what no table takes
    with pytest.raises(StoreError):
        ledger.commit(broken)
    assert (ledger.number(), len(ledger.closed(MODEL)), ledger.note("kept")) == (1, 1, b"1")
    assert ledger.commit(change(1, 2)) == 2


def _increments(opening: tuple[str | None, Path, str], times: int) -> None:
    ledger = open_ledger(*opening)
    done = 0
    while done < times:
        number = ledger.number()
        try:
            ledger.commit(Change(number, counters=Counter({("records", "counted"): 1})))
        except Busy:
            continue
        done += 1


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_of_many_at_once_each_commit_counts(kind: str, tmp_path: Path, postgresql: Server) -> None:
    own = (None if kind == "file" else postgresql.url, tmp_path, "ledger_crowd")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_increments, args=(own, 10)) for _ in range(3)]
    for one in others:
        one.start()
    for one in others:
        one.join(60)
    ledger = open_ledger(*own)
    assert ledger.counters() == {("records", "counted"): 30}
    assert ledger.number() == 30


def test_a_version_that_is_not_known_is_refused(opening: Open) -> None:
    ledger = opening()
    ledger.commit(change(0, 1))
    with ledger.writing() as run:  # type: ignore[attr-defined]  # both engines have it
        run(f"UPDATE {ledger.schema}state SET version = 99")  # type: ignore[attr-defined]
    for attempt in (ledger.models, ledger.number, ledger.migrate, lambda: ledger.commit(change(1, 2))):
        with pytest.raises(StoreError, match=r"version 99.*HOLDFAST_MONITOR_URL"):
            attempt()


def test_only_facts_about_passes_are_forgotten(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.ledger.tables.PASSES", 2)
    ledger = opening()
    for number in range(1, 6):
        ledger.commit(change(number - 1, number))
    assert [one["at"] for one in ledger.facts("pass")] == [3, 4, 5]
    assert len(ledger.facts("skew")) == 5


def test_addresses(tmp_path: Path) -> None:
    assert open_ledger(None, tmp_path, "club").where == str(tmp_path / "monitor" / "ledger.sqlite")
    assert open_ledger(f"file://{tmp_path}/a%20b", tmp_path, "club").where == str(tmp_path / "a b" / "ledger.sqlite")
    for url in ("mysql://u:secret@h/db", "sqlite:///x", "file:"):
        with pytest.raises(StoreError, match="HOLDFAST_MONITOR_URL") as error:
            open_ledger(url, tmp_path, "club")
        assert "secret" not in str(error.value)
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor" / "ledger.sqlite").write_text("no database at all, but a text that is long enough")
    with pytest.raises(StoreError, match=r"ledger\.sqlite"):
        open_ledger(None, tmp_path, "club").number()


def test_a_server_that_is_away_is_told_without_the_password() -> None:
    ledger = open_ledger("postgresql://u:secret@127.0.0.1:1/db", Path(), "club")
    with pytest.raises(StoreError, match="out of reach") as error:
        ledger.number()
    assert "secret" not in str(error.value)


def test_a_reader_without_rights_is_told_what_to_grant(postgresql: Server) -> None:
    open_ledger(postgresql.url, Path(), "granted").commit(change(0, 1))
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS onlooker; CREATE ROLE onlooker LOGIN")
    url = postgresql.url.replace("//holdfast@", "//onlooker@")
    assert url != postgresql.url
    with pytest.raises(StoreError, match="grant USAGE on schema holdfast_granted"):
        open_ledger(url, Path(), "granted").models()
