"""Ingest: twice is once, nothing is lost, every bad row says why, and quarantine has a way back."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from features.clock import DAY, parse
from features.contract import Contract, ContractError, EventId, Key, Timestamp
from features.etl.ingest import ingest, replay, summary, total
from features.etl.read import SourceError
from features.source import Source
from tests.effort import examples
from tests.features.engines import Engine
from tests.features.toys import (
    GOOD,
    NOW,
    SALES_HEADER,
    Receipt,
    Sale,
    Visit,
    changed,
    opened,
    reasons,
    sales,
    stored,
    take,
)

SALE = Source(Sale)


class Small(Contract):
    """A contract that is loosened in the next class."""

    customer_id: Key
    at: Timestamp
    size: Annotated[int, Field(ge=0, le=10)]
    kind: Literal["a"]


class Large(Contract):
    """The same with wider rules."""

    customer_id: Key
    at: Timestamp
    size: Annotated[int, Field(ge=0, le=100)]
    kind: Literal["a", "b"]


SMALL = "customer_id,at,size,kind\n"


def test_twice_is_once(engine: Engine) -> None:
    store = engine.open(SALE)
    content = sales(GOOD, changed(customer_id="8"), changed(pieces="0"), GOOD)
    first, second = engine.take(store, content), engine.take(store, content, now=NOW + DAY)
    assert (first.read, first.new, first.known, first.quarantined, first.batch) == (4, 3, 0, 1, 1)
    assert (second.read, second.new, second.known, second.quarantined, second.batch) == (4, 0, 3, 1, None)
    assert (len(stored(store)), len(store.quarantined()), len(store.batches())) == (3, 1, 1)
    assert summary("f", second) == "f: 4 rows = 0 new + 3 known + 1 quarantined; nothing to commit"
    assert total([first, second]).read == 8


def test_overlapping_files_add_what_is_new(engine: Engine) -> None:
    store = engine.open(SALE)
    lines = [changed(customer_id=str(n)) for n in range(9)]
    engine.take(store, sales(*lines[:6]))
    outcome = engine.take(store, sales(*lines[3:]), name="other.csv")
    assert (outcome.new, outcome.known) == (3, 3)
    assert {row["key"] for row in stored(store)} == {str(n) for n in range(9)}


def test_ids_do_not_depend_on_the_order_or_spelling_of_rows(engine: Engine) -> None:
    store = engine.open(SALE)
    engine.take(store, sales(GOOD, changed(customer_id="8")))
    respelled = changed(price="11.770", gift="TRUE", weight="15e-1", sold_at="2025-01-02 04:04:05+01:00")
    outcome = engine.take(store, sales(changed(customer_id="8"), respelled))
    assert (outcome.new, outcome.known) == (0, 2)


def test_true_duplicates_in_one_file_are_as_many_events(engine: Engine) -> None:
    store = engine.open(SALE)
    assert engine.take(store, sales(GOOD, GOOD)).new == 2
    assert engine.take(store, sales(GOOD)).new == 0
    third = engine.take(store, sales(GOOD, changed(customer_id="8"), GOOD, GOOD))
    assert (third.new, third.known) == (2, 2)
    assert len({row["event_id"] for row in stored(store)}) == 4


def test_other_content_under_a_taken_id_is_quarantined(engine: Engine) -> None:
    store = engine.open(Source(Receipt, zone="UTC"))
    header = "receipt,customer_id,sold_at,price\n"
    first = engine.take(
        store, header + "r1,1,2025-01-01,5\nr1,1,2025-01-01,5.00\nr1,1,2025-01-01,6\nr2,1,2025-01-01,7\n"
    )
    assert (first.new, first.known, first.quarantined) == (2, 1, 1)
    again = engine.take(
        store, header + "r2,2,2025-01-01,7\nr1,1,2025-01-01,5\nr2,1,2025-01-02,7\nr2,1,2025-01-02,7\n", name="b.csv"
    )
    assert (again.new, again.known, again.quarantined) == (0, 1, 3)
    assert [(row["event_id"], row["price"]) for row in stored(store)] == [("r1", 500), ("r2", 700)]
    waiting = store.quarantined()
    assert [row["original"] for row in waiting] == [
        *(b"r1,1,2025-01-01,6", b"r2,2,2025-01-01,7", b"r2,1,2025-01-02,7", b"r2,1,2025-01-02,7")
    ]
    assert all("'r" in row["reasons"][0] and row["reasons"][0].startswith("id:") for row in waiting)
    assert len({row["id"] for row in waiting}) == 4
    assert engine.take(store, header + "r2,2,2025-01-01,7\n", name="c.csv").batch is None


def test_a_missing_value_is_other_content_than_a_value(engine: Engine) -> None:
    class Noted(Contract):
        receipt: EventId
        customer_id: Key
        at: Timestamp
        size: int | None

    store = engine.open(Source(Noted, zone="UTC"))
    header = "receipt,customer_id,at,size\n"
    engine.take(store, header + "a,1,2025-01-01,\nb,1,2025-01-01,5\n")
    outcome = engine.take(store, header + "a,1,2025-01-01,5\nb,1,2025-01-01,\na,1,2025-01-01,\n", name="b.csv")
    assert (outcome.new, outcome.known, outcome.quarantined) == (0, 1, 2)
    assert [row["size"] for row in stored(store)] == [None, 5]


def test_when_a_row_was_known(engine: Engine) -> None:
    told = parse("2025-01-02T03:04:05Z")
    cases = [(0, False, NOW), (0, True, told), (3 * DAY, True, told + 3 * DAY), (9, False, NOW)]
    for number, (delay, backfill, expected) in enumerate(cases):
        own = replace(engine, name=f"{engine.name}_{number}", home=engine.home / str(number))
        own.home.mkdir()
        store = own.open(Source(Sale, arrival_delay=delay))
        own.take(store, sales(GOOD), backfill=backfill)
        assert [row["ingested_at"] for row in stored(store)] == [expected]
        own.take(store, sales(GOOD), now=NOW + DAY, backfill=backfill)
        assert [row["ingested_at"] for row in stored(store)] == [expected]


@pytest.mark.parametrize("backfill", [False, True])
def test_a_source_that_says_when_it_learnt_of_a_row_is_believed(engine: Engine, backfill: bool) -> None:
    store = engine.open(Source(Visit, arrival_delay=DAY))
    content = "customer_id,at,seen_at,amount,pages,kind,gift,weight\n1,2025-01-01T00:00:00Z,2025-01-03T00:00:00Z,,,,,\n"
    engine.take(store, content, backfill=backfill)
    assert [row["ingested_at"] for row in stored(store)] == [parse("2025-01-03T00:00:00Z")]


def test_a_loosened_contract_takes_quarantined_rows_back_exactly_once(engine: Engine) -> None:
    store = engine.open(Source(Small))
    rows = ["1,2025-01-01T00:00:00Z,5,a", "2,2025-01-01T00:00:00Z,50,a", "2,2025-01-01T00:00:00Z,50,a"]
    rows += ["3,2025-01-01T00:00:00Z,500,b", "4,2025-01-01T00:00:00Z,6,b"]
    assert engine.take(store, SMALL + "\n".join(rows)).quarantined == 4
    assert [outcome.new for outcome in replay(store, now=NOW)] == [0]
    assert len(store.batches()) == 1
    loose = engine.open(Source(Large))
    outcomes = replay(loose, now=NOW + DAY)
    assert [(o.read, o.new, o.quarantined) for o in outcomes] == [(4, 3, 1)]
    assert len(loose.quarantined()) == 1
    assert sorted(row["key"] for row in stored(loose)) == ["1", "2", "2", "4"]
    assert [o.new for o in replay(loose, now=NOW)] == [0]
    again = engine.take(loose, SMALL + "\n".join(rows))
    assert (again.new, again.known, again.quarantined, again.batch) == (0, 4, 1, None)
    assert [b"3," in row["original"] for row in loose.quarantined()] == [True]


def test_rows_of_a_file_taken_again_leave_quarantine_one_by_one(engine: Engine) -> None:
    store = engine.open(Source(Small))
    twin = "2,2025-01-01T00:00:00Z,50,a\n"
    engine.take(store, SMALL + twin + twin)
    loose = engine.open(Source(Large))
    assert engine.take(loose, SMALL + twin, name="one.csv").new == 1
    assert len(loose.quarantined()) == 1
    assert [o.new + o.known for o in replay(loose, now=NOW)] == [1]
    assert engine.take(loose, SMALL + twin + twin).quarantined == 0
    assert (len(stored(loose)), loose.quarantined()) == (2, [])


def test_a_tightened_contract_doubles_nothing(engine: Engine) -> None:
    store = engine.open(Source(Small))
    content = SMALL + "2,2025-01-01T00:00:00Z,50,a\n"
    engine.take(store, content)
    replay(engine.open(Source(Large)), now=NOW)
    tight = engine.open(Source(Small))
    for _ in range(2):
        assert engine.take(tight, content).batch is None
    assert len(stored(tight)) == 1


def test_a_bad_file_read_again_is_not_quarantined_again(engine: Engine) -> None:
    store = engine.open(SALE)
    bad = changed(pieces="x")
    assert engine.take(store, sales(bad, bad)).quarantined == 2
    assert engine.take(store, sales(bad, bad), name="copy.csv").batch is None
    assert engine.take(store, sales(bad, bad, bad)).batch == 2
    assert len(store.quarantined()) == 3


def test_the_same_bytes_under_another_header_are_another_row(engine: Engine) -> None:
    class Pair(Contract):
        customer_id: Key
        at: Timestamp
        size: Annotated[int, Field(ge=0, le=10)]
        weight: Annotated[int, Field(ge=0, le=99)]

    store = engine.open(Source(Pair))
    line = "1,2025-01-01T00:00:00Z,50,5\n"
    assert engine.take(store, "customer_id,at,size,weight\n" + line).quarantined == 1
    assert engine.take(store, "customer_id,at,weight,size\n" + line).new == 1
    assert len(store.quarantined()) == 1
    assert engine.take(store, "customer_id,at,size,weight,more\n" + line).quarantined == 1
    assert len(store.quarantined()) == 2


def test_quarantine_says_which_contract_and_batch_a_row_failed(engine: Engine) -> None:
    store = engine.open(Source(Small))
    engine.take(store, SMALL + "1,2025-01-01T00:00:00Z,50,a\n")
    loose = engine.open(Source(Large))
    engine.take(loose, SMALL + "1,2025-01-01T00:00:00Z,500,a\n")
    assert [row["batch"] for row in loose.quarantined()] == [1, 2]
    assert len({batch.contract for batch in loose.batches()}) == 2
    assert [(b.rows, b.quarantined, b.header) for b in loose.batches()] == [
        (0, 1, ("customer_id", "at", "size", "kind"))
    ] * 2


def test_a_batch_of_nothing_but_bad_rows_has_no_events(engine: Engine) -> None:
    store = engine.open(SALE)
    assert engine.take(store, sales(changed(pieces="x"))).batch == 1
    assert set(map(len, store.events(1).values())) == {0}


CELLS = st.one_of(
    st.sampled_from(
        ["", " ", '"', '""', "x", "-1", "1e9", "NaN", "2025-13-01", "\x00", "é", ",", "\r", "'", "web", "1.5"]
    ),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6),
)


@st.composite
def corrupted(draw: st.DrawFn) -> bytes:
    """A CSV of Sale in which anything may have gone wrong after the header."""
    lines: list[bytes] = []
    for number in range(draw(st.integers(0, 8))):
        cells = changed(customer_id=str(number % 3)).split(",")
        for _ in range(draw(st.integers(0, 2))):
            cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
        line = ",".join(cells).encode()
        match draw(st.integers(0, 9)):
            case 0:
                line = line[: draw(st.integers(0, len(line)))]
            case 1:
                position = draw(st.integers(0, len(line)))
                line = line[:position] + draw(st.binary(min_size=1, max_size=3)) + line[position:]
            case 2:
                line += b",more"
        lines.append(line + draw(st.sampled_from([b"\n", b"\r\n"])))
    return SALES_HEADER.encode() + b"\n" + b"".join(lines)


@settings(max_examples=examples(50), deadline=None)
@given(corrupted())
def test_good_and_quarantined_rows_sum_to_the_input_whatever_it_is(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        store = opened(Path(home), SALE)
        first = take(store, content)
        assert first.new + first.known + first.quarantined == first.read
        waiting: list[dict[str, Any]] = store.quarantined()
        assert (len(stored(store)), len(waiting)) == (first.new + first.known, first.quarantined)
        body = content[content.index(b"\n") + 1 :]
        for row in waiting:
            assert row["reasons"]
            assert row["original"] in body
        assert first.read >= sum(bool(line.strip()) for line in body.split(b"\n")) or b'"' in body
        second = take(store, content)
        assert (second.new, second.batch, second.quarantined) == (0, None, first.quarantined)
        assert sum(o.new for o in replay(store, now=NOW)) == 0
        assert len(store.quarantined()) == first.quarantined


def test_a_pandas_frame_is_read_like_the_file_it_came_from(engine: Engine) -> None:
    store = engine.open(SALE)
    text = engine.take(store, sales(GOOD))
    frame = pd.read_csv(engine.home / "file.csv", dtype={"customer_id": str})
    again = ingest(store, "events", frame, now=0)
    assert (again.read, again.new, again.known, again.quarantined) == (text.read, 0, text.new, 0)
    missing = ingest(store, "events", frame.assign(pieces=float("nan"), sold_at=None), now=0)
    assert (missing.read, missing.quarantined) == (1, 1)
    assert reasons(store) == [["sold_at: missing", "pieces: missing"]]


@pytest.mark.parametrize("source", [replace(SALE, zone="Nowhere/X"), replace(SALE, rewrite={"kind": ("(", "")})])
def test_a_source_that_cannot_be_read_as_declared_is_told(source: Source, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"file\.csv cannot be read as its source says: .*(Nowhere/X|\()"):
        take(opened(tmp_path, source), sales(changed(sold_at="2025-01-02 03:04:05")))


def test_a_source_that_no_file_can_have_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ContractError, match="a delimiter is one character"):
        replace(SALE, delimiter="||")
    with pytest.raises(ContractError, match="no encoding 'utf-9'"):
        replace(SALE, encoding="utf-9")
