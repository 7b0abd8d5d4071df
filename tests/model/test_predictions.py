"""The prediction log: what is written is read, to the last bit; a torn tail is no damage, and damage is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.store.base import StoreError, Unreachable
from model.predictions import Entry, Header
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log, open_log
from model.predictions.segment import OPEN, SEALED, frame, name, read
from tests.effort import examples
from tests.model.answers import HEADER, answered, bits, entry, new_id

SECOND = 1_000_000
NOON = 1_717_243_200 * SECOND


def write(path: Path, *records: Header | Entry) -> list[int]:
    """A segment of these records; where each one begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [b"".join(frame(record)) for record in records]
    path.write_bytes(b"".join(frames))
    return [sum(map(len, frames[:i])) for i in range(len(frames))]


def log_of(kind: str, directory: Path, server: Server, usecase: str, parts: Sequence[Sequence[Entry]]) -> Log:
    """A log with these entries, a segment per part."""
    header = Header(**{field: getattr(HEADER, field) for field in HEADER.__struct_fields__} | {"usecase": usecase})
    if kind == "file":
        for number, part in enumerate(parts):
            path = directory / (name(part[0].time, f"pod-{number % 2}", 7, number) + SEALED)
            write(path, header, *part)
            os.utime(path, (part[-1].time // SECOND + 1,) * 2)
        return open_log(f"file://{directory}", Path("unused"), usecase)
    table = Table(server.url, usecase)
    with table.writer() as connection:
        for part in parts:
            table.insert(connection, [(header, one) for one in part])
    return open_log(server.url, Path("unused"), usecase)


def same(found: Sequence[Any], expected: Sequence[dict[str, Any]]) -> None:
    """Equal, each float to the last bit."""
    assert [bits(one) for one in found] == [bits(row) for row in expected]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(answered(), max_size=4))
def test_what_is_written_to_a_segment_is_read_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[Entry, list[dict[str, Any]]]]
) -> None:
    path = tmp_path_factory.mktemp("log") / (name(0, "p", 1, 1) + SEALED)
    write(path, HEADER, *(made for made, _ in given_))
    same(list(Directory(path.parent, "club").between()), [row for _, rows in given_ for row in rows])
    assert not list(Directory(path.parent, "other").between())


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(answered(), min_size=1, max_size=4))
def test_what_is_written_to_postgresql_is_read_to_the_last_bit(
    postgresql: Server, given_: list[tuple[Entry, list[dict[str, Any]]]]
) -> None:
    table = Table(postgresql.url, "club")
    with table.writer() as connection:
        for _ in range(2):  # the second time adds nothing
            table.insert(connection, [(HEADER, made) for made, _ in given_])
    for _, rows in given_:
        for row in rows:
            same(table.find(row["prediction_id"]), [row])


def test_a_tail_torn_at_any_byte_leaves_what_stands_before_it(tmp_path: Path) -> None:
    path = tmp_path / (name(NOON, "p", 1, 1) + OPEN)
    entries = [entry("a"), entry("b", "c"), entry("d")]
    *_, last = write(path, HEADER, *entries)
    whole = path.read_bytes()
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        assert [one for _, one in read(path)] == entries[:2]
    path.write_bytes(whole)
    assert [one for _, one in read(path)] == entries
    first = len(b"".join(frame(HEADER)))
    for length in range(first):
        path.write_bytes(whole[:length])
        assert list(read(path)) == []


def test_a_byte_that_changed_is_told_with_file_and_offset_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / (name(NOON, "p", 1, 1) + SEALED)
    entries = [entry("a"), entry("b"), entry("c")]
    starts = write(path, HEADER, *entries)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        at = max(start for start in starts if start <= place)
        found: list[Entry] = []
        with pytest.raises(StoreError, match=rf"{path}, byte {at}: .*damaged"):
            found.extend(one for _, one in read(path))  # what comes before the error stays in it
        assert found == entries[: max(0, starts.index(at) - 1)]


