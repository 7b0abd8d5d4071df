"""Rows that nobody would write on purpose: none stops a run, each is told why it waits, none loses a byte."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from benchmarks.servers import Server
from features.etl.ingest import ingest, replay
from features.etl.read import SourceError
from features.source import Source
from tests.features.engines import Engine
from tests.features.etl.test_ingest import corrupted
from tests.features.toys import GOOD, NOW, SALES_HEADER, Sale, changed, stored

SALE = Source(Sale)
ROWS, HUGE = 10_000, 10_000_000
BAD_CELLS: dict[str, list[bytes]] = {
    "customer_id": [
        b"a\x00b",
        b"\x00",
        b"\x7f",
        b"\x1b[2J",
        b"",
        b"x" * 129,
        b"\xff",
        b"M\xfcller",
        b"\xe2\x82",
        b"\xc0\xaf",
    ],
    "sold_at": [b"0000-00-00", b"2025-02-30", b"infinity", b"now()", b"2025-01-02T03:04:05", b"-1", b"\xed\xa0\x80"],
    "kind": [
        b"fax",
        b"web'; DROP TABLE events; --",
        b"${jndi:x}",
        b"\xed\xbf\xbf",
        b"web\x00",
        b"\xf0\x9f\x98",
        b"\xfe\xff",
    ],
    "pieces": [
        b"\xef\xbb\xbf2",
        b"2\x00",
        b"1e400",
        b"9" * 400,
        b"NaN",
        b"0x1",
        b"\xd9\xa3",
        b"1\xc2\xa01",
        b"%s",
        b"$1",
    ],
    "price": [b"1.005", b"1,5,", b"1e2", b"-0.01", b"inf", b"9" * 40 + b".99", b"\\N", b"\\.", b"NULL", b"\x80"],
    "gift": [b"maybe", b"2", b"\x01", b"\xf4\x90\x80\x80"],
    "weight": [b"nan", b"-inf", b"1e999", b"1_0", b"--1", b"\xff\xfe1\x00"],
    "note": [b"x", b"1.5", b"99999999999999999999", b"\xc3(", b"\xe2\x80\xa8"],
}


def bad_cell(chance: random.Random, cells: dict[str, bytes]) -> bytes:
    """One value that its column cannot hold."""
    name = chance.choice(list(BAD_CELLS))
    return b",".join({**cells, name: chance.choice(BAD_CELLS[name])}.values())


def cut(chance: random.Random, cells: dict[str, bytes]) -> bytes:
    """Columns are missing."""
    return b",".join(list(cells.values())[: chance.randrange(1, len(cells))])


def more(chance: random.Random, cells: dict[str, bytes]) -> bytes:
    """Columns too many."""
    return b",".join([*cells.values(), *[b"more"] * chance.randrange(1, 40)])


def noise(chance: random.Random, _: dict[str, bytes]) -> bytes:
    """Bytes."""
    return b"x," + re.sub(rb'[\r\n"]', b"?", chance.randbytes(chance.randrange(60)))


def wide(chance: random.Random, cells: dict[str, bytes]) -> bytes:
    """Another encoding than the file's."""
    return b",".join(cells.values()).decode().encode(chance.choice(["utf-16-le", "utf-16-be", "utf-32-le"]))


def opened(chance: random.Random, cells: dict[str, bytes]) -> bytes:
    """A quote that is not closed."""
    name = chance.choice(list(cells))
    return b",".join({**cells, name: b'"' + cells[name]}.values())


Break = Callable[[random.Random, dict[str, bytes]], bytes]
BREAKS: list[Break] = [*([bad_cell] * 8), cut, more, noise, wide]


def malformed(seed: int, count: int, breaks: Sequence[Break] = BREAKS) -> list[bytes]:
    """That many lines, none of them good."""
    chance, names = random.Random(seed), SALES_HEADER.split(",")  # noqa: S311  # repeatable is the point
    lines = []
    for number in range(count):
        cells = dict(zip(names, changed(customer_id=str(number)).encode().split(b","), strict=True))
        lines.append(chance.choice(breaks)(chance, cells))
    return lines


def bare(*texts: bytes) -> bytes:
    """Every byte but those that end lines."""
    return re.sub(rb"[\r\n]", b"", b"".join(texts))


