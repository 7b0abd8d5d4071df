"""What every online store promises, on each of them: batches once, rows of one fingerprint, never a false as_of."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis as driver

from features.aggregates import Aggregate
from features.contract import SAFE_INTEGER
from features.featureset import FeatureSet
from features.store import open_online
from features.store.base import Held, Lookup, Materialized, OnlineStore, Rows, Spine, StoreError, Unreachable
from features.store.materialize import writing
from tests.features.store.places import KINDS, Place, place
from tests.features.test_aggregates import oracle, same
from tests.features.toys import NOW, Account, Row, Visit, feature_set, numbered

T = NOW
COUNT = feature_set(Visit, Aggregate.count("visits"), Aggregate.sum("total", "amount"), Aggregate.max("last_at", "at"))
OTHER = feature_set(Visit, Aggregate.count("visits", window=5))
OWN_EVENTS = [kind for kind in KINDS if kind != "beside"]
SERVERS = [kind for kind in KINDS if kind != "sqlite"]
HOSTILE = ["'; DROP TABLE events; --", "ключ", 'k1"]', "%s", "$1", "{}", "a*", "[k]", "\\", " ", "k:1", "K1", "k1 "]


def part(keys: list[str], total: int, last_at: float = np.nan) -> Rows:
    """Made-up rows of COUNT."""
    n = len(keys)
    aggregates = {"visits": np.full(n, 1), "total": np.full(n, total), "last_at": np.full(n, last_at)}
    return np.array(keys), Lookup(aggregates, np.ones(n, np.bool_), np.full(n, T))


def columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Events by column."""
    return {name: [getattr(row, name) for row in rows] for name in Row.__dataclass_fields__}


def totals(store: OnlineStore, keys: list[str]) -> list[tuple[int, int, bool]]:
    """as_of, total and known of each key."""
    found = store.read(keys)
    answers = (found.as_of.tolist(), found.aggregates["total"].tolist(), found.known.tolist())
    return list(zip(*answers, strict=True))


