"""Events in PostgreSQL: tables made and mended by `migrate`, one writer, servers that go away, passwords kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psycopg
import pytest

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.contract import Contract, Key, Timestamp
from features.etl.ingest import ingest
from features.etl.read import SourceError
from features.source import Source
from features.store import open_events
from features.store.base import EventStore, Materialized, Spine, StoreError, Unreachable
from tests.features.engines import Engine
from tests.features.toys import GOOD, NOW, Account, Sale, changed, feature_set, sales, stored

SALE = Source(Sale)
SECRET = "s3cret"


@pytest.fixture
def place(postgresql: Server, tmp_path: Path) -> Engine:
    """A name of its own on the server."""
    return Engine("postgresql", tmp_path, postgresql)


def with_password(server: Server, password: str = SECRET) -> str:
    """The server's address with a password in it, which it does not ask for."""
    return server.url.replace("holdfast@", f"holdfast:{password}@")


def asked(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """The server's answer, beside the store."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def done(server: Server, *statements: str) -> None:
    """Do something on the server, beside the store."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for sql in statements:
            connection.execute(sql)


def tables(server: Server, name: str) -> list[tuple[Any, ...]]:
    """Every column of a use case's schema."""
    return asked(
        server,
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns "
        f"WHERE table_schema = 'holdfast_{name}' ORDER BY 1, ordinal_position",
    )


QUESTIONS: dict[str, Callable[[EventStore], Any]] = {
    "batches": lambda store: store.batches(),
    "content": lambda store: store.content(),
    "keys": lambda store: store.keys(NOW),
    "ranges": lambda store: store.ranges(NOW, 2),
    "changed": lambda store: store.changed(Materialized(0, 0, 0), NOW),
    "relevant": lambda store: store.relevant(NOW, 1),
    "aggregate": lambda store: store.aggregate(Spine.at(["7"], NOW)),
    "active": lambda store: store.active(Spine.at(["7"], NOW), 1),
    "span": lambda store: store.span(),
    "records": lambda store: store.records(Spine.at(["7"], NOW)),
    "events": lambda store: store.events(1),
    "quarantined": lambda store: store.quarantined(),
}


@pytest.mark.parametrize("what", [*QUESTIONS, "append"])
def test_without_migrate_every_question_names_it(what: str, place: Engine) -> None:
    store = place.open({"events": SALE, "records": Source(Account)}, migrate=False)
    ask: Callable[[EventStore], Any] = QUESTIONS.get(what, lambda store: place.take(store, sales(GOOD)))
    with pytest.raises(StoreError, match="run `holdfast migrate`") as raised:
        ask(store)
    assert not isinstance(raised.value, Unreachable)


def test_migrate_again_changes_nothing(place: Engine, postgresql: Server) -> None:
    store = place.open({"events": SALE, "records": Source(Account)})
    place.take(store, sales(GOOD, changed(pieces="x")))
    before, told = tables(postgresql, place.name), store.migrate()
    assert store.migrate() == told
    assert tables(postgresql, place.name) == before
    assert (len(stored(store)), len(store.quarantined())) == (1, 1)
    texts = {(table, column): collation for table, column, kind, _, collation in before if kind == "text"}
    assert {texts[key] for key in texts if key[1] in ("key", "event_id", "id", "kind", "plan")} == {"C"}


def test_many_may_migrate_at_once(place: Engine, postgresql: Server) -> None:
    stores = [place.open({"events": SALE, "records": Source(Account)}, migrate=False) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda store: store.migrate(), stores))) == 1
    place.take(stores[0], sales(GOOD))
    assert len(stored(stores[-1])) == 1
    names = {row[0] for row in tables(postgresql, place.name)}
    assert names == {"batches", "events", "records", "quarantine", "resolved"}


class Before(Contract):
    """An event as it was."""

    customer_id: Key
    at: Timestamp
    size: int


class After(Contract):
    """The same with a field more."""

    customer_id: Key
    at: Timestamp
    size: int
    colour: Literal["red"] | None


