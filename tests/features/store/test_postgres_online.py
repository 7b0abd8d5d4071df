"""PostgreSQL's own: tables come by `migrate`, a lock goes with its connection, and nobody is kept waiting for long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from benchmarks.servers import Server
from features.aggregates import Aggregate, Where
from features.contract import Contract, Key, Timestamp
from features.store import open_online
from features.store.base import Materialized, OnlineStore, Rows, StoreError, Unreachable
from features.store.postgres_online import PostgresOnline
from tests.features.store.places import Place
from tests.features.store.test_online import COUNT, T, columns, part, totals
from tests.features.toys import Row, feature_set


@pytest.fixture
def at(postgresql: Server, tmp_path: Path) -> Place:
    """A place in PostgreSQL."""
    return Place("postgresql", tmp_path, postgresql)


@pytest.fixture
def store(at: Place) -> Iterator[PostgresOnline]:
    """A store there."""
    with closing(at.open(COUNT)) as opened:
        assert isinstance(opened, PostgresOnline)
        yield opened


def test_without_tables_every_call_says_what_makes_them(postgresql: Server, tmp_path: Path) -> None:
    with closing(open_online(postgresql.url, tmp_path, COUNT, name="bare")) as store:
        for call in (
            store.as_of,
            store.last_batch,
            store.fingerprints,
            lambda: store.read(["1"]),
            lambda: store.compute(["1"], T),
            lambda: store.load(1, columns([])),
            lambda: store.materialize([], T, 1, full=True),
            store.clear,
        ):
            with pytest.raises(StoreError, match="holdfast migrate"):
                call()


def test_migrating_again_keeps_what_is_there_and_adds_what_a_contract_gained(at: Place) -> None:
    class Before(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    class After(Before):
        colour: int | None

    events: dict[str, list[Any]] = {"event_id": ["e"], "key": ["1"], "ts": [T - 9], "ingested_at": [0], "size": [5]}
    with closing(at.open(feature_set(Before, Aggregate.sum("sizes", "size")))) as old:
        old.load(1, events)
    now = feature_set(After, Aggregate.sum("sizes", "size"), Aggregate.max("hue", "colour"))
    with closing(at.open(now)) as new:
        new.migrate()
        new.load(2, events | {"event_id": ["f"], "colour": [3]})
        found = new.compute(["1"], T).aggregates
    assert {name: values.tolist() for name, values in found.items()} == {"sizes": [10], "hue": [3.0]}


def test_signs_that_drivers_read_as_placeholders_are_only_signs(postgresql: Server, tmp_path: Path) -> None:
    class Signed(Contract):
        customer_id: Key
        at: Timestamp
        kind: Literal["100%s", "$1", "%%"]

    counts = [
        Aggregate.count(f"n{n}", where=[Where("kind", "=", kind)]) for n, kind in enumerate(["100%s", "$1", "%%"])
    ]
    with closing(Place("postgresql", tmp_path, postgresql).open(feature_set(Signed, *counts))) as store:
        kinds = ["100%s", "$1", "$1", "%%", "%%", "%%"]
        n = len(kinds)
        ids = [str(number) for number in range(n)]
        store.load(1, {"event_id": ids, "key": ["1"] * n, "ts": [T - 1] * n, "ingested_at": [0] * n, "kind": kinds})
        assert [values.tolist() for values in store.compute(["1"], T).aggregates.values()] == [[1], [2], [3]]


def test_who_lost_the_lock_cannot_commit(at: Place, store: PostgresOnline) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)

    def parts() -> Iterator[Rows]:
        yield part(["1"], 8)
        with psycopg.connect(str(at.url)) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        yield part(["2"], 8)

    with pytest.raises(Unreachable), store.exclusive():
        store.materialize(parts(), T + 1, 2, full=False)
    assert (store.as_of(), totals(store, ["1", "2"])) == (Materialized(T, 1, 1), [(T, 7, True), (T, 0, False)])


def test_a_full_run_gives_up_where_a_long_query_holds_the_rows(
    at: Place, store: PostgresOnline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.store.postgres_online._PATIENCE", 1)
    store.materialize([part(["1"], 7)], T, 1, full=True)
    with psycopg.connect(str(at.url)) as other:
        other.execute(f"SELECT * FROM {store.rows}")  # and stays in its transaction, as a dump does
        with pytest.raises(StoreError, match="a reader has held the rows"):
            store.materialize([part(["1"], 8)], T + 1, 1, full=True)
        assert totals(store, ["1"]) == [(T, 7, True)]
        store.materialize([part(["1"], 9)], T + 1, 1, full=False)
    store.materialize([part(["1"], 8)], T + 2, 1, full=True)
    assert totals(store, ["1"]) == [(T + 2, 8, True)]


def test_a_query_that_takes_too_long_is_told_and_the_store_answers_on(at: Place, store: PostgresOnline) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)
    with closing(open_online(at.url, at.home, COUNT, name=at.name, timeout=0.2)) as hasty:
        with psycopg.connect(str(at.url)) as other:
            other.execute(f"LOCK TABLE {store.rows}")
            with pytest.raises(Unreachable, match=r"0\.2 s of HOLDFAST_ONLINE_TIMEOUT_MS"):
                hasty.read(["1"])
        assert totals(hasty, ["1"]) == [(T, 7, True)]


def test_more_readers_than_connections_wait_their_turn(at: Place, store: PostgresOnline) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)
    with closing(open_online(at.url, at.home, COUNT, name=at.name, timeout=10, pool=2)) as few:
        found: list[tuple[int, int, bool]] = []
        threads = [threading.Thread(target=lambda: found.extend(totals(few, ["1"] * 20))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [(T, 7, True)] * 240


def test_values_that_do_not_fit_are_told(store: PostgresOnline) -> None:
    with pytest.raises(StoreError, match="bigint"):
        store.load(1, columns([Row("e", "1", T - 9, 0, 5)]) | {"amount": ["many"]})
    assert store.last_batch() == 0
    store.load(1, columns([Row(f"e{n}", "1", T - 9, 0, 2**62) for n in range(2)]))
    with pytest.raises(StoreError, match="out of range"):
        store.compute(["1"], T)


def test_no_message_tells_the_password(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.url.replace("holdfast@", "holdfast:secret@").replace("/postgres", "/nowhere")
    with closing(open_online(url, tmp_path, COUNT, name="toy", timeout=0.3)) as store:
        for call in (store.as_of, store.clear, lambda: store.read(["1"])):
            with pytest.raises(Unreachable, match=r"holdfast:\*\*\*@127") as told:
                call()
            assert "secret" not in str(told.value)
    with pytest.raises(StoreError, match=r"x:\*\*\*@\[h.*is no address") as refused:
        open_online("postgresql://x:secret@[h/db", tmp_path, COUNT, name="toy")
    assert "secret" not in str(refused.value)


def test_a_server_that_stands_still_is_told_in_time(at: Place, store: PostgresOnline) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)
    with closing(open_online(at.url, at.home, COUNT, name=at.name, timeout=0.2, pool=1)) as hasty:
        assert totals(hasty, ["1"]) == [(T, 7, True)]
        with psycopg.connect(str(at.url)) as other:
            (server,) = other.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast' ORDER BY backend_start DESC"
            ).fetchone() or (0,)
        os.kill(server, signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="HOLDFAST_ONLINE_TIMEOUT_MS"):
                hasty.read(["1"])
        finally:
            os.kill(server, signal.SIGCONT)
        _until_it_answers(hasty)
        assert totals(hasty, ["1"]) == [(T, 7, True)]


def _until_it_answers(store: OnlineStore) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            store.as_of()
        except Unreachable:
            assert time.monotonic() < deadline
        else:
            return


@pytest.mark.parametrize(
    "password",
    ["pa@s3cret", "pa/s3cret", "pa%s3cret", "%00s3cret", "pa s3cret", "p@s3cret/x", "p@s3cret?q", "p]s3cret"],
)
@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_password_that_is_not_escaped_is_refused_before_the_driver_tells_it(
    scheme: str, password: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError, match="@ is %40") as refused:
        open_online(f"{scheme}://u:{password}@127.0.0.1:1/0", tmp_path, COUNT, name="toy", timeout=0.3)
    assert "s3cret" not in f"{refused.value} {caplog.text}"
