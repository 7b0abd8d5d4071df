"""The training set: what was known then, what happened after, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import clock
from features.clock import DAY, HOUR
from features.contract import Arrival, Contract, Key
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import StoreError
from features.store.parquet import ParquetStore
from tests.effort import examples
from tests.model.toys import (
    AGGREGATES,
    AS_OF,
    COSTS,
    START,
    MemberRecord,
    Toy,
    Visit,
    ingest_visits,
    plan,
    pulse,
    recency_weeks,
    visits,
    write_csv,
)
from tests.training.conftest import Ready
from training.dataset import Dataset, LeakageError, build, check_cut, label_times
from usecases import Absence, Outcome, UseCase


def same(one: Dataset, other: Dataset) -> bool:
    """Every array, bit for bit, with its type."""
    arrays = [
        {"key": d.key, "t": d.t, "label": d.label, "at": d.inputs.request_time}
        | {f"a.{name}": v for name, v in d.inputs.aggregates.items()}
        | {f"r.{name}": v for name, v in d.inputs.attributes.items()}
        | {f"f.{name}": v for name, v in d.features.items()}
        for d in (one, other)
    ]
    return arrays[0].keys() == arrays[1].keys() and all(
        v.dtype.kind == arrays[1][name].dtype.kind and v.tolist().__repr__() == arrays[1][name].tolist().__repr__()
        for name, v in arrays[0].items()
    )


# --- label times


@given(
    st.integers(0, 3 * DAY), st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.sampled_from([DAY, HOUR])
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_label_times_are_snapped_decided_and_have_their_history(
    pulse_ready: Ready, late: int, horizon: int, every: int, first: int, cadence: int
) -> None:
    label = Absence(horizon=horizon * DAY + 7 * HOUR, every=every * DAY + 5 * HOUR, first=first * DAY)
    usecase, store = pulse(label=label, cadence=cadence), pulse_ready.toy.store
    times = label_times(usecase, store, AS_OF - late)
    earliest = store.span()[0]
    assert times == sorted(set(times))
    for t in times:
        assert t % cadence == 0
        assert t + label.horizon <= AS_OF - late
        assert t - earliest >= label.first
    distances = {b - a for a, b in pairwise(times)}
    assert all(distance % cadence == 0 and distance <= label.every for distance in distances)
    assert len(distances) <= 2
    assert all(t % distance == 0 for distance in list(distances)[:1] for t in times[:-1] if len(distances) == 1)
    assert times[-1] + label.horizon + cadence > min(AS_OF - late, store.span()[1])


@given(st.integers(0, 70), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_new_day_moves_the_latest_label_time_only(pulse_ready: Ready, before: int, horizon: int, every: int) -> None:
    usecase = pulse(label=Absence(horizon=horizon * DAY, every=every * DAY, first=60 * DAY))
    now = pulse_ready.toy.store.span()[1] - before * DAY
    yesterday, today = (label_times(usecase, pulse_ready.toy.store, t) for t in (now - DAY, now))
    assert set(today) - {today[-1]} <= set(yesterday)
    assert today[-1] - yesterday[-1] == DAY
    assert len(yesterday) <= len(today) <= len(yesterday) + 1


def test_label_times_closer_than_the_cadence_come_once_per_cadence(pulse_ready: Ready) -> None:
    usecase = pulse(label=Absence(horizon=30 * DAY, every=HOUR, first=60 * DAY))
    times = label_times(usecase, pulse_ready.toy.store, AS_OF)
    assert {b - a for a, b in pairwise(times)} == {DAY}


def test_after_the_last_event_nobody_is_labelled_as_gone(pulse_ready: Ready) -> None:
    store, label = pulse_ready.toy.store, pulse_ready.toy.usecase.label
    assert isinstance(label, Absence)
    last = store.span()[1]
    times = label_times(pulse_ready.toy.usecase, store, AS_OF + 3_000 * DAY)  # a clock years after the data
    assert times[-1] + label.horizon <= last + DAY
    dataset, _ = build(pulse_ready.toy.usecase, store, times, AS_OF + 3_000 * DAY, pulse_ready.toy.cache)
    assert all(not dataset.label[dataset.t == t].all() for t in times)


def test_a_history_too_short_is_an_error_that_names_the_times(tmp_path: Path) -> None:
    usecase = pulse()
    store = ingest_visits(
        usecase, tmp_path, [("a", START + DAY, 1, 1, "phone"), ("a", START + 80 * DAY, 1, 1, "phone")]
    )
    with pytest.raises(StoreError, match="events begin at 2020-01-02T00:00:00Z") as caught:
        label_times(usecase, store, AS_OF)
    assert "60 days before and 30 days after" in str(caught.value)
    assert "2020-03-22T00:00:00Z" in str(caught.value)


def test_no_history_at_all_is_an_error(tmp_path: Path) -> None:
    usecase = pulse()
    with pytest.raises(StoreError, match="holdfast ingest"):
        label_times(usecase, ParquetStore(tmp_path, usecase.features, usecase.sources), AS_OF)


def test_an_outcome_has_one_label_time_now(plan_ready: Ready) -> None:
    assert plan_ready.times == [AS_OF]
    assert set(plan_ready.dataset.t.tolist()) == {AS_OF}


@pytest.mark.parametrize("early", [1, HOUR, 29 * DAY])
def test_a_label_that_is_not_decided_is_refused(pulse_ready: Ready, tmp_path: Path, early: int) -> None:
    toy, t = pulse_ready.toy, pulse_ready.times[-1]
    with pytest.raises(LeakageError, match="is decided at") as caught:
        build(toy.usecase, toy.store, [t], t + 30 * DAY - early, tmp_path)
    assert clock.rfc3339(t) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_label_beyond_the_events_is_refused(pulse_ready: Ready, tmp_path: Path) -> None:
    toy = pulse_ready.toy
    with pytest.raises(LeakageError, match="is decided at"):
        build(toy.usecase, toy.store, [AS_OF], AS_OF + 900 * DAY, tmp_path)


# --- point in time


def test_examples_are_those_who_were_known_then(pulse_ready: Ready) -> None:
    rows = visits(1)
    for t in pulse_ready.times:
        here = pulse_ready.dataset.key[pulse_ready.dataset.t == t].tolist()
        assert here == sorted({key for key, at, *_ in rows if at < t})


T = START + 100 * DAY
offsets = st.one_of(
    st.integers(-100 * DAY, 40 * DAY),
    st.sampled_from([-90 * DAY, -60 * DAY, -30 * DAY, -30 * DAY + 1, -30 * DAY - 1, -1, 0, 1, 30 * DAY - 1, 30 * DAY]),
)
events = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        offsets.map(lambda offset: T + offset),
        st.integers(1, 4),
        st.integers(0, 500),
        st.sampled_from(["phone", "desktop"]),
        st.sampled_from([0, 0, 1, DAY, 35 * DAY]),
    ),
    min_size=1,
    max_size=14,
)


def oracle(rows: list[tuple[str, int, int, int, str, int]], key: str, t: int) -> dict[str, object]:
    """Slowly, event by event: (moment, pages, paid, device) of what had happened and arrived before t."""
    seen = [row for row in rows if row[0] == key and row[1] < t and row[1] + row[5] <= t]
    recent = {days: [row for row in seen if t - row[1] < days * DAY] for days in (30, 60, 90)}
    ahead = [row for row in rows if row[0] == key and 0 <= row[1] - t < 30 * DAY]
    return {
        "visits": len(seen),
        "visits_30d": len(recent[30]),
        "phone_visits_60d": sum(row[4] == "phone" for row in recent[60]),
        "paid": sum(row[3] for row in seen),
        "most_pages": max((float(row[2]) for row in recent[90]), default=None),
        "page_counts": len({row[2] for row in seen}),
        "last_visit_at": max((float(row[1]) for row in seen), default=None),
        "label": not ahead,
    }


class ToldVisit(Visit):
    """A visit, and when the source learnt of it."""

    learnt_at: Arrival


def told(root: Path, rows: list[tuple[str, int, int, int, str, int]]) -> tuple[UseCase, ParquetStore]:
    """A store whose events arrived when the rows say."""
    own = pulse().features
    usecase = replace(
        pulse(),
        sources={"events": Source(ToldVisit)},
        features=FeatureSet(inputs=own.inputs, events=ToldVisit, aggregates=own.aggregates, rows=own.rows),
    )
    store = ParquetStore(root / "store", usecase.features, usecase.sources)
    written = [
        (key, clock.rfc3339(at), pages, f"{paid / 100:.2f}", device, clock.rfc3339(at + delay))
        for key, at, pages, paid, device, delay in rows
    ]
    path = write_csv(root / "visits.csv", list(ToldVisit.model_fields), written)
    if ingest(store, "events", path, now=AS_OF).new != len(rows):
        raise AssertionError(store.quarantined())
    return usecase, store


@given(events)
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_labels_and_aggregates_agree_with_a_slow_oracle(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, int, str, int]]
) -> None:
    anchor = ("anchor", T - DAY, 1, 1, "phone", 0), ("anchor", T + 35 * DAY, 1, 1, "phone", 0)
    rows, root = [*rows, *anchor], tmp_path_factory.mktemp("events")
    usecase, store = told(root, rows)
    dataset, _ = build(usecase, store, [T], AS_OF, root / "cache")
    known = {key for key in ("a", "b", "c", "anchor") if oracle(rows, key, T)["visits"]}
    assert dataset.key.tolist() == sorted(known)
    for row, key in enumerate(dataset.key.tolist()):
        expected = oracle(rows, key, T)
        found = {name: values[row].item() for name, values in dataset.inputs.aggregates.items()}
        found = {name: None if value != value else value for name, value in found.items()}
        assert found | {"label": bool(dataset.label[row])} == expected
    assert check_cut(store, dataset, T) == len(dataset)


# --- the check for leaks


class Seer(FeatureSet):
    """A feature set whose SQL forgets that an event at or after t is unknown."""

    @cached_property
    def sql(self) -> str:
        """Without the comparison with t."""
        return super().sql.replace("AND e.ts < s.t", "").replace("AND e.ingested_at <= s.t", "")


def test_a_set_that_knows_the_future_is_caught_by_name(pulse_ready: Ready, tmp_path: Path) -> None:
    own = pulse().features
    seer = Seer(inputs=own.inputs, events=own.events, aggregates=own.aggregates, rows=own.rows)
    assert seer.sql.count("s.t") == own.sql.count("s.t") - 2
    usecase = replace(pulse(), features=seer)
    store = ParquetStore(pulse_ready.toy.store.root, seer, usecase.sources)
    dataset, _ = build(usecase, store, pulse_ready.times, AS_OF, tmp_path)
    with pytest.raises(LeakageError, match="aggregate 'visits' of 'c") as caught:
        check_cut(store, dataset, pulse_ready.times[-1])
    assert clock.rfc3339(pulse_ready.times[-1]) in str(caught.value)
    with pytest.raises(LeakageError, match="it knows the future"):
        Toy(usecase, store, tmp_path).train()


def test_an_honest_set_passes_at_every_label_time(pulse_ready: Ready) -> None:
    dataset, store = pulse_ready.dataset, pulse_ready.toy.store
    compared = [check_cut(store, dataset, t) for t in pulse_ready.times]
    assert sum(compared) == len(dataset)
    assert min(compared) > 0


def test_where_there_are_no_aggregates_nothing_is_said_to_be_compared(plan_ready: Ready) -> None:
    assert check_cut(plan_ready.toy.store, plan_ready.dataset, AS_OF) == 0


# --- the cache


def test_a_hit_gives_the_identical_set(pulse_ready: Ready, tmp_path: Path) -> None:
    toy = pulse_ready.toy
    first, cached = build(toy.usecase, toy.store, pulse_ready.times, AS_OF, tmp_path)
    assert not cached
    again, cached = build(toy.usecase, toy.store, pulse_ready.times, AS_OF, tmp_path)
    assert cached == len(pulse_ready.times)
    assert same(first, again)
    assert first.content == again.content == pulse_ready.dataset.content


def test_attributes_come_whole_with_their_types(plan_ready: Ready, tmp_path: Path) -> None:
    toy = plan_ready.toy
    again, _ = build(toy.usecase, toy.store, [AS_OF], AS_OF, tmp_path)
    assert same(plan_ready.dataset, again)
    kinds = {name: values.dtype.kind for name, values in again.inputs.attributes.items()}
    assert kinds == {"months": "i", "region": "U", "premium": "b", "rating": "f"}
    assert np.isnan(again.inputs.attributes["rating"]).any()


def test_another_batch_other_times_and_other_features_are_other_sets(tmp_path: Path) -> None:
    usecase, rows = pulse(), visits(3, customers=30)
    store = ingest_visits(usecase, tmp_path, rows)
    times = label_times(usecase, store, AS_OF)
    first, _ = build(usecase, store, times, AS_OF, tmp_path / "cache")
    ingest_visits(usecase, tmp_path, [("late", times[0] - DAY, 3, 100, "phone")])
    second, cached = build(usecase, store, times, AS_OF, tmp_path / "cache")
    assert not cached
    assert len(second) == len(first) + len(times)
    assert second.content != first.content
    third, cached = build(usecase, store, times[1:], AS_OF, tmp_path / "cache")
    assert (cached, third.content != second.content) == (len(times) - 1, True)
    weeks = pulse(recency=recency_weeks)
    other = ParquetStore(store.root, weeks.features, weeks.sources)
    fourth, cached = build(weeks, other, times, AS_OF, tmp_path / "cache")
    assert (cached, fourth.content != second.content) == (0, True)
    _, cached = build(usecase, store, times, AS_OF, tmp_path / "cache")
    assert cached == len(times)


class Customer(Contract):
    """Who left, under the key that visits have."""

    customer_id: Key
    gone: bool


def mixed(root: Path) -> tuple[UseCase, ParquetStore]:
    """Visits, and records that say who left."""
    usecase = UseCase(
        name="mixed",
        title="Mixed: an outcome, told by visits",
        sources={"events": Source(Visit), "records": Source(Customer)},
        features=FeatureSet(inputs=("visits_30d",), events=Visit, aggregates=AGGREGATES),
        label=Outcome("gone"),
        costs=COSTS,
    )
    rows = visits(3, customers=40)
    store = ingest_visits(usecase, root, rows)
    path = write_csv(
        root / "customers.csv", ["customer_id", "gone"], [(k, k[-1] < "5") for k in {row[0] for row in rows}]
    )
    ingest(store, "records", path, now=START)
    return usecase, store


def test_an_outcome_with_windows_over_events_is_computed_for_its_own_time(tmp_path: Path) -> None:
    usecase, store = mixed(tmp_path)
    earlier, _ = build(usecase, store, [AS_OF - 60 * DAY], AS_OF - 60 * DAY, tmp_path / "cache")
    later, _ = build(usecase, store, [AS_OF], AS_OF, tmp_path / "cache")
    assert set(later.t.tolist()) == {AS_OF}
    assert earlier.features["visits_30d"].sum() > later.features["visits_30d"].sum()


def test_records_that_were_not_known_yet_are_not_in_an_earlier_set(tmp_path: Path) -> None:
    usecase = plan()
    store = ParquetStore(tmp_path / "store", usecase.features, usecase.sources)
    header = list(MemberRecord.model_fields)
    for number, now in ((1, AS_OF - 9 * DAY), (2, AS_OF - 3 * DAY)):
        path = write_csv(tmp_path / "members.csv", header, [(5, "north", True, "", f"m{number}", False)])
        ingest(store, "records", path, now=now)
    for days, keys in ((1, ["m1", "m2"]), (5, ["m1"]), (1, ["m1", "m2"])):
        dataset, _ = build(usecase, store, [AS_OF - days * DAY], AS_OF, tmp_path / "cache")
        assert dataset.key.tolist() == keys
