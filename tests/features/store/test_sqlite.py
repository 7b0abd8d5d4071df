"""The online store: batches once, rows of one fingerprint, replaced whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from features.aggregates import Aggregate
from features.contract import SAFE_INTEGER
from features.featureset import FeatureSet
from features.store import open_online
from features.store.base import Lookup, Materialized, Rows, Spine, StoreError
from features.store.sqlite import SQLiteStore
from tests.features.toys import NOW, Account, Row, Visit, commit, feature_set, numbered

T = NOW
COUNT = feature_set(Visit, Aggregate.count("visits"), Aggregate.sum("total", "amount"), Aggregate.max("last_at", "at"))


def rows_of(keys: list[str], total: int, last_at: float = np.nan) -> Lookup:
    """Made-up rows of COUNT."""
    n = len(keys)
    aggregates = {"visits": np.full(n, 1), "total": np.full(n, total), "last_at": np.full(n, last_at)}
    return Lookup(aggregates, np.ones(n, np.bool_), np.full(n, T))


def test_loading_a_batch_again_changes_nothing(tmp_path: Path) -> None:
    offline, online = commit(tmp_path, COUNT, numbered([Row("", "1", T - 9, 0, 5), Row("", "1", T - 9, 0, 5)]))
    for _ in range(2):
        online.load(1, offline.events(1))
        assert online.compute(["1"], T).aggregates["total"].tolist() == [10]
    assert online.last_batch() == 1
    online.close()


def test_a_load_that_fails_leaves_no_half_batch(tmp_path: Path) -> None:
    offline, online = commit(tmp_path, COUNT, [Row("e", "1", T - 9, 0, 5)])
    events = offline.events(1)
    events["event_id"] = ["f"]
    events["ts"] = ["x", 1]
    with pytest.raises(ValueError, match="zip"):
        online.load(2, events)
    assert (online.last_batch(), online.compute(["1"], T).aggregates["visits"].tolist()) == (1, [1])
    online.close()


def test_answers_come_in_the_order_asked_for_however_many_there_are(tmp_path: Path) -> None:
    people = [f"k{number}" for number in range(1_203)]
    history = [Row("", key, T - 1 - number, 0, number) for number, key in enumerate(people)]
    offline, online = commit(tmp_path, COUNT, numbered(history))
    asked = [*people[::-1], "nobody", *people[:3], "'; DROP TABLE events; --", "ключ", 'k1"]']
    expected = [*range(1_202, -1, -1), 0, 0, 1, 2, 0, 0, 0]
    online.materialize([(np.array(people), offline.aggregate(Spine.at(people, T)))], T, 1, full=True)
    for found in (online.compute(asked, T), online.read(asked)):
        assert found.aggregates["total"].tolist() == expected
        assert found.known.tolist() == [key in set(people) for key in asked]
        assert found.as_of.tolist() == [T] * len(asked)
    online.close()


def test_any_times_and_sums_are_written_and_verified(tmp_path: Path) -> None:
    online = SQLiteStore(tmp_path / "online", COUNT)
    rng = np.random.default_rng(0)
    keys = np.array([f"{number}é" for number in range(3_000)])
    total = rng.integers(-SAFE_INTEGER, SAFE_INTEGER, 3_000) * 900
    last_at = np.where(rng.random(3_000) < 0.2, np.nan, rng.integers(0, SAFE_INTEGER, 3_000).astype(np.float64))
    given = Lookup(
        {"visits": np.ones(3_000, np.int64), "total": total, "last_at": last_at}, total > 0, np.full(3_000, T)
    )
    online.materialize([(keys, given)], T, 4, full=True)
    found = online.read(keys.tolist())
    assert found.aggregates["total"].tolist() == total.tolist()
    assert found.aggregates["last_at"].tobytes() == last_at.tobytes()
    assert found.known.tolist() == (total > 0).tolist()
    assert online.as_of() == Materialized(T, 4, 3_000)
    online.close()


def test_a_materialization_that_fails_changes_nothing(tmp_path: Path) -> None:
    online = SQLiteStore(tmp_path / "online", COUNT)
    online.materialize([(np.array(["1"]), rows_of(["1"], 7))], T, 1, full=True)

    def parts() -> Iterator[Rows]:
        yield np.array(["1"]), rows_of(["1"], 8)
        raise RuntimeError("the event store went away")

    with pytest.raises(RuntimeError):
        online.materialize(parts(), T + 1, 2, full=True)
    assert (online.as_of(), online.read(["1"]).aggregates["total"].tolist()) == (Materialized(T, 1, 1), [7])
    online.materialize([(np.array(["2"]), rows_of(["2"], 9))], T + 1, 2, full=True)
    assert online.read(["1", "2"]).known.tolist() == [False, True]
    online.close()


def test_rows_of_another_fingerprint_are_refused_with_both_and_the_remedy(tmp_path: Path) -> None:
    online = SQLiteStore(tmp_path / "online", COUNT)
    with pytest.raises(StoreError, match=r"none.*holdfast materialize"):
        online.read(["1"])
    online.materialize([(np.array(["1"]), rows_of(["1"], 7))], T, 1, full=True)
    other = feature_set(Visit, Aggregate.count("visits", window=5))
    second = SQLiteStore(tmp_path / "online", other)
    with pytest.raises(StoreError) as refused:
        second.read(["1"])
    for part in (COUNT.fingerprint[:16], other.fingerprint[:16], "holdfast materialize"):
        assert part in str(refused.value)
    assert online.read(["1"]).known.tolist() == [True]
    online.close()
    second.close()


def test_serving_can_read_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "online"
    with pytest.raises(StoreError, match="holdfast materialize"):
        SQLiteStore(path, COUNT, read_only=True)
    assert not path.exists()
    writer = SQLiteStore(path, COUNT)
    writer.materialize([(np.array(["1"]), rows_of(["1"], 7))], T, 1, full=True)
    reader = SQLiteStore(path, COUNT, read_only=True)
    assert reader.read(["1"]).aggregates["total"].tolist() == [7]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.materialize([(np.array(["1"]), rows_of(["1"], 8))], T, 1, full=True)
    writer.materialize([(np.array(["1"]), rows_of(["1"], 9))], T + 5, 2, full=True)
    found = reader.read(["1"])
    assert (found.aggregates["total"].tolist(), found.as_of.tolist()) == ([9], [T + 5])
    writer.close()
    reader.close()


def test_a_reader_never_sees_rows_of_another_time_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "online"
    writer = SQLiteStore(path, COUNT)
    writer.materialize([(np.array(["1"]), rows_of(["1"], 0))], 0, 1, full=True)
    done = threading.Event()
    mixed: list[tuple[int, int]] = []

    def read() -> None:
        reader = SQLiteStore(path, COUNT, read_only=True)
        while not done.is_set():
            found = reader.read(["1"])
            pair = int(found.as_of[0]), int(found.aggregates["total"][0])
            if pair[0] != pair[1]:
                mixed.append(pair)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    for moment in range(1, 400):
        writer.materialize([(np.array(["1"]), rows_of(["1"], moment))], moment, 1, full=True)
    done.set()
    thread.join()
    writer.close()
    assert mixed == []


def test_a_store_is_chosen_by_url(tmp_path: Path) -> None:
    open_online(f"sqlite://{tmp_path}/a%20b/online", tmp_path, COUNT, name="toy").close()
    assert (tmp_path / "a b" / "online").exists()
    with pytest.raises(StoreError, match=r"HOLDFAST_ONLINE_URL=mysql://x"):
        open_online("mysql://x", tmp_path, COUNT, name="toy")


def test_without_events_every_key_is_known_and_nothing_is_kept(tmp_path: Path) -> None:
    online = open_online(None, tmp_path, FeatureSet(("plan",), attributes=Account), name="toy")
    found = online.compute(["a", "b"], T)
    assert (found.known.tolist(), found.as_of.tolist(), dict(found.aggregates)) == ([True, True], [T, T], {})
    assert (online.last_batch(), list(tmp_path.iterdir())) == (0, [])
    online.close()
