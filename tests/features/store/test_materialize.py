"""Materialization of who changed gives what one of everyone would, whatever came before; rows never lie meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Materialized, OnlineStore, Spine, StoreError
from features.store.materialize import Outcome, materialize
from features.store.parquet import ParquetStore
from features.store.sqlite import SQLiteStore
from tests.effort import examples
from tests.features.store.places import Place, place
from tests.features.test_aggregates import AGGREGATES, KEYS, ROWS, TIMES, UNKNOWN, T, oracle, same
from tests.features.toys import Row, Visit, feature_set, lay, numbered

ASKED = [*KEYS, *UNKNOWN]


@dataclass(frozen=True)
class Run:
    """New events, then a materialization to `t`, in parts of one key, that fails after so many parts, if it does."""

    events: list[Row]
    t: int
    full: bool
    fails_after: int | None


RUNS = st.lists(
    st.builds(
        Run, ROWS.filter(bool) | st.just([]), TIMES, st.just(False) | st.booleans(), st.none() | st.integers(0, 3)
    ),
    min_size=1,
    max_size=6,
)


class FailedError(Exception):
    """As if the machine had."""


def failing(after: int | None) -> Callable[[int, int], None]:
    """Told of each part that is done; fails at one of them."""
    done = count()

    def progress(*_: int) -> None:
        if next(done) == after:
            raise FailedError

    return progress


def replay(home: Path, online: OnlineStore, features: FeatureSet, runs: Sequence[Run]) -> None:
    """Every run that ends leaves what a full one would; after one that fails each row is true for its as_of."""
    offline = ParquetStore(home / "store", features, {"events": Source(Visit)})
    history: list[Row] = []
    may: list[list[Row]] = [[]]
    """What a row may have been made from: the events of the last run that ended, and of those that failed since."""
    for number, run in enumerate(runs):
        if run.events:
            new = [replace(row, event_id=f"{number}-{row.event_id}") for row in run.events]
            lay(home, len(offline.batches()) + 1, new)
            history = history + new
        may.append(history)
        try:
            outcome = materialize(offline, online, run.t, full=run.full, size=1, progress=failing(run.fails_after))
        except FailedError:
            honest(online, features, may)
            continue
        may = [history]
        same(online.read(ASKED), oracle(features.aggregates, history, Spine.at(ASKED, run.t)))
        known = len(offline.keys(run.t))
        assert outcome.now == online.as_of() == Materialized(run.t, len(offline.batches()), known)
        assert materialize(offline, online, run.t) == Outcome(0, False, outcome.now)
    materialize(offline, online, runs[-1].t)
    same(online.read(ASKED), oracle(features.aggregates, history, Spine.at(ASKED, runs[-1].t)))


def honest(online: OnlineStore, features: FeatureSet, histories: Sequence[list[Row]]) -> None:
    """Each row is what the oracle says for the row's own as_of, by one of these histories."""
    with suppress(StoreError):  # nothing was materialized before either
        found = online.read(ASKED)
        told = [oracle(features.aggregates, history, Spine(np.array(ASKED), found.as_of)) for history in histories]
        for number in range(len(ASKED)):
            row = found.take(np.array([number]))
            matches = []
            for one in told:
                with suppress(AssertionError):
                    same(row, one.take(np.array([number])))
                    matches.append(one)
            assert matches, (ASKED[number], row, told)


@settings(max_examples=examples(40), deadline=None)
@given(AGGREGATES, RUNS)
def test_who_changed_and_everyone_come_to_the_same(aggregates: list[Aggregate], runs: list[Run]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        features = feature_set(Visit, *aggregates)
        online = SQLiteStore(Path(directory) / "online.sqlite", features)
        try:
            replay(Path(directory), online, features, runs)
        finally:
            online.close()


@pytest.mark.parametrize("kind", ["postgresql", "redis"])
@settings(max_examples=examples(10), deadline=None)
@given(aggregates=AGGREGATES, runs=RUNS)
def test_on_servers_too(
    postgresql: Server, redis: Server, kind: str, aggregates: list[Aggregate], runs: list[Run]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        features = feature_set(Visit, *aggregates)
        there = Place(kind, Path(directory), {"postgresql": postgresql, "redis": redis}[kind], f"replay_{kind}")
        online = there.open(features)
        try:
            online.clear()
            replay(Path(directory), online, features, runs)
        finally:
            online.close()


@pytest.mark.parametrize("t", [T - 1, T, T + 1, T + 9, T + 20])
@pytest.mark.parametrize("late", [False, True], ids=["known", "new"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "redis"])
def test_after_an_interrupted_run_any_other_is_whole(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, late: bool, t: int
) -> None:
    first, second = [Row("a", "1", T - 10, 0), Row("b", "2", T - 10, 0)], [Row("c", "1", T + 2, 0)]
    runs = [
        Run(first if late else first + second, T, False, None),
        Run(second if late else [], T + 9, False, 0),
        Run([], t, False, None),
    ]
    features = feature_set(Visit, Aggregate.count("ever"), Aggregate.count("lately", window=12))
    with closing(place(kind, tmp_path, request).open(features)) as online:
        replay(tmp_path, online, features, runs)


@pytest.mark.parametrize("full", [True, False])
def test_a_batch_that_is_committed_meanwhile_is_not_in_rows_that_end_before_it(tmp_path: Path, full: bool) -> None:
    features = feature_set(Visit, Aggregate.count("ever"))
    offline = ParquetStore(tmp_path / "store", features, {"events": Source(Visit)})
    first = numbered([Row("", key, T - 10, 0) for key in ("1", "2")])

    def commit(done: int, _: int) -> None:
        if done == 1:
            lay(tmp_path, len(offline.batches()) + 1, [Row("late", "2", T - 9, 0), Row("new", "3", T - 9, 0)])

    with closing(SQLiteStore(tmp_path / "online.sqlite", features)) as online:
        materialize(offline, online, T - 20)
        lay(tmp_path, 1, first)
        materialize(offline, online, T, full=full, size=1, progress=commit)
        found = online.read(["1", "2", "3"])
        assert (found.batch, found.aggregates["ever"].tolist()) == (1, [1, 1, 0])
        assert found.known.tolist() == [True, True, False]
        materialize(offline, online, T)
        assert (online.as_of().rows, online.read(["2", "3"]).aggregates["ever"].tolist()) == (3, [2, 1])
