"""Reading the log on: each record once, whoever writes, seals, removes or dies meanwhile."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.store.base import StoreError
from model.predictions import Entry, Header, Prediction
from model.predictions.block import Block, Part
from model.predictions.outcome import Outcome, Outcomes
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.segment import OPEN, SEALED, frame, name
from model.predictions.tail import Chunk, read_on
from tests.effort import examples
from tests.model.answers import HEADER, answered, bits, entry

NOON = 1_717_243_200_000_000
OTHER = msgspec.structs.replace(HEADER, model="club:20240101-bbbbbbbb")


class Reader:
    """A job that reads on, and keeps its cursor as a job does."""

    def __init__(self, log: Log, rows: int = 3) -> None:
        self.log, self.rows = log, rows
        self.cursor = dict[str, str]()
        self.chunks = list[Chunk]()

    def read(self) -> list[Prediction]:
        """What is new."""
        found = []
        for chunk in read_on(self.log, self.cursor, self.rows):
            self.cursor |= chunk.cursor
            for part in chunk.forgotten:
                del self.cursor[part]
            self.chunks.append(chunk)
            found += [one for block in chunk.blocks for one in block.predictions()]
        assert [chunk.last for chunk in self.chunks][-1:] == [True]
        return found


def write(path: Path, *records: Header | Entry | Outcomes, cut: int = 0) -> Path:
    """A segment of these records, without so many bytes at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(b"".join(frame(record)) for record in records)
    path.write_bytes(data[: len(data) - cut])
    return path


def keys(found: list[Prediction]) -> list[str]:
    """Whom they are about."""
    return [one.key for one in found]


def blocks(kind: str, directory: Path, server: Server, entries: list[Entry]) -> list[Block]:
    """These entries, read at once."""
    if kind == "file":
        shutil.rmtree(directory, ignore_errors=True)
        write(directory / (name(0, "p", 1, 1) + SEALED), HEADER, *entries)
        log: Log = Directory(directory, "club")
    else:
        table = Table(server.url, "blocks")
        with table.writer() as connection:
            connection.execute(f"DELETE FROM {table.name}")
            table.insert(connection, [(HEADER, one) for one in entries])
        log = table
    return [block for chunk in read_on(log, {}, 1_000) for block in chunk.blocks]


@pytest.mark.parametrize("kind", ["file", "postgresql"])
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_=st.lists(answered(), min_size=1, max_size=4))
def test_columns_say_what_predictions_say(
    tmp_path: Path, postgresql: Server, kind: str, given_: list[tuple[Entry, list[dict[str, Any]]]]
) -> None:
    expected = {row["prediction_id"]: row for _, rows in given_ for row in rows}
    found = blocks(kind, tmp_path, postgresql, [made for made, _ in given_])
    seen = [one for block in found for one in block.predictions()]
    assert {one.prediction_id: bits(one) for one in seen} == {id_: bits(row) for id_, row in expected.items()}
    assert len({int(id_) for block in found for id_ in block.ids}) == len(expected)
    for block in found:
        rows = [expected[one.prediction_id] for one in block.predictions()]
        assert block.times.tolist() == [row["answered_at"] for row in rows]
        assert block.moments.tolist() == [row["request_time"] for row in rows]
        assert list(block.decisions) == [row["decision"] for row in rows]
        assert bits(dict(enumerate(block.scores.tolist()))) == bits({i: r["probability"] for i, r in enumerate(rows)})
        assert block.keys() == [row["key"] for row in rows]
        for inputs in ("attributes", "aggregates", "features"):
            for column in rows[0][inputs]:
                if column == "visits" and inputs == "features":
                    continue  # the aggregate of that name comes first
                values = block.column(column)
                assert values is not None
                said = [row[inputs][column] for row in rows]
                if values.dtype == np.float64:  # whole numbers beside others are numbers like these
                    said = [float(value) for value in said]
                assert bits(dict(enumerate(values.tolist()))) == bits(dict(enumerate(said)))
        assert block.column("nothing") is None
        half = np.arange(0, len(block), 2)
        part = Part(block, half)
        assert [one.prediction_id for one in part.predictions()] == [rows[i]["prediction_id"] for i in half]
        assert [one.prediction_id for one in part.predictions([0])] == [rows[0]["prediction_id"]]
        assert part.times.tolist() == block.times[half].tolist()


