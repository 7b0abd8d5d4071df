"""Label times kept apart: a new day costs a day, a late event costs what it touches, and neither changes a bit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from features.clock import DAY, HOUR, rfc3339
from features.contract import Arrival, Contract, Key, Timestamp
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Spine
from features.store.parquet import ParquetStore
from model.golden import Inputs
from tests.effort import examples
from tests.model.toys import AS_OF, START, Visit, ingest_visits, pulse, visits, write_csv
from training.dataset import Dataset, build, label_times
from training.parts import KEPT, Part, Parts
from usecases import UseCase

ROOT = Path(__file__).parents[2]
HORIZON = 30 * DAY
TIMES = [START + day * DAY for day in (60, 75, 100)]
BUILD = """
import sys
from pathlib import Path
from features.store.parquet import ParquetStore
from tests.model.toys import AS_OF, pulse
from training.dataset import build, label_times
usecase, root = pulse(), Path(sys.argv[1])
store = ParquetStore(root / "store", usecase.features, usecase.sources)
times = label_times(usecase, store, AS_OF)
print("ready", flush=True)
sys.stdin.readline()
print(build(usecase, store, times, AS_OF, root / "cache")[0].content)
"""


class ToldVisit(Visit):
    """A visit, and when the source learnt of it."""

    learnt_at: Arrival


class Customer(Contract):
    """What a request says of a customer."""

    age: Annotated[int, Field(ge=0, le=150)]


class CustomerRecord(Customer):
    """The same, whose it is, since when, and when it was learnt."""

    customer_id: Key
    since: Timestamp
    learnt_at: Arrival


class Counting(ParquetStore):
    """A store that remembers at which times it was asked for labels."""

    asked: list[int]

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """As every store answers."""
        self.asked += np.unique(spine.t).tolist()
        return super().active(spine, horizon)


def counted(usecase: UseCase, root: Path, times: list[int], cache: str = "cache") -> tuple[Dataset, list[int]]:
    """The training set of the store under `root`, and the label times that had to be computed."""
    store = Counting(root / "store", usecase.features, usecase.sources)
    store.asked = []
    dataset, found = build(usecase, store, times, AS_OF, root / cache)
    if found != len(times) - len(store.asked):
        raise AssertionError(f"{found} of {len(times)} are said to be from the cache, {store.asked} were computed")
    return dataset, store.asked


def told() -> UseCase:
    """Visitors whose visits tell when they became known."""
    own = pulse().features
    features = FeatureSet(inputs=own.inputs, events=ToldVisit, aggregates=own.aggregates, rows=own.rows)
    return replace(pulse(), sources={"events": Source(ToldVisit)}, features=features)


def add(usecase: UseCase, root: Path, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """One more batch of these rows."""
    store = ParquetStore(root / "store", usecase.features, usecase.sources)
    path = write_csv(root / "rows.csv", list(usecase.sources[table].contract.model_fields), rows)
    if ingest(store, table, path, now=AS_OF).new != len(rows):
        raise AssertionError(store.quarantined())


def test_a_new_day_computes_one_label_time(tmp_path: Path) -> None:
    usecase, rows = pulse(), sorted(visits(3, customers=40), key=lambda row: row[1])
    start = START + 200 * DAY
    store = ingest_visits(usecase, tmp_path, [row for row in rows if row[1] < start])
    before = label_times(usecase, store, start)
    assert counted(usecase, tmp_path, before)[1] == before
    for day in range(4):
        end = start + (day + 1) * DAY
        ingest_visits(usecase, tmp_path, [row for row in rows if end - DAY <= row[1] < end])
        times = label_times(usecase, store, end)
        dataset, computed = counted(usecase, tmp_path, times)
        assert computed == times[-1:]
        assert times[-1] == end - HORIZON
        assert dataset.content == counted(usecase, tmp_path, times, cache=f"fresh-{day}")[0].content


batches = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(-2, 150 * 24).map(lambda hours: START + hours * HOUR)
            | st.sampled_from([t + delta for t in TIMES for delta in (-1, 0, HORIZON - 1, HORIZON)]),
            st.sampled_from([0, 1, 3 * DAY, 60 * DAY]),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=3,
)


@given(batches)
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_rebuilds_what_it_touches_and_the_set_is_that_of_a_build_from_scratch(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int]]]
) -> None:
    usecase, root, number = told(), tmp_path_factory.mktemp("late"), 0
    last = START + 149 * DAY
    anchors = [(f"anchor{at}", at, 0) for at in (START, last)]
    for batch in [anchors, *batches]:
        rows = []
        for key, at, delay in batch:
            number += 1
            rows.append((key, rfc3339(at), 1, f"{number}.00", "phone", rfc3339(at + delay)))
        add(usecase, root, "events", rows)
        dataset, computed = counted(usecase, root, TIMES)
        assert computed == [
            t for t in TIMES if any((at < t and at + delay <= t) or t <= at < t + HORIZON for _, at, delay in batch)
        ]
    fresh, _ = counted(usecase, root, TIMES, cache="fresh")
    assert dataset.content == fresh.content
    for name, values in fresh.inputs.aggregates.items():
        np.testing.assert_array_equal(dataset.inputs.aggregates[name], values)


def test_a_record_rebuilds_the_label_times_from_when_it_was_known(tmp_path: Path) -> None:
    own = pulse().features
    features = FeatureSet(
        inputs=("visits", "age"), events=Visit, attributes=Customer, aggregates=own.aggregates, rows=own.rows
    )
    usecase = replace(pulse(), sources={"events": Source(Visit), "records": Source(CustomerRecord)}, features=features)
    ingest_visits(usecase, tmp_path, [("a", START + day * DAY, 1, day, "phone") for day in (1, 149)])
    learnt = rfc3339(START)
    add(usecase, tmp_path, "records", [(30, "a", learnt, learnt)])
    assert counted(usecase, tmp_path, TIMES)[1] == TIMES
    add(usecase, tmp_path, "records", [(31, "a", rfc3339(TIMES[0] - DAY), rfc3339(TIMES[1]))])
    dataset, computed = counted(usecase, tmp_path, TIMES)
    assert computed == TIMES[1:]
    assert dataset.inputs.attributes["age"].tolist() == [30, 31, 31]


def test_records_that_no_feature_reads_rebuild_nothing(tmp_path: Path) -> None:
    usecase = replace(pulse(), sources={"events": Source(Visit), "records": Source(CustomerRecord)})
    ingest_visits(usecase, tmp_path, [("a", START + day * DAY, 1, day, "phone") for day in (1, 149)])
    assert counted(usecase, tmp_path, TIMES)[1] == TIMES
    add(usecase, tmp_path, "records", [(30, "a", rfc3339(START), rfc3339(START))])
    assert counted(usecase, tmp_path, TIMES)[1] == []


@pytest.mark.parametrize("damage", ["cut", "empty", "first", "middle", "last"])
def test_a_damaged_part_is_computed_again(tmp_path: Path, damage: str) -> None:
    usecase = pulse()
    store = ingest_visits(usecase, tmp_path, visits(3, customers=40))
    times = label_times(usecase, store, AS_OF)
    whole, _ = counted(usecase, tmp_path, times)
    path = sorted((tmp_path / "cache").iterdir())[1]
    content = bytearray(path.read_bytes())
    if damage in ("cut", "empty"):
        content = content[: len(content) // 2 if damage == "cut" else 0]
    else:
        content[{"first": 4, "middle": len(content) // 2, "last": -9}[damage]] ^= 1
    path.write_bytes(content)
    again, computed = counted(usecase, tmp_path, times)
    assert len(computed) == 1
    assert again.content == whole.content
    assert counted(usecase, tmp_path, times)[1] == []
    assert len(list((tmp_path / "cache").iterdir())) == len(times)


def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    usecase = pulse()
    store = ingest_visits(usecase, tmp_path, visits(3, customers=40))
    both = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    answers = [one.communicate(timeout=120)[0].strip() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    times = label_times(usecase, store, AS_OF)
    dataset, computed = counted(usecase, tmp_path, times)
    assert answers == [dataset.content] * 2
    assert computed == []
    assert len(list((tmp_path / "cache").iterdir())) == len(times)


def test_what_no_set_has_used_for_a_week_is_removed(tmp_path: Path) -> None:
    usecase = pulse()
    store = ingest_visits(usecase, tmp_path, visits(3, customers=40))
    times = label_times(usecase, store, AS_OF)
    counted(usecase, tmp_path, times)
    draft = tmp_path / "cache" / "killed.draft"
    draft.write_bytes(b"half")
    for path in (tmp_path / "cache").iterdir():
        os.utime(path, (0, time.time() - KEPT - 60))
    assert counted(usecase, tmp_path, times[1:])[1] == []
    assert len(list((tmp_path / "cache").iterdir())) == len(times) - 1
    assert counted(usecase, tmp_path, times)[1] == times[:1]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_part_comes_back_whole(tmp_path: Path, rows: int) -> None:
    part = Part(
        np.array(["é", "a much longer key", ""][:rows], dtype=np.str_),
        np.array([True, False, True][:rows]),
        Inputs(
            {"count": np.array([1, -(2**62), 0][:rows]), "most": np.array([1.5, np.nan, -0.0][:rows])},
            {"region": np.array(["north", "", "south"][:rows], dtype=np.str_), "premium": np.ones(rows, dtype=bool)},
            np.full(rows, START),
        ),
    )
    parts = Parts(tmp_path / "cache")
    assert parts.read("name") is None
    parts.write("name", part)
    again = parts.read("name")
    assert again is not None
    for one, other in [
        (part.key, again.key),
        (part.label, again.label),
        (part.inputs.request_time, again.inputs.request_time),
        *((part.inputs.aggregates[name], again.inputs.aggregates[name]) for name in ("count", "most")),
        *((part.inputs.attributes[name], again.inputs.attributes[name]) for name in ("region", "premium")),
    ]:
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert parts.read("other") is None