class Retyped(Contract):
    """The same with another kind of field under an old name."""

    customer_id: Key
    at: Timestamp
    size: float


def test_a_field_more_needs_migrate_and_then_nothing_else(place: Engine) -> None:
    place.take(place.open(Source(Before, zone="UTC")), "customer_id,at,size\n1,2025-01-01,5\n")
    store = place.open(Source(After, zone="UTC"), Aggregate.sum("sizes", "size"), migrate=False)
    line = "customer_id,at,size,colour\n1,2025-01-02,6,red\n"
    with pytest.raises(StoreError, match="run `holdfast migrate`"):
        place.take(store, line)
    store.migrate()
    assert place.take(store, line).new == 1
    assert sorted((row["size"], row["colour"]) for row in stored(store)) == [(5, None), (6, "red")]
    assert store.aggregate(Spine.at(["1"], NOW)).aggregates["sizes"].tolist() == [11]


def test_a_field_of_another_type_is_refused_before_anything_is_changed(place: Engine, postgresql: Server) -> None:
    place.take(place.open(Source(Before, zone="UTC")), "customer_id,at,size\n1,2025-01-01,5\n")
    before = tables(postgresql, place.name)
    with pytest.raises(StoreError, match=r'"size" holds bigint.*double precision.*give the field another name'):
        place.open({"events": Source(Retyped, zone="UTC"), "records": Source(Account)})
    assert tables(postgresql, place.name) == before


@contextmanager
def stuck(server: Server, name: str) -> Iterator[psycopg.Connection[Any]]:
    """Whoever reads or writes quarantine waits while the block runs."""
    with psycopg.connect(server.url) as connection:
        connection.execute(f"LOCK TABLE holdfast_{name}.quarantine IN ACCESS EXCLUSIVE MODE")
        yield connection


def test_a_second_writer_is_refused_by_name_and_the_first_is_unharmed(place: Engine, postgresql: Server) -> None:
    store = place.open(
        SALE, url=f"{postgresql.url}?options=-c%20lock_timeout%3D60s"
    )  # were it not refused, it would wait
    place.take(store, sales(GOOD))
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'relation'"
    (place.home / "first.csv").write_text(sales(changed(customer_id="8")))
    with ThreadPoolExecutor(1) as pool:
        with stuck(postgresql, place.name):
            first = pool.submit(ingest, store, "events", place.home / "first.csv", now=NOW)
            while not (found := asked(postgresql, waiting)):
                assert not first.done()
            with pytest.raises(StoreError, match=f"{place.name}: server process {found[0][0]} is doing it"):
                place.take(store, sales(changed(customer_id="9")), name="second.csv")
            assert [row["key"] for row in stored(store)] == ["7"]
        assert first.result(30).new == 1
    assert place.take(store, sales(changed(customer_id="9")), name="second.csv").batch == 3
    assert sorted(row["key"] for row in stored(store)) == ["7", "8", "9"]


def test_use_cases_that_share_a_database_do_not_wait_for_each_other(place: Engine, postgresql: Server) -> None:
    one, two = place.open(SALE), Engine("postgresql", place.home, postgresql)
    other = two.open(SALE)
    (place.home / "first.csv").write_text(sales(GOOD))
    with ThreadPoolExecutor(1) as pool:
        with stuck(postgresql, place.name):
            first = pool.submit(ingest, one, "events", place.home / "first.csv", now=NOW)
            assert two.take(other, sales(GOOD)).batch == 1
            assert not first.done()
        assert first.result(30).batch == 1