def test_ten_thousand_malformed_rows_are_kept_byte_for_byte(engine: Engine) -> None:
    store = engine.open(SALE)
    lines = [*malformed(1, ROWS), *malformed(2, 200, [bad_cell, opened])]
    huge = [
        changed(kind="x" * HUGE).encode(),
        changed(customer_id='"' + "ä" * (HUGE // 2) + '"').encode(),
        b"," * HUGE,
        b"\x00" * HUGE,
        b"\xff" * HUGE,
    ]
    content = b"\n".join([SALES_HEADER.encode(), *huge, *lines, b""])
    outcome = engine.take(store, content)
    assert (outcome.new, outcome.known, outcome.batch) == (0, 0, 1)
    assert ROWS + len(huge) < outcome.read < len(lines) + len(huge)  # an open quote takes lines with it
    assert outcome.quarantined == outcome.read
    waiting = store.quarantined()
    assert bare(*(row["original"] for row in waiting)) == bare(*huge, *lines)
    assert all(row["reasons"] and all(0 < len(reason) < 400 for reason in row["reasons"]) for row in waiting)
    assert engine.take(store, content, name="again.csv").batch is None
    replayed = replay(store, now=NOW)
    assert [(found.read, found.new, found.quarantined) for found in replayed] == [(outcome.read, 0, outcome.read)]
    assert len(store.quarantined()) == outcome.read


def test_good_rows_among_them_are_taken(engine: Engine) -> None:
    store = engine.open(SALE)
    bad = malformed(3, 1_000)
    good = [changed(customer_id=f"good-{n}").encode() for n in range(300)]
    lines = [*bad, *good]
    random.Random(4).shuffle(lines)  # noqa: S311  # likewise
    outcome = engine.take(store, b"\r\n".join([SALES_HEADER.encode(), *lines]))
    assert (outcome.read, outcome.new, outcome.quarantined) == (len(lines), len(good), len(bad))
    assert {row["key"] for row in stored(store)} == {f"good-{n}" for n in range(300)}
    assert [row["original"] for row in store.quarantined()] == [line for line in lines if line not in good]


@pytest.mark.parametrize("header", [SALES_HEADER.replace("note", "no\x00te"), SALES_HEADER.replace(",", "\x00,\x00")])
def test_a_header_with_nul_sends_every_row_to_quarantine(header: str, engine: Engine) -> None:
    store = engine.open(SALE)
    outcome = engine.take(store, f"{header}\n{GOOD}\n")
    assert (outcome.read, outcome.quarantined) == (1, 1)
    assert any("\\0" in reason for reason in store.quarantined()[0]["reasons"])
    assert store.batches()[0].header == tuple(header.split(","))
    assert engine.take(store, f"{header}\n{GOOD}\n").batch is None


def test_a_file_may_have_any_name(engine: Engine) -> None:
    store = engine.open(SALE)
    name = b"\xff \\u0000 '\"%s.csv".decode("utf-8", "surrogateescape")
    assert engine.take(store, f"{SALES_HEADER}\n{GOOD}\n{changed(pieces='x')}\n", name=name).new == 1
    assert store.batches()[0].source == name
    assert replay(store, now=NOW)[0].quarantined == 1


STRANGE = [
    "7",
    "a\x00b",
    "\ud800",
    "a\udfffb",
    "\ufeff",
    "x" * HUGE,
    b"\xff\x00",
    7.5,
    10**30,
    None,
    float("nan"),
    ["a"],
    {"a": 1},
]
ACCEPTED = {"7", "\ufeff", "7.5", str(10**30), "['a']", "{'a': 1}", "b'\\xff\\x00'"}


def test_a_frame_may_hold_any_object(engine: Engine) -> None:
    store = engine.open(SALE)
    cells = dict(zip(SALES_HEADER.split(","), GOOD.split(","), strict=True))
    frame = pd.DataFrame([{**cells, "customer_id": value} for value in STRANGE])
    outcome = ingest(store, "events", frame, now=NOW)
    assert {row["key"] for row in stored(store)} == ACCEPTED
    assert (outcome.read, outcome.quarantined) == (len(STRANGE), len(STRANGE) - len(ACCEPTED))
    assert [found.new for found in replay(store, now=NOW)] == [0]
    kept = b"".join(row["original"] for row in store.quarantined())
    assert b"\\\\ud800" in kept
    assert b"a\\\\udfffb" in kept


def test_a_parquet_file_may_hold_any_text(engine: Engine) -> None:
    store = engine.open(SALE)
    cells = dict(zip(SALES_HEADER.split(","), GOOD.split(","), strict=True))
    texts = [value for value in STRANGE[:6] if isinstance(value, str) and not re.search("[\ud800-\udfff]", value)]
    table = pa.table({name: [text] * len(texts) for name, text in cells.items()})
    pq.write_table(table.set_column(0, "customer_id", pa.array(texts)), engine.home / "f.parquet")
    outcome = ingest(store, "events", engine.home / "f.parquet", now=NOW)
    assert (outcome.read, outcome.new, outcome.quarantined) == (4, 2, 2)


def test_a_parquet_file_whose_text_is_no_text_is_refused_whole(engine: Engine) -> None:
    store = engine.open(SALE)
    cells = dict(zip(SALES_HEADER.split(","), GOOD.split(","), strict=True))
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    table = pa.table({name: [text] for name, text in cells.items()}).set_column(0, "customer_id", broken)
    pq.write_table(table, engine.home / "f.parquet")
    with pytest.raises(SourceError, match=r"f\.parquet"):
        ingest(store, "events", engine.home / "f.parquet", now=NOW)
    assert store.batches() == []


@settings(max_examples=12, deadline=None)
@given(corrupted())
def test_every_engine_keeps_the_same_rows_aside(postgresql: Server, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        found = []
        for kind, server in (("parquet", None), ("postgresql", postgresql)):
            engine = Engine(kind, Path(home) / kind, server)
            engine.home.mkdir()
            store = engine.open(SALE)
            outcomes = [engine.take(store, content) for _ in range(2)]
            assert all(o.new + o.known + o.quarantined == o.read for o in outcomes)
            batches = [replace(batch, committed_at="") for batch in store.batches()]
            found.append((outcomes, batches, store.quarantined(), stored(store)))
        assert found[0] == found[1]
