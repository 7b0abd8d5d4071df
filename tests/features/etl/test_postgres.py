"""Ingest from a shop's own PostgreSQL: incremental, exact, and never half."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Json

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.clock import DAY, HOUR, MINUTE, micros, parse
from features.contract import SAFE_INTEGER, Contract, EventId, Key, Money, Timestamp
from features.etl.ingest import ingest, replay
from features.etl.read import CHUNK, SourceError
from features.source import Relation, Source
from features.store.base import Appended, EventStore, Spine, StoreError, Unreachable
from features.store.parquet import ParquetStore
from tests.features.engines import Engine
from tests.features.test_aggregates import same
from tests.features.toys import NOW, Account, feature_set, reasons, stored


class Order(Contract):
    """An order of the shop."""

    order_id: EventId
    customer: Key
    ordered_at: Timestamp
    total: Money
    items: int | None
    express: bool
    weight: float | None
    channel: Literal["web", "store"] | None


class Payment(Contract):
    """What the shop's bookkeeping has, without an id of its own."""

    customer: Key
    paid_at: Timestamp
    total: Money


SHOP = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
    id bigint PRIMARY KEY, name text, plan text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL, placed timestamptz, placed_local timestamp, placed_on date,
    placed_text text, total numeric(12,2), exact numeric, items integer, express boolean, weight double precision,
    channel text, note text, updated_at timestamptz NOT NULL);
CREATE VIEW shop.paid AS SELECT * FROM shop.orders WHERE total > 0;
"""
START = datetime(2025, 1, 1, tzinfo=UTC)
ORDERS = Relation("shop.orders", updated="updated_at", id="id", lateness=HOUR)
RENAMED = {"id": "order_id", "customer_id": "customer", "placed": "ordered_at"}
ORDER = Source(Order, rename=RENAMED, relation=ORDERS)


@pytest.fixture
def shop(postgresql: Server) -> Iterator[psycopg.Connection[Any]]:
    """The shop's database, empty; every statement is committed."""
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(SHOP)
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    """A store of orders, in files."""
    return opened(tmp_path, ORDER)


def opened(home: Path, source: Source, *aggregates: Aggregate, name: str = "store") -> ParquetStore:
    """A store of that source, in files."""
    chosen = aggregates or (Aggregate.count("orders"), Aggregate.sum("spent", "total"), Aggregate.max("most", "total"))
    return ParquetStore(home / name, feature_set(source.contract, *chosen), {"events": source})


def order(shop: psycopg.Connection[Any], number: int, minutes: float = 0, **values: Any) -> None:
    """Place an order, updated so many minutes after the start."""
    at = START + timedelta(minutes=minutes)
    row = {
        "id": number,
        "customer_id": number % 3,
        "placed": START,
        "total": "11.77",
        "items": 2,
        "express": True,
        "weight": 0.1,
        "channel": "web",
        "updated_at": at,
        **values,
    }
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    shop.execute(f"INSERT INTO shop.orders ({names}) VALUES ({marks})", list(row.values()))


def run(store: EventStore, server: Server, *, table: str = "events", **how: Any) -> Appended:
    """Ingest what is new in the shop."""
    return ingest(store, table, server.url, **{"now": NOW, **how})


def watermarks(store: EventStore) -> list[tuple[str, str]]:
    """When and which the last row of each batch was."""
    return [tuple(json.loads(batch.watermark).values()) for batch in store.batches()]