def test_records_of_processes_side_by_side_come_in_order_of_time(tmp_path: Path) -> None:
    for pod in (0, 1):
        own = [entry(f"{pod}-{i}", at=NOON + 2 * i + pod) for i in range(10)]
        write(tmp_path / (name(NOON + pod, f"pod-{pod}", 1, 1) + SEALED), HEADER, *own)
    write(tmp_path / (name(NOON + 100, "pod-2", 1, 1) + SEALED), OTHER, entry("later", at=NOON + 100))
    reader = Reader(Directory(tmp_path, "club"), rows=6)
    assert keys(reader.read()) == [f"{pod}-{i}" for i in range(10) for pod in (0, 1)] + ["later"]
    assert max(map(len, reader.chunks)) == 6
    assert [(block.model, len(block)) for block in reader.chunks[-1].blocks] == [(HEADER.model, 2), (OTHER.model, 1)]
    assert not reader.read()


def test_a_segment_that_grows_is_read_on_and_one_half_written_is_not_there_yet(tmp_path: Path) -> None:
    path, reader = tmp_path / (name(NOON, "p", 1, 1) + OPEN), Reader(Directory(tmp_path, "club"))
    own = [entry(str(i), at=NOON + i) for i in range(5)]
    assert not reader.read()
    write(path, HEADER, own[0], cut=1)
    assert not reader.read()
    write(path, HEADER, *own[:2])
    assert keys(reader.read()) == ["0", "1"]
    write(path, HEADER, *own[:3], cut=20)
    assert not reader.read()
    write(path, HEADER, *own[:4])
    path.rename(path.with_suffix(SEALED))
    assert keys(reader.read()) == ["2", "3"]
    assert not reader.read()
    assert list(reader.cursor) == [path.stem]
    path.with_suffix(SEALED).unlink()
    assert not reader.read()
    assert not reader.cursor


def test_a_record_larger_than_what_is_read_at_once_is_read(tmp_path: Path) -> None:
    large = entry(*(f"{'k' * 300}{i}" for i in range(9_000)), at=NOON)
    write(tmp_path / (name(NOON, "p", 1, 1) + SEALED), HEADER, entry("a"), large, entry("z"))
    assert sum(len(block) for chunk in read_on(Directory(tmp_path, "club"), {}, 10) for block in chunk.blocks) == 9_002


def test_other_use_cases_are_passed_over_and_damage_is_told_while_others_are_read(tmp_path: Path) -> None:
    whole = write(tmp_path / (name(NOON, "a", 1, 1) + SEALED), HEADER, entry("a"), entry("b"), entry("c"))
    data = bytearray(whole.read_bytes())
    data[-10] ^= 1
    whole.write_bytes(data)
    write(tmp_path / (name(NOON, "b", 1, 1) + SEALED), HEADER, entry("d"))
    write(tmp_path / (name(NOON, "c", 1, 1) + SEALED), msgspec.structs.replace(HEADER, usecase="other"), entry("e"))
    reader = Reader(Directory(tmp_path, "club"))
    assert sorted(keys(reader.read())) == ["a", "b", "d"]
    assert not reader.read()
    (said,) = reader.chunks[-1].trouble
    assert "not what was written" in said
    assert whole.name in said
    data[-10] ^= 1
    whole.write_bytes(data)
    assert keys(reader.read()) == ["c"]
    whole.write_bytes(data[:100])
    assert not reader.read()
    assert "read before" in reader.chunks[-1].trouble[0]