@pytest.fixture(params=KINDS)
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind."""
    return place(request.param, tmp_path, request)


@pytest.fixture
def store(at: Place) -> Iterator[OnlineStore]:
    """A store of COUNT there, empty."""
    opened = at.open(COUNT)
    yield opened
    opened.close()


@pytest.mark.parametrize("at", OWN_EVENTS, indirect=True)
def test_loading_a_batch_again_changes_nothing(store: OnlineStore) -> None:
    for _ in range(2):
        store.load(1, columns(numbered([Row("", "1", T - 9, 0, 5), Row("", "1", T - 9, 0, 5)])))
        assert store.compute(["1"], T).aggregates["total"].tolist() == [10]
    assert store.last_batch() == 1


@pytest.mark.parametrize("at", OWN_EVENTS, indirect=True)
def test_a_load_that_fails_leaves_no_half_batch(store: OnlineStore) -> None:
    store.load(1, columns([Row("e", "1", T - 9, 0, 5)]))
    with pytest.raises(ValueError, match="zip"):
        store.load(2, columns([Row("f", "1", T - 9, 0, 5)]) | {"ts": [T, T]})
    assert (store.last_batch(), store.compute(["1"], T).aggregates["visits"].tolist()) == (1, [1])


def test_answers_come_in_the_order_asked_for_however_many_there_are(at: Place, store: OnlineStore) -> None:
    people = [f"k{number}" for number in range(1_203)] + HOSTILE
    history = numbered([Row("", key, T - 1 - number, 0, number) for number, key in enumerate(people)])
    at.load(store, 1, columns(history))
    asked = [*people[::-1], "nobody", "k", *people[:3], "k1\tx", "nobody"]
    wide = oracle(COUNT.aggregates, history, Spine.at(people, T))
    store.materialize([(np.array(people), wide)], T, 1, full=True)
    expected = oracle(COUNT.aggregates, history, Spine.at(asked, T))
    for found in (store.compute(asked, T), store.read(asked)):
        same(found, expected)
    assert store.last_batch() == 1


def test_nobody_is_asked_for_and_nobody_answered(store: OnlineStore) -> None:
    with pytest.raises(StoreError, match="holdfast materialize"):
        store.read([])
    store.materialize([part(["1"], 7)], T, 1, full=True)
    for found in (store.read([]), store.compute([], T)):
        assert (len(found.known), len(found.as_of), found.aggregates["last_at"].dtype) == (0, 0, np.float64)


def test_a_store_of_no_rows_knows_nobody(store: OnlineStore) -> None:
    store.materialize([], T, 0, full=True)
    assert (store.as_of(), totals(store, ["1"])) == (Materialized(T, 0, 0), [(T, 0, False)])


def test_any_times_and_sums_are_kept_to_the_last_bit(store: OnlineStore) -> None:
    rng = np.random.default_rng(0)
    keys = np.array([f"{number}é" for number in range(3_000)])
    total = rng.integers(-SAFE_INTEGER, SAFE_INTEGER, 3_000) * 900
    last_at = np.where(rng.random(3_000) < 0.2, np.nan, rng.integers(0, SAFE_INTEGER, 3_000).astype(np.float64))
    total[:4], last_at[:2] = [2**53, 2**53 + 1, -(2**63), 2**63 - 1], [SAFE_INTEGER, -SAFE_INTEGER]
    aggregates = {"visits": np.ones(3_000, np.int64), "total": total, "last_at": last_at}
    given = Lookup(aggregates, total > 0, np.full(3_000, T))
    store.materialize([(keys, given)], T, 4, full=True)
    same(store.read(keys.tolist()), given)
    assert store.as_of() == Materialized(T, 4, 3_000)


def test_rows_that_changed_are_written_over_the_others(store: OnlineStore) -> None:
    store.materialize([part(["1", "2"], 7)], T, 1, full=True)
    store.materialize([part(["2"], 8), part(["3"], 9)], T + 5, 2, full=False)
    assert store.read(["1", "nobody"]).batch == 2
    assert totals(store, ["1", "2", "3", "4"]) == [(T + 5, n, n > 0) for n in (7, 8, 9, 0)]
    assert store.as_of() == Materialized(T + 5, 2, 3)
    store.materialize([], T + 6, 2, full=False)
    assert totals(store, ["1", "2"]) == [(T + 6, 7, True), (T + 6, 8, True)]
    store.materialize([part(["2"], 1)], T - 5, 2, full=True)
    assert totals(store, ["1", "2"]) == [(T - 5, 0, False), (T - 5, 1, True)]
    assert store.as_of() == Materialized(T - 5, 2, 1)


@pytest.mark.parametrize("full", [True, False])
def test_a_run_that_fails_moves_nothing_and_the_next_is_whole(store: OnlineStore, full: bool) -> None:
    store.materialize([part(["1"], 7), part(["2"], 7)], T, 1, full=True)

    def parts() -> Iterator[Rows]:
        yield part(["1"], 8)
        raise RuntimeError("the event store went away")

    with pytest.raises(RuntimeError):
        store.materialize(parts(), T + 1, 2, full=full)
    _as_before(store)
    store.materialize([part(["1"], 9)], T + 2, 2, full=full)
    assert totals(store, ["1", "2"]) == [(T + 2, 9, True), (T + 2, 0, False) if full else (T + 2, 7, True)]
    assert store.as_of() == Materialized(T + 2, 2, 1 if full else 2)


@pytest.mark.parametrize("full", [True, False])
def test_a_writer_killed_half_way_leaves_true_rows_and_the_next_is_whole(
    at: Place, store: OnlineStore, full: bool
) -> None:
    store.materialize([part(["1"], 7), part(["2"], 7)], T, 1, full=True)
    writer = get_context("spawn").Process(target=_die, args=(at.kind, at.home, at.url, at.name, full))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    _as_before(store)
    _wait_for_the_lock(at, store)
    store.materialize([part(["1"], 9)], T + 2, 2, full=full)
    assert totals(store, ["1", "2"]) == [(T + 2, 9, True), (T + 2, 0, False) if full else (T + 2, 7, True)]


def _as_before(store: OnlineStore) -> None:
    """The state of before, or rows that say that they are of later."""
    now = store.as_of()
    assert (now.as_of, now.batch, now.rows) == (T, 1, 2)
    first, second = totals(store, ["1", "2"])
    assert first in ([(T, 7, True), (T + 1, 8, True)] if now.begun == T + 1 else [(T, 7, True)])
    assert second == (T, 7, True)


def _wait_for_the_lock(at: Place, store: OnlineStore) -> None:
    if at.kind == "redis":  # as the end of the dead writer's lease would
        with closing(driver.Redis.from_url(str(at.url))) as client:
            client.delete(f"holdfast:{{{at.name}}}:lock")
    deadline = time.monotonic() + 20
    while True:  # PostgreSQL notices in a moment that the client has gone
        try:
            with store.exclusive():
                return
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _die(kind: str, home: Path, url: str | None, name: str, full: bool) -> None:
    """Another process, killed while it writes."""
    beside = url if kind == "beside" else None
    store = open_online(url, home, COUNT, name=name, events_url=beside, timeout=5)

    def parts() -> Iterator[Rows]:
        yield part(["1"], 8)
        os.kill(os.getpid(), signal.SIGKILL)

    with store.exclusive():
        store.materialize(parts(), T + 1, 2, full=full)


def test_rows_of_another_fingerprint_are_refused_with_both_and_the_remedy(at: Place, store: OnlineStore) -> None:
    with pytest.raises(StoreError, match=r"none.*holdfast materialize"):
        store.read(["1"])
    store.materialize([part(["1"], 7)], T, 1, full=True)
    second = at.open(OTHER)
    with pytest.raises(StoreError) as refused:
        second.read(["1"])
    for said in (COUNT.fingerprint[:16], OTHER.fingerprint[:16], "holdfast materialize"):
        assert said in str(refused.value)
    row = Lookup({"visits": np.array([3])}, np.array([True]), np.array([T + 1]))
    second.materialize([(np.array(["1"]), row)], T + 1, 1, full=True)
    assert totals(store, ["1"]) == [(T, 7, True)]
    assert second.read(["1"]).aggregates["visits"].tolist() == [3]
    assert store.fingerprints() == second.fingerprints() == sorted([COUNT.fingerprint, OTHER.fingerprint])
    store.drop(COUNT.fingerprint)
    assert second.read(["1"]).as_of.tolist() == [T + 1]
    with pytest.raises(StoreError, match=OTHER.fingerprint[:16]):
        store.read(["1"])
    assert store.fingerprints() == [OTHER.fingerprint]
    second.close()


def test_clear_forgets_everything_of_this_use_case_and_nothing_of_another(at: Place, store: OnlineStore) -> None:
    neighbour = Place(at.kind, at.home / "other", at.server)
    beside = neighbour.open(COUNT)
    for where, one in ((at, store), (neighbour, beside)):
        where.load(one, 1, columns([Row("e", "1", T - 9, 0, 5)]))
        one.materialize([part(["1"], 7)], T, 1, full=True)
    store.clear()
    assert store.fingerprints() == []
    if at.kind != "beside":
        assert (store.last_batch(), store.compute(["1"], T).known.tolist()) == (0, [False])
        store.load(1, columns([Row("e", "1", T - 9, 0, 6)]))
        assert store.compute(["1"], T).aggregates["total"].tolist() == [6]
    assert totals(beside, ["1"]) == [(T, 7, True)]
    assert beside.compute(["1"], T).aggregates["total"].tolist() == [5]
    beside.close()


def test_a_second_writer_is_refused_and_told_of_the_first(at: Place, store: OnlineStore) -> None:
    second = at.open(COUNT)
    with store.exclusive():
        with pytest.raises(StoreError, match=rf"{os.getpid()}.*is doing it"), second.exclusive():
            pass
        store.materialize([part(["1"], 7)], T, 1, full=True)
    with second.exclusive():
        second.materialize([part(["1"], 8)], T + 1, 1, full=False)
    assert totals(store, ["1"]) == [(T + 1, 8, True)]
    second.close()


class Asked:
    """A store whose right to write somebody waits for; `refused` is set once they were refused."""

    def __init__(self, store: OnlineStore) -> None:
        self.store, self.refused = store, threading.Event()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        try:
            with self.store.exclusive():
                yield
        except Held:
            self.refused.set()
            raise


def test_a_second_writer_may_wait_for_the_first(at: Place, store: OnlineStore) -> None:
    asked, had = Asked(at.open(COUNT)), threading.Event()

    def wait() -> None:
        with writing(cast("OnlineStore", asked), 60):
            had.set()

    with store.exclusive():
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert asked.refused.wait(60)
        with pytest.raises(Held, match="is doing it"), writing(cast("OnlineStore", asked), 0.01):
            pass
        assert not had.is_set()
    waiter.join(60)
    assert had.is_set()
    asked.store.close()


def test_serving_can_read_and_change_nothing(at: Place, store: OnlineStore) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)
    reader = at.open(COUNT, read_only=True)
    assert totals(reader, ["1"]) == [(T, 7, True)]
    with pytest.raises(Exception, match=r"read.?only|for reading only"):
        reader.materialize([part(["1"], 8)], T, 1, full=True)
    for moment in (T + 5, T + 6):
        store.materialize([part(["1"], 9)], moment, 2, full=True)
        assert totals(reader, ["1"]) == [(moment, 9, True)]
    reader.close()


def test_a_reader_never_sees_rows_of_another_time_than_it_says(at: Place, store: OnlineStore) -> None:
    keys = ["1", "2"]
    store.materialize([part(keys, 0)], 0, 1, full=True)
    done, ready = threading.Event(), threading.Event()
    reads: list[int] = []
    mixed: list[tuple[int, int, bool]] = []

    def read() -> None:
        reader = at.open(COUNT, read_only=True)
        while not done.is_set():
            found = totals(reader, keys)
            mixed.extend(row for row in found if row[0] != row[1] or not row[2])
            reads.append(1)
            ready.set()
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    ready.wait()
    for moment in range(1, 120):
        store.materialize([part([key], moment) for key in keys], moment, 1, full=moment % 3 == 0)
    done.set()
    thread.join()
    assert mixed == []
    assert len(reads) > 10


@pytest.mark.parametrize("at", SERVERS, indirect=True)
def test_a_server_that_is_away_is_told_and_found_again_when_it_is_back(at: Place, store: OnlineStore) -> None:
    assert at.server is not None
    store.materialize([part(["1"], 7)], T, 1, full=True)
    hasty = open_online(at.url, at.home, COUNT, name=at.name, timeout=0.3, pool=2)
    assert totals(hasty, ["1"]) == [(T, 7, True)]
    at.server.stop(signal.SIGINT)
    try:
        for ask in (hasty.as_of, lambda: hasty.read(["1"]), lambda: hasty.compute(["1"], T), hasty.last_batch):
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
                ask()
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
            hasty.materialize([part(["1"], 8)], T + 1, 1, full=True)
    finally:
        at.server.start()
    assert totals(store, ["1"]) == [(T, 7, True)]
    hasty.materialize([part(["1"], 8)], T + 1, 1, full=True)
    assert totals(hasty, ["1"]) == [(T + 1, 8, True)]
    hasty.close()


def test_without_events_every_key_is_known_and_nothing_is_kept(tmp_path: Path) -> None:
    online = open_online(None, tmp_path, FeatureSet(("plan",), attributes=Account), name="toy")
    found = online.compute(["a", "b"], T)
    assert (found.known.tolist(), found.as_of.tolist(), dict(found.aggregates)) == ([True, True], [T, T], {})
    assert (online.last_batch(), list(tmp_path.iterdir())) == (0, [])
    online.close()