def test_every_type_of_column_is_read_exactly(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    store = engine.open(ORDER)
    order(shop, 1, placed=datetime(2025, 3, 1, 12, 30, 15, 123456, tzinfo=UTC))
    order(shop, 2, express=False, items=None, weight=None, channel=None, total="0")
    order(shop, 3, weight=1e-300, total="-0.01", items=-(2**31))
    assert run(store, postgresql).new == 3
    first, second, third = stored(store)
    assert first["ts"] == parse("2025-03-01T12:30:15.123456Z")
    assert (first["total"], first["items"], first["express"], first["weight"]) == (1177, 2, 1, 0.1)
    assert (second["items"], second["express"], second["weight"], second["channel"]) == (None, 0, None, None)
    assert (third["weight"], third["total"], third["items"]) == (1e-300, -1, -(2**31))
    batch = store.batches()[0]
    host = postgresql.url.partition("@")[2]
    assert (batch.source, batch.rows) == (f"postgresql://{host}#shop.orders", 3)


def test_a_second_run_reads_only_the_window_and_commits_nothing_where_nothing_is_new(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    store = engine.open(ORDER)
    for number in range(10):
        order(shop, number, minutes=30 * number)
    first = run(store, postgresql)
    assert (first.read, first.new, first.batch) == (10, 10, 1)
    for _ in range(2):  # 270 minutes, and an hour before: 210, 240, 270
        again = run(store, postgresql)
        assert (again.read, again.new, again.known, again.batch) == (3, 0, 3, None)
    order(shop, 10, minutes=280)
    third = run(store, postgresql)
    assert (third.read, third.new, third.batch) == (4, 1, 2)  # since 210
    assert (len(stored(store)), watermarks(store)) == (
        11,
        [("2025-01-01 04:30:00+00", "9"), ("2025-01-01 04:40:00+00", "10")],
    )


def test_what_a_slow_transaction_commits_late_is_read_within_the_lateness(
    shop: psycopg.Connection[Any], store: EventStore, postgresql: Server
) -> None:
    order(shop, 1, minutes=0)
    with psycopg.connect(postgresql.url) as slow:
        order(slow, 2, minutes=30)
        order(slow, 3, minutes=100)
        order(shop, 4, minutes=90)
        assert run(store, postgresql).new == 2
        slow.commit()
    assert run(store, postgresql).new == 2
    assert [row["event_id"] for row in stored(store)] == ["1", "2", "3", "4"]
    order(shop, 5, minutes=39)  # an hour and a minute before the last one: later than was declared
    assert run(store, postgresql).new == 0


def test_rows_of_one_time_are_all_read(shop: psycopg.Connection[Any], store: EventStore, postgresql: Server) -> None:
    for number in range(5):
        order(shop, number)
    assert run(store, postgresql).new == 5
    for number in range(5, 9):
        order(shop, number)
    assert run(store, postgresql).new == 4
    assert watermarks(store) == [("2025-01-01 00:00:00+00", "4"), ("2025-01-01 00:00:00+00", "8")]


def test_a_row_that_is_changed_is_told_and_kept_aside(
    shop: psycopg.Connection[Any], store: EventStore, postgresql: Server
) -> None:
    order(shop, 1)
    run(store, postgresql)
    shop.execute("UPDATE shop.orders SET total = 5, updated_at = updated_at + interval '1 day'")
    outcome = run(store, postgresql)
    assert (outcome.new, outcome.quarantined) == (0, 1)
    assert "already taken" in reasons(store)[0][0]
    assert [row["total"] for row in stored(store)] == [1177]


def test_records_are_states_that_follow_the_table(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    customers = Relation("shop.customers", updated="updated_at", id="id")
    store = engine.records(Source(Account, rename={"id": "customer_id"}, relation=customers))
    shop.execute("INSERT INTO shop.customers VALUES (1, 'a', 'small', '2025-01-01'), (2, 'b', 'large', '2025-01-01')")
    assert run(store, postgresql, table="records").new == 2
    for day, plan in enumerate(["large", "small"], start=1):
        shop.execute(
            "UPDATE shop.customers SET plan = %s, updated_at = updated_at + interval '1 day' WHERE id = 1", [plan]
        )
        assert run(store, postgresql, table="records", now=NOW + day * DAY).new == 1
    plans = [store.records(Spine.at(["1"], NOW + day * DAY))["plan"].tolist() for day in range(3)]
    assert plans == [["small"], ["large"], ["small"]]


def test_an_empty_and_an_emptied_table(shop: psycopg.Connection[Any], store: EventStore, postgresql: Server) -> None:
    assert run(store, postgresql) == Appended(None, 0, 0, 0, 0)
    order(shop, 1)
    assert run(store, postgresql).new == 1
    shop.execute("TRUNCATE shop.orders")
    assert run(store, postgresql) == Appended(None, 0, 0, 0, 0)
    order(shop, 2, minutes=1)
    assert run(store, postgresql).new == 1
    assert [row["event_id"] for row in stored(store)] == ["1", "2"]


def test_a_view_is_read_like_a_table(shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server) -> None:
    store = opened(tmp_path, replace(ORDER, relation=replace(ORDERS, name="shop.paid")))
    order(shop, 1)
    order(shop, 2, total="-1")
    assert run(store, postgresql).new == 1


def test_what_was_quarantined_is_replayed_as_the_database_wrote_it(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    source = replace(ORDER, time_format="%Y%m%d", zone="America/New_York")  # of the shop's files
    store = engine.open(source)
    order(shop, 1)
    order(shop, 2, channel="fax")
    assert run(store, postgresql).quarantined == 1

    class Wider(Order):
        channel: Literal["web", "store", "fax"] | None  # type: ignore[assignment]  # wider than before

    wider = engine.open(replace(source, contract=Wider))
    assert [outcome.new for outcome in replay(wider, now=NOW)] == [1]
    assert {row["ts"] for row in stored(wider)} == {micros(START)}
    assert wider.quarantined() == []


LOCAL = replace(ORDER, rename={**RENAMED, "placed_local": "ordered_at"}, zone="America/New_York")
del LOCAL.rename["placed"]  # type: ignore[attr-defined]  # one column is the time


@pytest.mark.parametrize("column", ["placed_local", "placed_on"])
def test_times_without_a_zone_are_refused_until_one_is_declared(
    column: str, shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server
) -> None:
    naive = replace(ORDER, rename={"id": "order_id", "customer_id": "customer", column: "ordered_at"})
    order(shop, 1, placed_local=datetime(2025, 7, 1), placed_on=datetime(2025, 7, 1))  # the point
    refused = opened(tmp_path, naive)
    with pytest.raises(SourceError, match=rf"shop\.orders\.{column} is a .*zone=\"America/New_York\""):
        run(refused, postgresql)
    assert refused.batches() == []
    zoned = opened(tmp_path, replace(naive, zone="America/New_York"), name="zoned")
    assert run(zoned, postgresql).new == 1
    assert stored(zoned)[0]["ts"] == parse("2025-07-01T04:00:00Z")


def test_dates_as_text_are_read_by_the_declared_format(
    shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server
) -> None:
    rename = {"id": "order_id", "customer_id": "customer", "placed_text": "ordered_at"}
    store = opened(tmp_path, replace(ORDER, rename=rename, time_format="%d.%m.%Y", zone="Europe/Berlin"))
    order(shop, 1, placed_text="01.07.2025")
    order(shop, 2, placed_text="07/01/2025")
    order(shop, 3, placed_text=None)
    outcome = run(store, postgresql)
    assert (outcome.new, outcome.quarantined) == (1, 2)
    assert stored(store)[0]["ts"] == parse("2025-06-30T22:00:00Z")


def test_both_changes_of_the_clock_give_the_same_features_on_every_road(
    shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server
) -> None:
    """Instants around the gap of March and the overlap of November, where wall clocks tell them apart."""
    zone = ZoneInfo("America/New_York")
    changes = [datetime(2025, 3, 9, 7, tzinfo=UTC), datetime(2025, 11, 2, 6, tzinfo=UTC)]
    steps = [timedelta(minutes=m) for m in (-2880, -181, -121, -61, 61, 121, 181, 2880)]
    instants = [change + step + timedelta(microseconds=n) for n, change in enumerate(changes) for step in steps]
    instants += [changes[0] - timedelta(microseconds=1), changes[0], changes[0] + timedelta(minutes=30)]
    header = "id,customer_id,placed,total,items,express,weight,channel\n"
    utc, local = [header], [header]
    for number, at in enumerate(instants):
        wall = at.astimezone(zone).replace(tzinfo=None)
        order(shop, number, customer_id=1, placed=at, placed_local=wall, total=str(number))
        utc.append(f"{number},1,{at.isoformat()},{number},2,true,0.1,web\n")
        local.append(f"{number},1,{wall.isoformat()},{number},2,true,0.1,web\n")
    (tmp_path / "utc.csv").write_text("".join(utc))
    (tmp_path / "local.csv").write_text("".join(local))
    windows = [
        Aggregate.sum(f"spent_{minutes}", "total", window=minutes * MINUTE) for minutes in (59, 60, 61, 120, 180, 1_440)
    ]
    given: list[tuple[str, Source, Path | str]] = [
        ("timestamptz", ORDER, postgresql.url),
        ("timestamp", LOCAL, postgresql.url),
        ("utc", ORDER, tmp_path / "utc.csv"),
        ("local", replace(ORDER, zone="America/New_York"), tmp_path / "local.csv"),
    ]
    spine = Spine(
        np.array(["1"] * 400), np.array([micros(changes[n % 2]) + (n // 2 - 100) * 7 * MINUTE for n in range(400)])
    )
    answers = []
    for name, source, where in given:
        found = opened(tmp_path, source, *windows, Aggregate.max("last_at", "ordered_at"), name=name)
        assert ingest(found, "events", where, now=NOW, backfill=True).new == len(instants)
        assert [row["ts"] for row in sorted(stored(found), key=lambda row: int(row["event_id"]))] == [
            *map(micros, instants)
        ]
        answers.append(found.aggregate(spine))
    assert len(set(answers[0].aggregates["spent_60"].tolist())) > 5
    for answer in answers[1:]:
        same(answer, answers[0])


def test_an_hour_that_comes_twice_is_read_alike_from_a_table_and_a_file(
    shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server
) -> None:
    lines = ["id,customer_id,placed,total,items,express,weight,channel\n"]
    for number, wall in enumerate(["2025-11-02 01:30:00", "2025-03-09 02:30:00"]):
        order(shop, number, placed_local=wall)
        lines.append(f"{number},{number},{wall},11.77,2,true,0.1,web\n")
    (tmp_path / "local.csv").write_text("".join(lines))
    of_table, of_file = (opened(tmp_path, s, name=n) for n, s in (("a", LOCAL), ("b", replace(ORDER, zone=LOCAL.zone))))
    run(of_table, postgresql)
    ingest(of_file, "events", tmp_path / "local.csv", now=NOW)
    times = [[row["ts"] for row in stored(found)] for found in (of_table, of_file)]
    assert times[0] == times[1]
    assert times[0][0] in (parse("2025-11-02T05:30:00Z"), parse("2025-11-02T06:30:00Z"))


AMOUNTS = [
    *("0", "-0.00", "0.01", "-0.01", "0.1", "1", "11.77", "0.29", "1.005", "4.35", "1.10", "2.675", "1e2", "1.230000"),
    *("9007199254740.99", "90071992547409.91", "-90071992547409.91", "90071992547409.92", "99999999999999.99"),
    *("999999999999999.99", "1e20", "1e100", "1e-100", "0.001", "NaN", "Infinity", "-Infinity", "70368744177664.01"),
    *(f"{n}.{n % 100:02d}" for n in range(0, 10**13, 777_777_777_777)),
]  # fmt: skip


def cents(amount: str) -> int | None:
    """The amount in cents, exactly, or None where there are none."""
    exact = Decimal(amount) * 100
    whole = exact.is_finite() and exact == exact.to_integral_value()
    return int(exact) if whole and abs(exact) <= SAFE_INTEGER else None


def test_money_is_exact_to_the_cent_or_refused(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    rename = {"customer_id": "customer", "placed": "paid_at", "exact": "total"}
    store = engine.open(Source(Payment, rename=rename, relation=ORDERS), Aggregate.sum("paid", "total"))
    for number, amount in enumerate(AMOUNTS):
        order(shop, number, customer_id=number, exact=amount)
    outcome = run(store, postgresql)
    expected = {str(n): cents(amount) for n, amount in enumerate(AMOUNTS)}
    accepted = {key: value for key, value in expected.items() if value is not None}
    assert (outcome.new, outcome.quarantined) == (len(accepted), len(AMOUNTS) - len(accepted))
    assert {row["key"]: row["total"] for row in stored(store)} == accepted
    found = store.aggregate(Spine.at(list(accepted), NOW + 1)).aggregates["paid"]
    assert found.tolist() == list(accepted.values())
    waiting = [json.loads(row["original"]) for row in store.quarantined()]
    assert {row["customer_id"] for row in waiting} == expected.keys() - accepted.keys()
    for row in waiting:  # its own digits, all of them
        assert row["exact"] == format(Decimal(AMOUNTS[int(row["customer_id"])]), "f")


STRANGE: list[tuple[str, Any, str]] = [
    ("placed", "infinity", "ordered_at: 'infinity'"),
    ("placed", "-infinity", "ordered_at: '-infinity'"),
    ("placed", "0044-03-15 12:00:00 BC", "ordered_at: '0044-03-15"),
    ("placed", "2025-03-15 12:00:00 BC", "ordered_at: '2025-03-15"),
    ("placed", "12025-03-15 12:00:00", "ordered_at: '12025-03-15"),
    ("placed", "0001-01-01", "ordered_at: '0001-01-01"),
    ("placed", None, "ordered_at: missing"),
    ("items", 2_147_483_647, ""),
    ("weight", float("nan"), "weight: 'NaN'"),
    ("weight", float("-inf"), "weight: '-Infinity'"),
    ("total", None, "total: missing"),
    ("express", None, "express: missing"),
    ("channel", "fax", "channel: 'fax'"),
    ("channel", "", ""),
    ("channel", "x" * 10_000_000, "channel: 'xxx"),
    ("channel", "\x01\x7f\ufeff\u2028'\"\\", "channel: "),
]


def test_what_a_database_can_hold_and_a_contract_cannot_is_kept_aside(
    shop: psycopg.Connection[Any], engine: Engine, postgresql: Server
) -> None:
    store = engine.open(ORDER)
    for number, (column, value, _) in enumerate(STRANGE):
        order(shop, number, **{column: value})
    outcome = run(store, postgresql)
    assert outcome.read == len(STRANGE)
    assert (outcome.new, outcome.quarantined) == (2, len(STRANGE) - 2)
    waiting = {int(json.loads(row["original"])["id"]): row for row in store.quarantined()}
    for number, (column, value, reason) in enumerate(STRANGE):
        if not reason:
            assert number not in waiting
            continue
        (told,) = waiting[number]["reasons"]
        assert told.startswith(reason), column
        assert len(told) < 200
        if isinstance(value, str) and column == "channel":
            assert json.loads(waiting[number]["original"])["channel"] == value
    assert run(store, postgresql).batch is None
    assert sum(found.quarantined for found in replay(store, now=NOW)) == outcome.quarantined


@pytest.mark.parametrize(
    ("relation", "rename", "told"),
    [
        (replace(ORDERS, name="shop.nothing"), {}, r"has no table or view shop\.nothing"),
        (replace(ORDERS, name="nowhere.orders"), {}, r"has no table or view nowhere\.orders"),
        (replace(ORDERS, name='shop.or"ders; DROP TABLE x'), {}, "has no table or view"),
        (replace(ORDERS, updated="changed_at"), {}, r"shop\.orders has no column 'changed_at'; it has id, customer_id"),
        (replace(ORDERS, id="number"), {}, r"shop\.orders has no column 'number'"),
        (replace(ORDERS, updated="note"), {}, r"shop\.orders\.note is a text, not a timestamp"),
        (ORDERS, {"placed": "ordered_at"}, r"shop\.orders has no column 'order_id'"),
        (None, {}, r"names no table; declare it in the use case, as relation=Relation\("),
    ],
)
def test_a_table_that_is_not_as_declared_is_told(
    relation: Relation | None,
    rename: dict[str, str],
    told: str,
    shop: psycopg.Connection[Any],
    tmp_path: Path,
    postgresql: Server,
) -> None:
    order(shop, 1)
    store = opened(tmp_path, replace(ORDER, relation=relation, rename=rename or RENAMED))
    with pytest.raises(SourceError, match=told):
        run(store, postgresql)
    assert store.batches() == []


@pytest.mark.parametrize(
    ("grants", "told"),
    [
        ((), "permission denied for schema shop|has no table or view"),
        (("GRANT USAGE ON SCHEMA shop TO reader",), "permission denied for table orders"),
        (("GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT (id) ON shop.orders TO reader"), "permission denied"),
    ],
)
def test_a_user_who_may_not_read_is_told(
    grants: tuple[str, ...], told: str, shop: psycopg.Connection[Any], store: EventStore, postgresql: Server
) -> None:
    order(shop, 1)
    shop.execute("CREATE ROLE reader LOGIN")
    try:
        for grant in grants:
            shop.execute(grant)
        url = postgresql.url.replace("holdfast@", "reader:s3cret@")
        with pytest.raises((SourceError, StoreError), match=told) as raised:
            ingest(store, "events", url, now=NOW)
        assert "s3cret" not in str(raised.value)
        for grant in ("GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT ON shop.orders TO reader"):
            shop.execute(grant)
        assert ingest(store, "events", url, now=NOW).new == 1
    finally:
        shop.execute("DROP OWNED BY reader")
        shop.execute("DROP ROLE reader")


@pytest.mark.parametrize("value", [None, "infinity", "-infinity"])
def test_a_row_that_a_later_run_would_never_read_is_refused(
    value: str | None, shop: psycopg.Connection[Any], store: EventStore, postgresql: Server
) -> None:
    shop.execute("ALTER TABLE shop.orders ALTER updated_at DROP NOT NULL")
    order(shop, 1)
    order(shop, 2, updated_at=value)
    with pytest.raises(SourceError, match=r"shop\.orders: 1 rows have no finite updated_at.*NOT NULL"):
        run(store, postgresql)
    assert store.batches() == []


MANY = 60_000
WIDE = f"""
INSERT INTO shop.orders (id, customer_id, placed, total, note, updated_at)
SELECT n, 1, '2025-01-01'::timestamptz + n * interval '1 s', n, repeat('\U0001f600', 110) || n % 1000, '2025-01-01'
FROM generate_series(1, {MANY}) n;
CREATE FUNCTION shop.lives(id bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
IF id = {MANY * 3 // 4} AND current_query() LIKE '%"note"%' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
RETURN true; END $$;
CREATE VIEW shop.mortal AS SELECT *, shop.lives(id) FROM shop.orders ORDER BY updated_at, id;
"""
"""30 MB as they are read, in parts of 16; reading the view ends the server's process when the first is long sent."""


@pytest.fixture
def payments(shop: psycopg.Connection[Any], tmp_path: Path) -> EventStore:
    """A store of payments, which are many and wide."""
    shop.execute(WIDE)
    mortal = replace(ORDERS, name="shop.mortal")
    return opened(tmp_path, Source(Payment, rename={"note": "customer", "placed": "paid_at"}, relation=mortal))


def test_a_connection_that_dies_while_it_is_read_leaves_nothing_and_a_rerun_makes_it_whole(
    shop: psycopg.Connection[Any], payments: EventStore, postgresql: Server
) -> None:
    for _ in range(2):
        with pytest.raises(Unreachable, match=r"out of reach.*nothing half done was kept"):
            run(payments, postgresql)
        assert payments.batches() == []
    shop.execute("CREATE OR REPLACE FUNCTION shop.lives(id bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    outcome = run(payments, postgresql)
    assert (outcome.read, outcome.new, outcome.batch) == (MANY, MANY, 1)
    assert len(payments.keys(NOW)) == 1_000


def test_a_server_that_restarts_while_it_is_read_leaves_all_or_nothing(
    shop: psycopg.Connection[Any], payments: EventStore, postgresql: Server
) -> None:
    shop.execute("CREATE OR REPLACE FUNCTION shop.lives(id bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    restarted: list[int] = []

    def restart(read: int) -> None:
        if not restarted:
            postgresql.restart()
        restarted.append(read)

    with suppress(Unreachable):  # unless all was on its way already
        run(payments, postgresql, progress=restart)
    assert restarted[0] == CHUNK
    assert [batch.rows for batch in payments.batches()] in ([], [MANY])
    run(payments, postgresql)
    assert [batch.rows for batch in payments.batches()] == [MANY]


def test_a_password_is_in_no_manifest(shop: psycopg.Connection[Any], store: EventStore, postgresql: Server) -> None:
    order(shop, 1)
    for password in ("s3cret", "s3%3Fcret", "s3%23cret", "s3:cret"):
        url = postgresql.url.replace("holdfast@", f"holdfast:{password}@")
        ingest(store, "events", f"{url}?application_name=s3cret", now=NOW)
    (batch,) = store.batches()
    assert "s3" not in json.dumps(batch.as_dict())


def test_json_and_other_types_are_their_text(shop: psycopg.Connection[Any], tmp_path: Path, postgresql: Server) -> None:
    shop.execute("ALTER TABLE shop.orders ADD COLUMN about jsonb")
    order(shop, 1, about=Json({"a": 1}))
    store = opened(tmp_path, replace(ORDER, rename={"id": "order_id", "about": "customer", "placed": "ordered_at"}))
    assert run(store, postgresql).new == 1
    assert stored(store)[0]["key"] == '{"a": 1}'
