"""The event store, on every engine: batches appear whole or not at all, and answer alike as of any time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from benchmarks.servers import Server
from features.aggregates import Aggregate, Where
from features.clock import DAY, parse
from features.contract import Contract, Key, Timestamp, arrays
from features.etl.ingest import replay
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store.base import EventStore, Lookup, Materialized, NoRecord, Spine, StoreError
from features.store.sqlite import SQLiteStore
from tests.effort import examples
from tests.features.engines import Engine, fill
from tests.features.test_aggregates import EDGES, NUMBERS, TIMES
from tests.features.toys import GOOD, NOW, Account, Receipt, Sale, Visit, changed, feature_set, sales, stored

SALE = Source(Sale)


def test_a_contract_that_gains_a_field_still_reads_its_past(engine: Engine) -> None:
    class Before(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    class After(Contract):
        customer_id: Key
        at: Timestamp
        size: int
        colour: Annotated[int, Field(ge=0)] | None

    first = engine.open(Source(Before, zone="UTC"))
    engine.take(first, "customer_id,at,size\n1,2025-01-01,5\n1,2025-01-01,x\n")
    old = SQLiteStore(engine.home / "online", feature_set(Before))
    old.load(1, first.events(1))
    old.close()
    sums = [Aggregate.sum("sizes", "size"), Aggregate.max("c", "colour")]
    store = engine.open(Source(After, zone="UTC"), *sums)
    assert engine.take(store, "customer_id,at,size,colour\n1,2025-01-02,6,\n1,2025-01-03,7,4\n", name="b.csv").new == 2
    online = SQLiteStore(engine.home / "online", feature_set(After, *sums))
    for batch in store.batches():
        online.load(batch.number, store.events(batch.number))
    for found in (store.aggregate(Spine.at(["1"], NOW)), online.compute(["1"], NOW)):
        assert {name: values.tolist() for name, values in found.aggregates.items()} == {"sizes": [18], "c": [4.0]}
    online.close()
    assert len(store.quarantined()) == 1


def test_rows_of_one_table_say_nothing_of_another(engine: Engine) -> None:
    class Seen(Contract):
        customer_id: Key
        at: Timestamp
        size: Annotated[int, Field(le=5)]

    class Noted(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    sources = {"events": Source(Seen, zone="UTC"), "records": Source(Noted, zone="UTC")}
    store = engine.open(sources)
    content = "customer_id,at,size\n1,2025-01-01,9\n"
    assert engine.take(store, content).quarantined == 1
    assert engine.take(store, content, table="records").new == 1
    assert [row["table"] for row in store.quarantined()] == ["events"]
    assert set(map(len, store.events(2).values())) == {0}
    assert [outcome.new for outcome in replay(store, now=NOW)] == [0]
    assert len(store.quarantined()) == 1


def test_cut_hides_what_happened_from_then_on(engine: Engine) -> None:
    store = engine.open(SALE)
    days = [f"2025-01-0{day}T00:00:00Z" for day in range(1, 6)]
    engine.take(store, sales(*(changed(sold_at=day) for day in days)), backfill=True)
    spine = Spine.at(["7"], parse("2025-02-01T00:00:00Z"))
    cuts = [None, parse(days[2]), parse(days[2]) + 1, parse(days[0])]
    assert [store.aggregate(spine, cut=cut).aggregates["seen"].tolist() for cut in cuts] == [[5], [2], [3], [0]]


def test_upto_hides_batches_that_came_later_however_old_their_events_are(engine: Engine) -> None:
    store, t = engine.open(SALE), parse("2025-02-01T00:00:00Z")
    spine, then = Spine.at(["7", "8"], t), []
    for day in (1, 2, 3):  # as history, so each event was known when it happened, also at t
        line = changed(sold_at=f"2025-01-0{day}T00:00:00Z", customer_id="7" if day < 3 else "8")
        engine.take(store, sales(line), name=f"{day}.csv", backfill=True)
        then.append(store.aggregate(spine))
    assert [found.aggregates["seen"].tolist() for found in then] == [[1, 0], [2, 0], [2, 1]]
    for number, found in enumerate(then, start=1):
        assert lookup(store.aggregate(spine, upto=number)) == lookup(found)
    assert store.aggregate(spine, upto=0).known.tolist() == [False, False]
    assert store.aggregate(spine, cut=parse("2025-01-02T00:00:00Z"), upto=2).aggregates["seen"].tolist() == [1, 0]


def test_span_keys_and_activity(engine: Engine) -> None:
    store = engine.open(SALE)
    with pytest.raises(StoreError, match=r"no events.* yet: run `holdfast ingest"):
        store.span()
    assert store.keys(NOW).tolist() == []
    engine.take(
        store, sales(changed(sold_at="2025-01-01T00:00:00Z"), changed(customer_id="b", sold_at="2025-01-03T00:00:00Z"))
    )
    first, last = store.span()
    assert (last - first, store.keys(NOW).tolist(), store.keys(NOW - 1).tolist()) == (2 * DAY, ["7", "b"], [])
    t = np.array([first, first + 1, last - DAY, last - DAY, last], dtype=np.int64)
    spine = Spine(np.array(["7", "7", "b", "b", "nobody"]), t)
    assert store.active(spine, DAY).tolist() == [1, 0, 0, 0, 0]
    assert store.active(spine, DAY + 1).tolist() == [1, 0, 1, 1, 0]


def test_content_changes_with_every_row_and_not_with_the_file(engine: Engine) -> None:
    one, two = engine.open(SALE), replace(engine, name=f"{engine.name}_two", home=engine.home / "two")
    two.home.mkdir()
    other = two.open(SALE)
    engine.take(one, sales(GOOD), name="a.csv")
    two.take(other, sales(GOOD), name="b.csv")
    assert one.content() == other.content()
    engine.take(one, sales(GOOD))
    assert one.content() == other.content()
    engine.take(one, sales(changed(customer_id="8")))
    assert one.content() != other.content()


def plans(store: EventStore, t: int) -> list[str]:
    """Plan of customer 1 as of t."""
    return [str(plan) for plan in store.records(Spine.at(["1"], t))["plan"]]


def test_a_record_without_a_time_is_the_state_of_its_key_also_on_the_way_back(engine: Engine) -> None:
    store = engine.records(Source(Account))
    for day, plan in enumerate(["small", "large", "small", "small"]):
        content = f"customer_id,plan\n1,{plan}\n2,large\n"
        outcome = engine.take(store, content, table="records", now=NOW + day * DAY)
        assert outcome.new == [2, 1, 1, 0][day]
        assert engine.take(store, content, table="records", now=NOW + day * DAY + 5).new == 0
    assert [plans(store, NOW + day * DAY)[0] for day in range(4)] == ["small", "large", "small", "small"]
    with pytest.raises(StoreError, match="'1'"):
        plans(store, NOW - 1)


def test_two_states_of_a_key_in_one_file_are_settled_once(engine: Engine) -> None:
    store = engine.records(Source(Account))
    engine.take(store, "customer_id,plan\n1,small\n", table="records")
    both = "customer_id,plan\n1,small\n1,large\n"
    engine.take(store, both, table="records", now=NOW + 1)
    before = plans(store, NOW + DAY)
    assert [engine.take(store, both, table="records", now=NOW + 2).batch for _ in range(2)] == [None, None]
    assert plans(store, NOW + DAY) == before


def test_dated_records_answer_as_of_their_time_and_arrival(engine: Engine) -> None:
    store = engine.records(Source(Receipt, zone="UTC", arrival_delay=DAY))
    header = "receipt,customer_id,sold_at,price\n"
    engine.take(
        store, header + "a,1,2025-01-01,1\nb,1,2025-01-05,2\nc,2,2025-01-02,3\n", table="records", backfill=True
    )
    at = [parse(f"2025-01-0{day}T00:00:00Z") for day in (2, 5, 6, 7, 3)]
    spine = Spine(np.array(["1", "1", "1", "1", "2"]), np.array(at, dtype=np.int64))
    assert store.records(spine)["price"].tolist() == [100, 100, 200, 200, 300]
    with pytest.raises(StoreError, match=r"'2'.*2025-01-02"):
        store.records(Spine.at(["2"], at[0]))


def test_what_is_missing_in_a_record_is_as_in_a_request(engine: Engine) -> None:
    class Request(Contract):
        plan: Literal["small", "large"] | None
        size: int | None

    class Record(Request):
        customer_id: Key

    store = engine.records(Source(Record))
    engine.take(store, "customer_id,plan,size\n1,,\n2,small,5\n", table="records")
    given: list[Mapping[str, Any]] = [{"plan": None, "size": None}, {"plan": "small", "size": 5}]
    for rows in (1, 2):
        found = store.records(Spine.at(["1", "2"][:rows], NOW + 1))
        for name, values in arrays(Request, given[:rows]).items():
            assert bits(found[name]) == bits(values)


def test_of_records_of_one_time_the_last_batch_counts(engine: Engine) -> None:
    class Sized(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    store = engine.records(Source(Sized, zone="UTC"))
    keys = [str(n) for n in range(20)]  # their ids, which are digests, come in any order
    for size in (1, 3, 2):
        lines = "".join(f"{key},2025-01-01,{size}\n" for key in keys)
        engine.take(store, f"customer_id,at,size\n{lines}", table="records")
    assert store.records(Spine.at(keys, NOW))["size"].tolist() == [2] * len(keys)


FILES = [
    ("events", sales(GOOD, GOOD, changed(customer_id="8"), changed(pieces="x"))),
    ("records", "customer_id,plan\n1,small\n2,large\n3,none\n"),
    ("events", sales(changed(customer_id="8"), changed(customer_id="ä'\\\\%s", price="0.01"))),
    ("records", "customer_id,plan\n1,large\n2,large\n"),
    ("events", sales(GOOD)),
    ("records", "customer_id,plan\n1,small\n2,large\n"),
]


def test_the_same_files_are_the_same_batches_and_the_same_content_on_every_engine(
    postgresql: Server, tmp_path: Path
) -> None:
    told, content, waiting = [], [], []
    for kind, server in (("parquet", None), ("postgresql", postgresql)):
        engine = Engine(kind, tmp_path / kind, server)
        engine.home.mkdir()
        store = engine.open({"events": SALE, "records": Source(Account)})
        for day, (table, text) in enumerate(FILES):
            engine.take(store, text, table=table, name=f"{day}.csv", now=NOW + day)
        told.append([replace(batch, committed_at="") for batch in store.batches()])
        content.append(store.content())
        waiting.append(store.quarantined())
    assert told[0] == told[1]
    assert [(batch.number, batch.rows, batch.quarantined) for batch in told[0]] == [
        *((1, 3, 1), (2, 2, 1), (3, 1, 0), (4, 1, 0), (5, 1, 0))
    ]
    assert content[0] == content[1]
    assert waiting[0] == waiting[1]


def test_ids_keys_and_names_of_files_that_look_like_sql_are_just_text(engine: Engine) -> None:
    store = engine.open(Source(Receipt, zone="UTC"), Aggregate.sum("paid", "price"))
    words = ["'; DROP TABLE events; --", "$1", "%s%", "\\\\'", '""', "a b", "{x}", ":y", "NULL", "ﬁ", "é", "\ufeffk"]
    lines = [
        f'"{word.replace(chr(34), chr(34) * 2)}","{word.replace(chr(34), chr(34) * 2)}",2025-01-0{n % 9 + 1},{n}\n'
        for n, word in enumerate(words)
    ]
    header = "receipt,customer_id,sold_at,price\n"
    name = "'; DROP TABLE batches; --.csv"
    assert engine.take(store, header + "".join(lines), name=name).new == len(words)
    assert engine.take(store, header + "".join(lines), name="again.csv").known == len(words)
    assert store.batches()[0].source == name
    assert store.keys(NOW).tolist() == sorted(words)
    assert {(row["event_id"], row["key"], row["price"]) for row in stored(store)} == {
        (word, word, 100 * n) for n, word in enumerate(words)
    }
    found = store.aggregate(Spine.at(words, NOW)).aggregates["paid"]
    assert found.tolist() == [100 * n for n in range(len(words))]


class Profile(Contract):
    """A dated record with a field of every kind that may be missing."""

    customer_id: Key
    at: Timestamp
    plan: Literal["small", "it's"] | None
    size: int | None
    weight: float | None
    staff: bool


HOSTILE = [
    "'",
    '"',
    "%",
    "%s",
    "$1",
    "\\",
    "\\'",
    "'; DROP TABLE events; --",
    "a b",
    " ",
    "ä",
    "a\u0308",
    "😀",
    "中",
    "\u2028",
]
HOSTILE += ["\ufeff", "\u00a0", "NULL", "1", "10", "1 ", ":x", "{}", "ﬁ", "\U0010ffff", "\ue000", "A", "a", "_"]
HOSTILE_KEYS = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5
)
SYSTEM = {"event_id": pa.string(), "key": pa.string(), "ts": pa.int64(), "ingested_at": pa.int64()}
SCHEMAS = {
    "events": pa.schema(
        SYSTEM
        | {"amount": pa.int64(), "pages": pa.int64(), "kind": pa.string(), "gift": pa.int64(), "weight": pa.float64()}
    ),
    "records": pa.schema(
        SYSTEM | {"plan": pa.string(), "size": pa.int64(), "weight": pa.float64(), "staff": pa.int64()}
    ),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "amount": NUMBERS,
    "pages": NUMBERS,
    "size": NUMBERS,
    "kind": st.sampled_from([None, "web", "app", "it's"]),
    "plan": st.sampled_from([None, "small", "it's"]),
    "gift": st.sampled_from([None, 0, 1]),
    "staff": st.sampled_from([0, 1]),
    "weight": st.none() | st.floats(-5, 5),
}
MIXED = FeatureSet(
    events=Visit,
    aggregates=(
        Aggregate.count("visits"),
        Aggregate.sum("paid", "amount", window=1_000),
        Aggregate.min("first_at", "at", where=[Where("kind", "=", "it's")]),
        Aggregate.max("most", "pages", window=5),
        Aggregate.count_distinct("sizes", "pages"),
    ),
    inputs=("visits",),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[str, pa.Table]], list[str]]:
    """Some batches of events and of records, and the keys in them."""
    keys = draw(st.lists(HOSTILE_KEYS, min_size=1, max_size=6, unique=True))
    batches, number = [], 0
    for name in draw(st.lists(st.sampled_from(["events", "records"]), max_size=4)):
        rows = []
        for _ in range(draw(st.integers(1, 8))):
            number += 1
            own = {field: draw(VALUES[field]) for field in SCHEMAS[name].names if field not in SYSTEM}
            key, ts, known = draw(st.sampled_from(keys)), draw(TIMES), draw(TIMES | st.just(0))
            rows.append({"event_id": f"{key}-{99 - number}", "key": key, "ts": ts, "ingested_at": known, **own})
        batches.append((name, pa.Table.from_pylist(rows, SCHEMAS[name])))
    return batches, keys


def double(keys: np.ndarray[Any, Any], rows: Lookup, given: Arrays) -> Arrays:
    """A transform: something of the key, something of the aggregates, something of the record."""
    return {"key": keys, "visits": rows.aggregates["visits"] * 2, **given}


@pytest.fixture(scope="module")
def alike(postgresql: Server) -> EventStore:
    """A store in PostgreSQL, filled anew by each example."""
    sources = {"events": Source(Visit), "records": Source(Profile)}
    return Engine("postgresql", Path(), postgresql, name="alike").open(sources, features=MIXED)


@dataclass(frozen=True)
class Question:
    """What a store is asked with: a time, a step between the times of a spine, a distance, a key, a size."""

    t: int
    step: int
    distance: int
    low: str
    size: int


QUESTIONS = st.builds(
    Question, TIMES, st.sampled_from(EDGES), st.sampled_from([0, 1, 5, 1_000]), HOSTILE_KEYS, st.integers(1, 3)
)


def answers(store: EventStore, keys: list[str], q: Question) -> dict[str, Any]:
    """Everything the store can be asked, as plain values in which equal means equal in every bit."""
    asked = [*keys, "nobody", keys[0]]
    spine = Spine(np.array(asked), np.array([q.t + q.step * n for n in range(len(asked))], dtype=np.int64))
    told: dict[str, Any] = {
        "keys": store.keys(q.t).tolist(),
        "part": store.keys(q.t, min(q.low, keys[0]), max(q.low, keys[0])).tolist(),
        "ranges": store.ranges(q.t, q.size),
        "changed": store.changed(Materialized(q.t - q.distance, q.size, 0), q.t).tolist(),
        "relevant": [batch.number for batch in store.relevant(q.t, q.distance)],
        "active": bits(store.active(spine, q.distance)),
        "aggregate": lookup(store.aggregate(spine, cut=q.t - q.distance)),
        "events": [sorted(zip(*store.events(batch.number).values(), strict=True)) for batch in store.batches()[:1]],
        "content": store.content(),
        "transform": sorted((n, bits(v)) for n, v in store.transform(spine, double, records=False).items()),
    }
    try:
        told["records"] = sorted((n, bits(v)) for n, v in store.records(spine).items())
        told["both"] = sorted((n, bits(v)) for n, v in store.transform(spine, double, records=True).items())
    except NoRecord as error:
        told["records"] = (str(error), error.rows.tolist())
    try:
        return told | {"span": store.span()}
    except StoreError:
        return told | {"span": None}


def bits(values: np.ndarray[Any, Any]) -> Any:
    """An array's dtype and bytes; texts as they are, since arrays of them may be wider than they need."""
    return values.tolist() if values.dtype.kind == "U" else (str(values.dtype), values.tobytes())


