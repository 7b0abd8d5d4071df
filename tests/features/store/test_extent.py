"""Extents: which batches have a part in an answer, told from their bounds and, where those do not tell, their rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.clock import DAY, SECOND, rfc3339
from features.contract import Arrival, Contract, Key, Timestamp
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Spine
from features.store.parquet import ParquetStore
from tests.effort import examples
from tests.model.toys import AGGREGATES, AS_OF, START, Visit, write_csv


class Told(Visit):
    """A visit, and when the source learnt of it."""

    learnt_at: Arrival


class Member(Contract):
    """What is said of a member, since when, and when that was learnt."""

    customer_id: Key
    since: Timestamp
    learnt_at: Arrival


FEATURES = FeatureSet(inputs=("visits",), events=Told, aggregates=AGGREGATES)
TABLES = {"events": Source(Told), "records": Source(Member)}
moments = st.integers(0, 12).map(lambda n: START + n * SECOND)
rows = st.lists(st.tuples(st.sampled_from("ab"), moments, moments), min_size=1, max_size=4)
batches = st.lists(st.tuples(st.sampled_from(["events", "records"]), rows), min_size=1, max_size=4)


def filled(root: Path, written: list[tuple[str, list[tuple[str, int, int]]]]) -> ParquetStore:
    """A store with a batch for each table and rows of (key, when, when learnt)."""
    store = ParquetStore(root / "store", FEATURES, TABLES)
    for number, (table, own) in enumerate(written):
        more = (number + 1, "1.00", "phone") if table == "events" else ()
        lines = [
            (key, rfc3339(at), *((position * 10 + more[0], *more[1:]) if more else ()), rfc3339(max(at, known)))
            for position, (key, at, known) in enumerate(own)
        ]
        path = write_csv(root / "rows.csv", list(TABLES[table].contract.model_fields), lines)
        outcome = ingest(store, table, path, now=AS_OF)
        if outcome.quarantined:
            raise AssertionError(store.quarantined())
    return store


@given(batches, moments, st.integers(0, 6))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_relevant_batches_are_those_a_scan_of_every_row_finds(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, list[tuple[str, int, int]]]], t: int, ahead: int
) -> None:
    store = filled(tmp_path_factory.mktemp("store"), written)
    horizon = ahead * SECOND
    kept: dict[str, list[tuple[int, int, int]]] = {"events": [], "records": []}
    for batch in store.batches():
        stored = pq.read_table(store.directory / f"{batch.number:06d}" / "rows.parquet")
        kept[batch.table] += [(r["batch"], r["ts"], r["ingested_at"]) for r in stored.to_pylist()]
    expected = {b for b, at, known in kept["events"] if (at < t and known <= t) or t <= at < t + horizon}
    expected |= {b for b, at, known in kept["records"] if at <= t and known <= t}
    assert {batch.number for batch in store.relevant(t, horizon)} == expected


@given(batches, moments, st.integers(0, 6))
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_files_that_are_left_unopened_would_have_changed_nothing(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, list[tuple[str, int, int]]]], t: int, ahead: int
) -> None:
    written = [("events", [("a", START, START)]), *written]
    store = filled(tmp_path_factory.mktemp("store"), written)
    seen = [(k, at) for table, own in written if table == "events" for k, at, known in own if at < t >= max(at, known)]
    assert store.keys(t).tolist() == sorted({key for key, _ in seen})
    spine = Spine.at(["a", "b"], t)
    assert store.aggregate(spine).known.tolist() == [any(key == k for k, _ in seen) for key in "ab"]
    ahead_of = [k for table, own in written if table == "events" for k, at, _ in own if t <= at < t + ahead * SECOND]
    assert (store.active(spine, ahead * SECOND) > 0).tolist() == [key in ahead_of for key in "ab"]
    assert store.active(Spine.at([], t), DAY).tolist() == []