@pytest.mark.parametrize("table", ["events", "quarantine", "batches"])
def test_a_connection_that_dies_while_it_writes_leaves_nothing_and_a_rerun_makes_it_whole(
    table: str, place: Engine, postgresql: Server
) -> None:
    store = place.open(SALE)
    content = sales(*(changed(customer_id=str(n)) for n in range(50)), changed(pieces="x"))
    schema = f"holdfast_{place.name}"
    done(
        postgresql,
        f"CREATE FUNCTION {schema}.die() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'",
        f"CREATE TRIGGER die AFTER INSERT ON {schema}.{table} FOR EACH ROW EXECUTE FUNCTION {schema}.die()",
    )
    with pytest.raises(Unreachable, match="nothing half done was kept"):
        place.take(store, content)
    assert (store.batches(), store.quarantined(), len(store.keys(NOW))) == ([], [], 0)
    done(postgresql, f"DROP TRIGGER die ON {schema}.{table}")
    outcome = place.take(store, content)
    assert (outcome.batch, outcome.new, outcome.known, outcome.quarantined) == (1, 50, 0, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_server_that_is_away_is_told_so_and_the_same_store_works_when_it_is_back(
    number: signal.Signals, place: Engine, postgresql: Server
) -> None:
    store = place.open({"events": SALE, "records": Source(Account)}, url=with_password(postgresql))
    place.take(store, sales(GOOD))
    before = store.content()
    postgresql.stop(number)
    try:
        for what, ask in QUESTIONS.items():
            with pytest.raises(Unreachable, match=r"//holdfast:\*\*\*@127\.0\.0\.1.*out of reach") as raised:
                ask(store)
            assert SECRET not in str(raised.value), what
        with pytest.raises(Unreachable, match="out of reach"):
            store.migrate()
        with pytest.raises(Unreachable, match="out of reach"):
            place.take(store, sales(changed(customer_id="8")))
    finally:
        postgresql.start()
    assert store.content() == before
    assert place.take(store, sales(changed(customer_id="8"))).new == 1


HOST = "127.0.0.1:1/x"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@{HOST}",
        f"postgresql://u:a%40{SECRET}@{HOST}",
        f"postgresql://u:a@{SECRET}@{HOST}",
        f"postgresql://u:{SECRET}@a@{HOST}",
        f"postgresql://u:a/{SECRET}@{HOST}",
        f"postgresql://u:{SECRET}/a@{HOST}",
        f"postgresql://u:{SECRET}:{SECRET}@{HOST}",
        f"postgresql://u:{SECRET}?{SECRET}@{HOST}",
        f"postgresql://u:{SECRET}#{SECRET}@{HOST}",
        f"postgresql://u:%{SECRET}@{HOST}",
        f"postgresql://u:%00{SECRET}@{HOST}",
        f"postgresql://:{SECRET}@{HOST}",
        f"postgresql://{HOST}?user=u&password={SECRET}",
        f"postgresql://{HOST}?password={SECRET}&bogus=1",
        f"postgresql://u:{SECRET}@no-such-host.invalid/x",
        f"postgresql://u:{SECRET}@127.0.0.1:port/x",
    ],
)
def test_no_message_tells_a_password_however_it_is_written(url: str, tmp_path: Path) -> None:
    store = open_events(url, tmp_path, feature_set(Sale), {"events": SALE}, name="toys")
    for ask in (store.migrate, store.batches, lambda: ingest(store, "events", url, now=NOW)):
        with pytest.raises((StoreError, SourceError)) as raised:
            ask()
        assert SECRET not in str(raised.value)
        assert "***" in str(raised.value)


@pytest.mark.parametrize("password", ["a@b", "a/b", "50%", "%zz"])
def test_a_password_that_is_not_escaped_is_told_how_to_write_it(password: str, tmp_path: Path) -> None:
    url = f"postgresql://u:{password}@{HOST}"
    store = open_events(url, tmp_path, feature_set(Sale), {"events": SALE}, name="toys")
    with pytest.raises(StoreError, match="@ is %40"):
        store.batches()


def test_no_key_of_a_spine_can_break_out_of_the_question(place: Engine) -> None:
    store = place.open(SALE)
    place.take(store, sales(GOOD))
    hostile = ["7", "' OR '1'='1", "'; DROP TABLE events; --", "\\'; SELECT 1; --", "zz'"]
    found = store.aggregate(Spine(np.array(hostile), np.full(len(hostile), NOW + 1)))
    assert found.aggregates["seen"].tolist() == [1, 0, 0, 0, 0]
    assert store.keys(NOW + 1, "' OR '1'='1", "zz' OR '1'='1").tolist() == ["7"]