def test_what_is_no_segment_is_told(tmp_path: Path) -> None:
    path = tmp_path / (name(NOON, "p", 1, 1) + SEALED)
    path.write_bytes(b"H")
    assert list(read(path)) == []  # the first byte of a frame
    path.write_bytes(b"hello")
    with pytest.raises(StoreError, match="byte 0: no record begins here"):
        list(read(path))
    write(path, entry("a"))
    with pytest.raises(StoreError, match="byte 0: a record of another form"):
        list(read(path))


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_find_by_prediction_and_by_request(kind: str, tmp_path: Path, postgresql: Server) -> None:
    hours = [NOON + hour * 3_600 * SECOND for hour in range(4)]
    parts = [[entry(f"{n}-{i}", at=t + i, request_id=f"r-{n}-{i}") for i in range(3)] for n, t in enumerate(hours)]
    bulk = entry("x", "y", "z", at=hours[1] + 9, places=[0, 2, 11], request_id="mine-1")
    cut = entry("late", at=hours[1] + 10, id=bulk.id, places=[12], request_id="mine-1")
    own = entry("u", "v", at=hours[3] + 9)
    log = log_of(kind, tmp_path, postgresql, f"find_{kind}", [*parts, [bulk], [cut], [own]])

    def keys(wanted: str) -> list[str]:
        return [one.key for one in log.find(wanted)]

    for part in parts:
        for one in part:
            assert keys(one.id) == keys(one.request_id) == one.keys
    assert keys(bulk.id) == keys("mine-1") == ["x", "y", "z", "late"]  # in two segments, as where one was full
    assert keys(f"{bulk.id}-2") == ["y"]
    assert keys(f"{bulk.id}-12") == ["late"]
    assert keys(own.id) == ["u", "v"]
    assert keys(f"{own.id}-1") == ["v"]
    for nothing in (f"{bulk.id}-1", bulk.id[:-1], "mine", "r-0", "", new_id(), "\0", "f" * 32, "mine-1-0"):
        assert keys(nothing) == []


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_between_and_newest(kind: str, tmp_path: Path, postgresql: Server) -> None:
    hours = [NOON + hour * 3_600 * SECOND for hour in range(5)]
    parts = [[entry(f"{hour}-{i}", at=t + i * SECOND) for i in range(3)] for hour, t in enumerate(hours)]
    long = [entry("first", at=hours[0] + 9 * SECOND), entry("last", "2-1", at=hours[4] + 9 * SECOND)]
    log = log_of(kind, tmp_path, postgresql, f"newest_{kind}", [*parts, long])
    every = ["0-0", "0-1", "0-2", "first", *(f"{hour}-{i}" for hour in range(1, 5) for i in range(3)), "last", "2-1"]
    assert sorted(one.key for one in log.between()) == sorted(every)
    for start, end, expected in (
        (hours[1], hours[2], ["1-0", "1-1", "1-2"]),
        (hours[1] + 1, hours[2] + 1, ["1-1", "1-2", "2-0"]),
        (None, hours[0] + 9 * SECOND, ["0-0", "0-1", "0-2"]),
        (hours[4] + 2 * SECOND, None, ["2-1", "4-2", "last"]),
        (hours[4] + 10 * SECOND, None, []),
    ):
        assert sorted(one.key for one in log.between(start, end)) == expected
    assert {one.key for one in log.newest(2)} == {"last", "2-1"}
    assert [one.key for one in log.newest(4)][2:] == ["4-2", "4-1"]
    assert [one.key for one in log.newest(100)][-4:] == ["first", "0-2", "0-1", "0-0"]
    assert [one.answered_at for one in log.newest(9, key="2-1")] == [hours[4] + 9 * SECOND, hours[2] + SECOND]
    assert log.newest(9, key="nobody") == []


def test_a_segment_that_is_sealed_while_it_is_read_is_read(tmp_path: Path) -> None:
    active = tmp_path / (name(NOON, "p", 1, 1) + OPEN)
    write(active, HEADER, entry("a", at=NOON))
    active.rename(active.with_suffix(SEALED))
    assert [one.keys for _, one in read(active)] == [["a"]]


def test_an_empty_log_has_nothing(tmp_path: Path) -> None:
    log = open_log(None, tmp_path, "club")
    assert (list(log.between()), log.find("x"), log.newest(5)) == ([], [], [])


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("none:", "no prediction is recorded"),
        ("s3://bucket", "use file:///DIRECTORY"),
        ("file:", "use file:///DIRECTORY"),
        ("mysql://u:s3cret@h/d", r"mysql://u:\*\*\*@h/d"),
    ],
)
def test_a_url_that_nothing_serves_is_told(url: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=told):
        open_log(url, tmp_path, "club")


def test_a_server_that_is_away_refuses_or_lacks_the_table_is_told_apart(postgresql: Server) -> None:
    with pytest.raises(StoreError, match="run `holdfast migrate`"):
        Table(postgresql.url, "nowhere").newest(1)
    away = "postgresql://me:s3cret@127.0.0.1:1/x"
    with pytest.raises(Unreachable, match=r"me:\*\*\*@127.0.0.1:1/x is out of reach") as raised:
        Table(away, "club").newest(1)
    assert "s3cret" not in str(raised.value)
    with pytest.raises(StoreError, match="refuses the connection") as refused:
        Table(postgresql.url.replace("holdfast@", "nobody:s3cret@"), "club").migrate()
    assert not isinstance(refused.value, Unreachable)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(StoreError, match=r"is no address: write what is special in its password"):
        Table("postgresql://me:s3/cret@h/x", "club").newest(1)


def test_migrating_again_keeps_rows_and_adds_columns_that_are_missing(postgresql: Server) -> None:
    table = Table(postgresql.url, "again")
    assert "predictions" in table.migrate()
    made = entry("a")
    with table.writer() as connection:
        table.insert(connection, [(HEADER, made)])
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE holdfast_again.predictions DROP COLUMN pod")
    table.migrate()
    table.migrate()
    with psycopg.connect(postgresql.url) as connection:
        assert connection.execute("SELECT prediction_id, pod FROM holdfast_again.predictions").fetchall() == [
            (made.id, None)
        ]


def test_numbers_can_be_read_by_sql_as_floats(postgresql: Server) -> None:
    table = Table(postgresql.url, "sql")
    values = [-0.0, 1e300]
    with table.writer() as connection:
        table.insert(connection, [(HEADER, entry("a", features=np.array(values).tobytes()))])
    with psycopg.connect(postgresql.url) as connection:
        sql = "SELECT (features->>'visits')::float8, (features->>'recency')::float8 FROM holdfast_sql.predictions"
        (found,) = connection.execute(sql).fetchall()
    assert [bits(value) for value in found] == [bits(value) for value in values]


def test_a_user_with_few_rights_may_write_where_the_table_is(postgresql: Server) -> None:
    table = Table(postgresql.url, "rights")
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE recorder LOGIN")
        few = Table(postgresql.url.replace("holdfast@", "recorder@"), "rights")
        with pytest.raises(StoreError, match=r"permission denied.*holdfast migrate"):
            few.writer()
        table.migrate()
        connection.execute("GRANT USAGE ON SCHEMA holdfast_rights TO recorder")
        connection.execute("GRANT INSERT, SELECT ON holdfast_rights.predictions TO recorder")
    with few.writer() as writer:
        assert few.insert(writer, [(HEADER, entry("a", "b"))]) == 2
    assert len(few.newest(9)) == 2