def lookup(found: Lookup) -> Any:
    """Every array of an answer."""
    named = sorted((name, bits(values)) for name, values in found.aggregates.items())
    return [*named, bits(found.known), bits(found.as_of)]


@settings(max_examples=examples(20), deadline=None)
@given(histories(), QUESTIONS)
def test_every_engine_answers_every_question_alike(
    alike: EventStore, history: tuple[list[tuple[str, pa.Table]], list[str]], question: Question
) -> None:
    batches, keys = history
    with tempfile.TemporaryDirectory() as home:
        files = Engine("parquet", Path(home), None).open(dict(alike.sources), features=MIXED)
        for store in (files, alike):
            fill(store, batches)
        expected, found = (answers(store, keys, question) for store in (files, alike))
    for what, answer in expected.items():
        assert found[what] == answer, what


def seen(store: EventStore, keys: list[str], q: Question, upto: int | None = None) -> Any:
    """The aggregates and the records of the keys at some times, or who has no record; of the batches up to a number."""
    spine = Spine(np.array(keys), np.array([q.t + q.step * n for n in range(len(keys))], dtype=np.int64))
    found = lookup(store.aggregate(spine, upto=upto))
    try:
        return found, sorted((n, bits(v)) for n, v in store.records(spine, upto=upto).items())
    except NoRecord as error:
        return found, (str(error), error.rows.tolist())


@settings(max_examples=examples(15), deadline=None)
@given(histories(), QUESTIONS)
def test_upto_a_batch_every_engine_answers_as_when_it_was_the_last_one(
    alike: EventStore, history: tuple[list[tuple[str, pa.Table]], list[str]], question: Question
) -> None:
    batches, keys = history
    with tempfile.TemporaryDirectory() as home:
        then = []
        for last in range(len(batches) + 1):
            files = Engine("parquet", Path(home), None, name=f"{last}").open(
                dict(alike.sources), features=MIXED, url=f"file://{home}/{last}"
            )
            fill(files, batches[:last])
            then.append(seen(files, keys, question))
        fill(alike, batches)
        for store in (files, alike):
            assert [seen(store, keys, question, upto) for upto in range(len(batches) + 1)] == then
