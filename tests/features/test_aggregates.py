"""Aggregates: DuckDB, SQLite on-read, the materialized row and a slow oracle give the same bits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.aggregates import Aggregate, FeatureError, Where, convert, nothing
from features.clock import rfc3339
from features.contract import SAFE_INTEGER
from features.featureset import FeatureSet
from features.source import Source
from features.store import open_online
from features.store.base import Lookup, OnlineStore, Spine
from features.store.parquet import ParquetStore
from features.store.sqlite import SQLiteStore
from tests.effort import examples
from tests.features.toys import Receipt, Row, Sale, Visit, commit, feature_set, numbered, opened, take

T = 1_700_000_000_000_000
WINDOWS = (5, 1_000, 86_400_000_000)
KEYS = ["1", "2", "ä\"'1", "10"]
UNKNOWN = ["nobody", "1 "]
NUMBERS = st.none() | st.sampled_from([0, 1, -1, 2, 7, -7, SAFE_INTEGER, -SAFE_INTEGER]) | st.integers(-50, 50)
EDGES = sorted({shift + one for shift in (0, *WINDOWS, *(-w for w in WINDOWS)) for one in (-1, 0, 1)})
TIMES = st.sampled_from([T + shift for shift in EDGES]) | st.integers(T - 3_000, T + 3_000)
ROWS = st.lists(
    st.builds(
        Row,
        event_id=st.just(""),
        key=st.sampled_from(KEYS),
        ts=TIMES,
        ingested_at=TIMES | st.just(0),
        amount=NUMBERS,
        pages=NUMBERS,
        kind=st.sampled_from([None, "web", "app", "it's"]),
        gift=st.sampled_from([None, 0, 1]),
        weight=st.none() | st.floats(-5, 5),
    ),
    max_size=24,
).map(numbered)
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
WHERES = st.one_of(
    st.builds(Where, st.just("kind"), st.sampled_from(["=", "!="]), st.sampled_from(["web", "app", "it's"])),
    st.builds(Where, st.just("gift"), st.sampled_from(["=", "!="]), st.booleans()),
    st.builds(Where, st.sampled_from(["amount", "pages"]), OPERATORS, st.integers(-8, 8)),
    st.builds(Where, st.just("at"), OPERATORS, st.sampled_from([T - 1, T, T - WINDOWS[0]])),
)
AGGREGATES = st.lists(
    st.builds(
        lambda function, column, window, where: Aggregate(
            "", function, None if function == "count" else column, window, tuple(where)
        ),
        st.sampled_from(["count", "sum", "min", "max", "count_distinct"]),
        st.sampled_from(["amount", "pages", "at"]),
        st.none() | st.sampled_from(WINDOWS),
        st.lists(WHERES, max_size=2),
    ),
    min_size=1,
    max_size=6,
).map(lambda found: [Aggregate(f"a{n}", a.function, a.column, a.window, a.where) for n, a in enumerate(found)])


def oracle(aggregates: Sequence[Aggregate], rows: Sequence[Row], spine: Spine) -> Lookup:
    """The documented meaning, row by row and event by event."""
    answers: dict[str, list[float]] = {aggregate.name: [] for aggregate in aggregates}
    known = []
    for key, t in zip(spine.key.tolist(), spine.t.tolist(), strict=True):
        arrived = [row for row in rows if row.key == key and row.ts < t and row.ingested_at <= t]
        known.append(bool(arrived))
        for aggregate in aggregates:
            counted = [row for row in arrived if _counts(aggregate, row, t)]
            values = [value for row in counted if (value := _value(row, aggregate.column or "at")) is not None]
            answers[aggregate.name].append(_answer(aggregate.function, values))
    arrays = {
        a.name: np.array(answers[a.name], dtype=np.float64 if a.function in ("min", "max") else np.int64)
        for a in aggregates
    }
    return Lookup(arrays, np.array(known, dtype=np.bool_), spine.t)


def _counts(aggregate: Aggregate, row: Row, t: int) -> bool:
    if aggregate.window is not None and not t - aggregate.window < row.ts < t:
        return False
    return all(_holds(where, _value(row, where.column)) for where in aggregate.where)


def _holds(where: Where, value: Any) -> bool:
    if value is None:
        return False
    wanted: Any = where.value
    match where.operator:
        case "=":
            return bool(value == wanted)
        case "!=":
            return bool(value != wanted)
        case "<":
            return bool(value < wanted)
        case "<=":
            return bool(value <= wanted)
        case ">":
            return bool(value > wanted)
    return bool(value >= wanted)


def _value(row: Row, column: str) -> Any:
    return row.ts if column == "at" else getattr(row, column)


def _answer(function: str, values: list[int]) -> float:
    match function:
        case "count":
            return len(values)
        case "sum":
            return sum(values)
        case "count_distinct":
            return len(set(values))
        case "min":
            return min(values, default=np.nan)
    return max(values, default=np.nan)


def same(a: Lookup, b: Lookup) -> None:
    """Equal in every bit, dtype and row."""
    assert a.known.tolist() == b.known.tolist()
    assert a.as_of.tolist() == b.as_of.tolist()
    assert list(a.aggregates) == list(b.aggregates)
    for name, values in a.aggregates.items():
        assert values.dtype == b.aggregates[name].dtype, name
        assert values.tobytes() == b.aggregates[name].tobytes(), (name, values, b.aggregates[name])


def everywhere(offline: ParquetStore, online: OnlineStore, rows: Sequence[Row], times: Sequence[int]) -> None:
    """All roads agree for every key at each of the times, the materialized one at the last."""
    asked = [*KEYS, *UNKNOWN, KEYS[0]]
    spine = Spine(np.array(asked * len(times)), np.repeat(np.array(times, dtype=np.int64), len(asked)))
    wide = offline.aggregate(spine)
    same(wide, oracle(offline.features.aggregates, rows, spine))
    for t in times:
        expected = oracle(offline.features.aggregates, rows, Spine.at(asked, t))
        same(online.compute(asked, t), expected)
    keys = offline.keys(t)
    assert keys.tolist() == sorted({key for key, known in zip(asked, expected.known, strict=True) if known})
    chosen = [len(wide.known) - len(asked) + asked.index(key) for key in keys]
    aggregates = {name: values[chosen] for name, values in wide.aggregates.items()}
    online.materialize([(keys, Lookup(aggregates, wide.known[chosen], wide.as_of[chosen]))], t, 1, full=True)
    same(online.read(asked), expected)


@settings(max_examples=examples(500), deadline=None)
@given(ROWS, AGGREGATES, st.lists(TIMES, min_size=1, max_size=2))
def test_every_engine_answers_as_the_oracle(rows: list[Row], aggregates: list[Aggregate], times: list[int]) -> None:
    with tempfile.TemporaryDirectory() as home:
        offline, online = commit(Path(home), feature_set(Visit, *aggregates), rows)
        try:
            everywhere(offline, online, rows, times)
        finally:
            online.close()


@settings(max_examples=examples(100), deadline=None)
@given(ROWS, AGGREGATES, st.lists(TIMES, min_size=1, max_size=2))
def test_every_server_answers_as_the_oracle(
    postgresql: Server, redis: Server, rows: list[Row], aggregates: list[Aggregate], times: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as home:
        offline, local = commit(Path(home), feature_set(Visit, *aggregates), rows)
        local.close()
        for server in (postgresql, redis):
            with closing(open_online(server.url, Path(home), offline.features, name="oracle", timeout=5)) as online:
                online.migrate()
                online.clear()
                online.load(1, offline.events(1))
                everywhere(offline, online, rows, times)


@settings(max_examples=examples(10), deadline=None)
@given(ROWS.filter(bool), AGGREGATES)
def test_the_same_holds_for_rows_that_came_through_a_file(rows: list[Row], aggregates: list[Aggregate]) -> None:
    with tempfile.TemporaryDirectory() as home:
        offline = opened(Path(home), Source(Visit), *aggregates)
        header = "customer_id,at,seen_at,amount,pages,kind,gift,weight\n"
        assert take(offline, header + "".join(map(_line, rows))).new == len(rows)
        online = SQLiteStore(Path(home) / "online", offline.features)
        online.load(1, offline.events(1))
        everywhere(offline, online, rows, [T, T + WINDOWS[0]])
        online.close()


def _line(row: Row) -> str:
    cents = row.amount
    amount = "" if cents is None else f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    key = '"' + row.key.replace('"', '""') + '"'
    others = ["" if v is None else repr(v) if isinstance(v, float) else str(v) for v in (row.pages, row.kind, row.gift)]
    weight = "" if row.weight is None else repr(row.weight)
    return ",".join([key, rfc3339(row.ts), rfc3339(row.ingested_at), amount, *others, weight]) + "\n"


@pytest.mark.parametrize(
    ("ts", "ingested_at", "all_time", "windowed"),
    [
        (T, T, 0, 0),
        (T - 1, T, 1, 1),
        (T - 1, T + 1, 0, 0),
        (T - 1, T - 100, 1, 1),
        (T - 1_000, T - 1_000, 1, 0),
        (T - 999, T, 1, 1),
        (T - 1_001, T, 1, 0),
        (T + 1, T - 5, 0, 0),
    ],
)
def test_edges_of_time(tmp_path: Path, ts: int, ingested_at: int, all_time: int, windowed: int) -> None:
    features = feature_set(Visit, Aggregate.count("ever"), Aggregate.count("lately", window=1_000))
    offline, online = commit(tmp_path, features, [Row("e", "1", ts, ingested_at)])
    for found in (offline.aggregate(Spine.at(["1"], T)), online.compute(["1"], T)):
        assert found.aggregates["ever"].tolist() == [all_time]
        assert found.aggregates["lately"].tolist() == [windowed]
        assert found.known.tolist() == [bool(all_time)]
    online.close()


def test_a_key_is_known_by_its_events_even_where_none_of_them_counts(tmp_path: Path) -> None:
    features = feature_set(Visit, Aggregate.count("gifts", where=[Where("gift", "=", True)]))
    offline, online = commit(tmp_path, features, [Row("e", "1", T - 9, T - 9)])
    for found in (offline.aggregate(Spine.at(["1", "2"], T)), online.compute(["1", "2"], T)):
        assert found.aggregates["gifts"].tolist() == [0, 0]
        assert found.known.tolist() == [True, False]
    online.close()


def test_no_rows_are_asked_and_none_are_answered(tmp_path: Path) -> None:
    offline, online = commit(tmp_path, feature_set(Visit, Aggregate.max("last_at", "at")), [Row("e", "1", T, T)])
    online.materialize([(np.array(["1"]), offline.aggregate(Spine.at(["1"], T)))], T, 1, full=True)
    for found in (offline.aggregate(Spine.at([], T)), online.compute([], T), online.read([])):
        assert (len(found.known), found.aggregates["last_at"].dtype) == (0, np.dtype(np.float64))
    online.close()


def test_nothing_is_what_an_engine_says_of_a_key_without_events(tmp_path: Path) -> None:
    features = feature_set(Visit, *(Aggregate(f"a_{f}", f, "pages") for f in ("sum", "min", "max", "count_distinct")))
    offline, online = commit(tmp_path, features, [])
    empty = Lookup(nothing(features.aggregates, 2), np.zeros(2, np.bool_), np.full(2, T))
    same(offline.aggregate(Spine.at(UNKNOWN, T)), empty)
    online.close()


def test_masked_arrays_keep_integers_exact() -> None:
    big = SAFE_INTEGER * 900
    aggregates = [Aggregate.sum("total", "pages"), Aggregate.min("least", "pages")]
    masked = np.ma.masked_array([big, 5], mask=[False, True])
    found = convert(aggregates, {"total": masked, "least": np.ma.masked_array([SAFE_INTEGER, 5], mask=[False, True])})
    assert found["total"].tolist() == [big, 0]
    assert (found["least"][0], np.isnan(found["least"][1])) == (SAFE_INTEGER, True)


@pytest.mark.parametrize(
    ("aggregates", "named"),
    [
        ([Aggregate.sum("a", "cost")], "'cost'"),
        ([Aggregate.count("a", where=[Where("cost", "=", 1)])], "'cost'"),
        ([Aggregate.sum("a", "weight")], "'weight' is a number"),
        ([Aggregate.sum("a", "kind")], "'kind' is a category"),
        ([Aggregate.max("a", "gift")], "'gift' is a flag"),
        ([Aggregate.sum("a", "customer_id")], "'customer_id'"),
        ([Aggregate.count("select")], "'select'"),
        ([Aggregate.count("index")], "'index'"),
        ([Aggregate.count("known")], "'known'"),
        ([Aggregate.count("Orders")], "'Orders'"),
        ([Aggregate.count("two words")], "'two words'"),
        ([Aggregate.count("a; drop")], "'a; drop'"),
        ([Aggregate.count("a", window=0)], "'a'"),
        ([Aggregate.count("a", window=-5)], "'a'"),
        ([Aggregate.count("a", where=[Where("kind", "=", "fax")])], "'fax'"),
        ([Aggregate.count("a", where=[Where("kind", "=", 1)])], "'kind'"),
        ([Aggregate.count("a", where=[Where("kind", "<", "web")])], "'<'"),
        ([Aggregate.count("a", where=[Where("pieces", "=", "1")])], "'pieces'"),
        ([Aggregate.count("a", where=[Where("weight", ">", 1)])], "'weight'"),
        ([Aggregate.count("a", where=[Where("pieces", "= 1 OR 1 =", 1)])], "'= 1 OR 1 ='"),  # type: ignore[arg-type]  # the point
    ],
)
def test_what_cannot_be_computed_alike_is_refused_by_name(aggregates: list[Aggregate], named: str) -> None:
    with pytest.raises(FeatureError) as refused:
        feature_set(Sale, *aggregates)
    assert named in str(refused.value)


def test_two_aggregates_of_one_name_are_refused() -> None:
    twice = (Aggregate.count("a"), Aggregate.sum("a", "pieces"))
    with pytest.raises(FeatureError, match="'a' is declared twice"):
        FeatureSet(inputs=("a",), events=Sale, aggregates=twice)


def test_aggregates_need_events() -> None:
    with pytest.raises(FeatureError, match="'orders' needs events"):
        FeatureSet(inputs=("orders",), aggregates=(Aggregate.count("orders"),))


def test_an_id_is_no_column_to_aggregate() -> None:
    with pytest.raises(FeatureError, match="'receipt'"):
        feature_set(Receipt, Aggregate.count_distinct("receipts", "receipt"))