def test_outcomes_are_read_as_often_as_they_stand(tmp_path: Path, postgresql: Server) -> None:
    told = [Outcome(outcome_id=str(i), prediction_id="p", outcome=True, observed_at=i, received_at=i) for i in range(7)]
    write(
        tmp_path / (name(NOON, "a", 1, 1) + SEALED),
        HEADER,
        Outcomes(items=told[:4]),
        entry("a"),
        Outcomes(items=told[4:]),
    )
    table = Table(postgresql.url, "tail_outcomes")
    with table.writer() as connection:
        table.insert(connection, [(HEADER, Outcomes(items=told))])
    for reader in (Reader(Directory(tmp_path, "club")), Reader(table)):
        reader.read()
        assert [one.outcome_id for chunk in reader.chunks for one in chunk.outcomes] == list("0123456")
        reader.read()
        assert not reader.chunks[-1].outcomes


def test_what_commits_late_is_not_missed_and_nobody_waits_for_the_reader(postgresql: Server) -> None:
    table = Table(postgresql.url, "late")
    reader = Reader(table, rows=2)
    with table.writer() as first, table.writer() as second:
        with first.transaction():
            table.insert(first, [(HEADER, entry("early"))])  # it has the lower number
            table.insert(second, [(HEADER, entry("fast"))])
            found: list[str] = []
            reading = threading.Thread(target=lambda: found.extend(keys(reader.read())))
            reading.start()
            reading.join(0.2)
            assert reading.is_alive()  # for whoever writes may have a lower number
            table.insert(second, [(HEADER, entry("meanwhile"))])
        reading.join(20)
    assert sorted(found) == ["early", "fast"]
    assert keys(reader.read()) == ["meanwhile"]


def test_writers_and_a_reader_at_once_and_every_row_is_read_once(postgresql: Server) -> None:
    table = Table(postgresql.url, "crowded")
    table.migrate()
    reader, found = Reader(table, rows=50), Counter[str]()

    def write_some(who: int) -> None:
        with table.writer() as connection:
            for i in range(30):
                table.insert(connection, [(HEADER, entry(*(f"{who}-{i}-{j}" for j in range(1 + (i * who) % 7))))])

    writers = [threading.Thread(target=write_some, args=(who,)) for who in range(4)]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        found.update(keys(reader.read()))
    found.update(keys(reader.read()))
    assert found == Counter(f"{who}-{i}-{j}" for who in range(4) for i in range(30) for j in range(1 + (i * who) % 7))


def test_a_table_from_before_is_numbered_by_migrate_and_shippers_from_before_go_on(postgresql: Server) -> None:
    table = Table(postgresql.url, "aged")
    with table.writer() as connection:
        table.insert(connection, [(HEADER, entry(str(i))) for i in range(5)])
        connection.execute(f"ALTER TABLE {table.name} DROP COLUMN number")
        with pytest.raises(StoreError, match="holdfast migrate"):
            Reader(table).read()
        table.migrate()  # the connection has its temporary table from before
        table.insert(connection, [(HEADER, entry("5"))])
        connection.execute("DROP ROLE IF EXISTS shipper; CREATE ROLE shipper LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {table.schema} TO shipper")
        connection.execute(f"GRANT SELECT, INSERT ON {table.name} TO shipper")
    url = urlsplit(postgresql.url)
    other = Table(url._replace(netloc=f"shipper@{url.hostname}:{url.port}").geturl(), "aged")
    with other.writer() as connection:  # who may insert, may number
        other.insert(connection, [(HEADER, entry("6"))])
    reader = Reader(table)
    assert sorted(keys(reader.read())) == list("0123456")
    with psycopg.connect(table.url, autocommit=True) as connection:
        numbers = [row[0] for row in connection.execute(f"SELECT number FROM {table.name} ORDER BY number")]
    assert numbers == sorted(set(numbers))
    assert reader.cursor["predictions"] == str(numbers[-1])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A reader that waits for ever would hold the server."""
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before
