"""Use cases: found by name, refused where their parts do not fit, and open to other shapes without other changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field

import usecases
from features import clock
from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, Key, Timestamp
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.parquet import ParquetStore
from training.dataset import build, check_cut, label_times
from usecases import Absence, Costs, Outcome, Slice, UseCase, UseCaseError

GYM = '''
"""A gym: visits by kind, and who the members are."""
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from features.aggregates import Aggregate, Where
from features.clock import DAY
from features.contract import Blank, Contract, EventId, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.source import Source
from usecases import Absence, Costs, Outcome, UseCase


class Visit(Contract):
    visit: EventId
    member: Key
    came_at: Timestamp
    kind: Literal["class", "weights"] | None
    minutes: Annotated[int, Field(ge=0, le=600)] | None


class Member(Contract):
    plan: Literal["day", "month"]
    fee: Annotated[Money, Field(ge=0), Blank(0, "free")]
    age: int | None


class MemberRecord(Member):
    member: Key
    {dated}
    gone: bool


def class_share(class_visits, visits):
    """Share of visits that were classes; 0 without visits."""
    return np.divide(class_visits, visits, out=np.zeros(len(visits)), where=visits > 0)


def idle_days(last_visit_at, request_time):
    """Days since the last visit."""
    return (request_time - last_visit_at) / DAY


FEATURES = FeatureSet(
    inputs=("visits", "minutes_30d", "class_share", "idle_days", "plan", "fee", "age"),
    events=Visit,
    attributes=Member,
    aggregates=(
        Aggregate.count("visits"),
        Aggregate.count("class_visits", where=[Where("kind", "=", "class")]),
        Aggregate.sum("minutes_30d", "minutes", window=30 * DAY),
        Aggregate.max("last_visit_at", "came_at"),
    ),
    rows=(class_share, idle_days),
)
USECASE = UseCase(
    name="{name}",
    title="Gym",
    sources={{"events": Source(Visit, zone="Europe/Berlin"), "records": Source(MemberRecord, zone="UTC")}},
    features=FEATURES,
    label={label},
    costs=Costs(contact=1, loss=10, rescued=0.5),
)
'''
VISITS = """visit,member,came_at,kind,minutes
v1,ann,2025-01-01 12:00,class,60
v2,ann,2025-01-20 12:00,weights,30
v3,ann,2025-02-20 12:00,,
v4,bob,2025-01-05 12:00,class,45
v5,cy,2025-03-20 12:00,weights,10
"""
MEMBERS = "member,plan,fee,age,gone{more}\nann,month,30,41,no{day}\nbob,day,,,yes{day}\ncy,month,25,20,no{day}\n"
END = clock.parse("2025-04-01T00:00:00Z")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Modules of a test's own directory are forgotten after it."""
    import sys

    before = {name: module for name, module in sys.modules.items() if name.startswith("usecases.")}
    yield
    for name in [name for name in sys.modules if name.startswith("usecases.")]:
        if name not in before:
            del sys.modules[name]
    sys.modules.update(before)


def own(directory: Path, name: str, label: str, dated: str = "") -> UseCase:
    """The gym written into a user's own directory, and loaded by name."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.py").write_text(GYM.format(name=name, label=label, dated=dated))
    return usecases.load(name, directory)


def filled(home: Path, usecase: UseCase, **how: Any) -> ParquetStore:
    """A store with the gym's visits and members."""
    store = ParquetStore(home / "store", usecase.features, usecase.sources)
    dated = "member_since" in usecase.sources["records"].contract.model_fields
    members = MEMBERS.format(more=",member_since" if dated else "", day=",2025-01-01" if dated else "")
    for table, content in (("events", VISITS), ("records", members)):
        path = home / f"{table}.csv"
        path.write_text(content)
        outcome = ingest(store, table, path, now=END, backfill=True, **how)
        assert (outcome.new, outcome.quarantined) == (content.count("\n") - 1, 0)
    return store


def test_an_outcome_with_events_and_attributes_trains_from_one_new_module(tmp_path: Path) -> None:
    usecase = own(tmp_path / "own", "gym_outcome", 'Outcome("gone")')
    store = filled(tmp_path, usecase)
    times = label_times(usecase, store, END)
    dataset, _ = build(usecase, store, times, END, tmp_path / "cache")
    assert times == [END]
    assert dataset.key.tolist() == ["ann", "bob", "cy"]
    assert dataset.label.tolist() == [False, True, False]
    assert dataset.features["visits"].tolist() == [3, 1, 1]
    assert dataset.features["minutes_30d"].tolist() == [0, 0, 10]
    assert dataset.features["class_share"].tolist() == [1 / 3, 1, 0]
    assert dataset.features["idle_days"].tolist()[0] == pytest.approx(39 + 13 / 24)
    matrix = usecase.features.matrix(dataset.features)
    assert usecase.features.columns[4:] == ("plan=day", "plan=month", "fee", "age")
    assert matrix[:, 4:].tolist()[::2] == [[0, 1, 3000, 41], [0, 1, 2500, 20]]
    assert np.isnan(matrix[1, 7])
    assert check_cut(store, dataset, END) == 3


def test_an_absence_with_attributes_trains_from_one_new_module(tmp_path: Path) -> None:
    label = "Absence(horizon=30 * DAY, every=30 * DAY, first=10 * DAY)"
    usecase = own(tmp_path / "own", "gym_absence", label, "member_since: Timestamp")
    store = filled(tmp_path, usecase)
    times = label_times(usecase, store, END)
    assert len(times) == 3
    assert all(t % DAY == 0 for t in times)
    dataset, cached = build(usecase, store, times, END, tmp_path / "cache")
    again, cached_again = build(usecase, store, times, END, tmp_path / "cache")
    assert (cached, cached_again) == (0, len(times))
    assert again.content == dataset.content
    assert set(dataset.key.tolist()) == {"ann", "bob"}
    visits = {"ann": ["01-01", "01-20", "02-20"], "bob": ["01-05"]}
    at = {key: [clock.parse(f"2025-{day}T11:00:00Z") for day in days] for key, days in visits.items()}
    for key, t, left, seen in zip(
        dataset.key.tolist(),
        dataset.t.tolist(),
        dataset.label.tolist(),
        dataset.features["visits"].tolist(),
        strict=True,
    ):
        assert left == (not any(t <= moment < t + 30 * DAY for moment in at[key])), (key, clock.rfc3339(t))
        assert seen == sum(moment < t for moment in at[key])
        assert check_cut(store, dataset, t) == 2
    assert dataset.inputs.attributes["plan"].tolist() == [
        "month" if k == "ann" else "day" for k in dataset.key.tolist()
    ]


def test_use_cases_are_found_by_name(tmp_path: Path) -> None:
    assert usecases.names() == ["cdnow", "telco"]
    own(tmp_path, "gym_named", 'Outcome("gone")')
    (tmp_path / "_draft.py").write_text("raise RuntimeError")
    assert usecases.names(tmp_path) == ["cdnow", "gym_named", "telco"]
    assert [usecases.load(name).name for name in usecases.names()] == ["cdnow", "telco"]
    assert usecases.load("cdnow", tmp_path) is usecases.load("cdnow")


@pytest.mark.parametrize("name", ["nowhere", "usecase", "__init__", "../cdnow", ""])
def test_an_unknown_name_lists_those_there_are(name: str) -> None:
    with pytest.raises(UseCaseError) as refused:
        usecases.load(name)
    assert f"{name!r}" in str(refused.value)
    assert "cdnow, telco" in str(refused.value)


def test_one_s_own_goes_before_the_built_in_even_when_that_is_loaded(tmp_path: Path) -> None:
    built_in = usecases.load("telco")
    mine = own(tmp_path / "own", "telco", 'Outcome("gone")')
    other = own(tmp_path / "other", "telco", 'Outcome("gone")')
    assert built_in.title != mine.title == other.title
    assert mine is not other
    assert usecases.load("telco", tmp_path / "other") is other


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x = 1\n", "USECASE"),
        ("from usecases import cdnow\nUSECASE = cdnow.USECASE\n", "'broken'"),
        ("from features.contract import Contract\nclass A(Contract):\n    select: int\n", "A.select"),
    ],
)
def test_a_module_that_is_no_use_case_is_named(tmp_path: Path, source: str, named: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    for _ in range(2):
        with pytest.raises((UseCaseError, TypeError)) as refused:
            usecases.load("broken", tmp_path)
        assert named in str(refused.value)


class Order(Contract):
    customer_id: Key
    at: Timestamp


class Attributes(Contract):
    age: Annotated[int, Field(ge=0)]


class Record(Attributes):
    customer_id: Key
    gone: bool
    maybe: bool | None


class Elsewhere(Contract):
    client_id: Key
    gone: bool


class Looser(Contract):
    customer_id: Key
    age: int
    gone: bool


class Leaky(Attributes):
    gone: bool


class Ageless(Contract):
    customer_id: Key
    gone: bool


EVENTS = FeatureSet(("orders",), Order, None, (Aggregate.count("orders"),))
BOTH = FeatureSet(("orders", "age"), Order, Attributes, (Aggregate.count("orders"),))
BASE = UseCase(
    name="toy",
    title="Toy",
    sources={"events": Source(Order), "records": Source(Record)},
    features=BOTH,
    label=Outcome("gone"),
    costs=Costs(2, 25, 0.1),
)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"label": Outcome("lost")}, "'lost'"),
        ({"label": Outcome("age")}, "'age'"),
        ({"label": Outcome("maybe")}, "'maybe'"),
        ({"label": Outcome("gone"), "sources": {"events": Source(Order)}, "features": EVENTS}, "'gone'"),
        ({"sources": {"events": Source(Order)}}, "records"),
        (
            {"sources": {"events": Source(Order), "records": Source(Elsewhere)}, "features": EVENTS},
            "client_id, customer_id",
        ),
        ({"sources": {"events": Source(Order), "records": Source(Looser)}}, "'age'"),
        ({"sources": {"events": Source(Order), "records": Source(Ageless)}}, "'age'"),
        ({"sources": {"orders": Source(Order)}}, "'orders'"),
        ({"sources": {}}, "sources"),
        ({"sources": {"records": Source(Record)}}, "events"),
        ({"features": FeatureSet(("age",), None, Attributes)}, "events"),
        (
            {"sources": {"records": Source(Record)}, "features": FeatureSet(("age",), None, Attributes)}
            | {"label": Absence(DAY, DAY, DAY)},
            "events",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    assert BASE.key == "customer_id"
    parts = {field.name: getattr(BASE, field.name) for field in dataclasses.fields(UseCase) if field.init}
    with pytest.raises(UseCaseError) as refused:
        UseCase(**{**parts, **changes})
    assert "toy" in str(refused.value)
    assert named in str(refused.value)


class Sorted(Attributes):
    level: Literal["a", "b"]
    member: bool | None


class SortedRecord(Sorted):
    customer_id: Key
    gone: bool


SORTED = dataclasses.replace(
    BASE,
    sources={"events": Source(Order), "records": Source(SortedRecord)},
    features=FeatureSet(("orders", "age", "level"), Order, Sorted, (Aggregate.count("orders"), Aggregate.count("o2"))),
)


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        (
            [Slice("ordrs")],
            "slice by 'ordrs', which is no input and no field of the request; there are orders, age, level",
        ),
        ([Slice("o2", (1,))], "slice by 'o2', which is no input"),
        ([Slice("level", (1,))], r"slice by 'level', a category, which has its parts already: leave out at=\(1,\)"),
        ([Slice("member", (1,))], "slice by 'member', a flag, which has its parts already"),
        (
            [Slice("orders")],
            r"slice by 'orders', a number: say where its parts begin, as in Slice\('orders', at=\(2, 5\)\)",
        ),
        ([Slice("age", (3, 2))], r"slice by 'age': at=\(3, 2\) is not ascending"),
        ([Slice("age", (2, 2))], "not ascending"),
        ([Slice("age", (1, float("nan")))], "not ascending, or not finite"),
        ([Slice("age", (1, float("inf")))], "not ascending, or not finite"),
        ([Slice("age", (1,)), Slice("age", (2,))], "slice by 'age' is declared twice"),
    ],
)
def test_a_slice_that_cannot_be_made_is_refused_by_name(slices: list[Slice], said: str) -> None:
    with pytest.raises(UseCaseError, match=f"toy: .*{said}"):
        dataclasses.replace(SORTED, slices=tuple(slices))


def test_what_may_tell_a_lot_is_an_input() -> None:
    assert dataclasses.replace(BASE, telling=("age",)).telling == ("age",)
    with pytest.raises(UseCaseError, match="toy: telling 'agee' is no input"):
        dataclasses.replace(BASE, telling=("agee",))


def test_slices_and_what_may_tell_are_no_part_of_the_fingerprint_or_of_a_training_set(tmp_path: Path) -> None:
    slices = (Slice("level"), Slice("member"), Slice("age", (18, 60)), Slice("orders", (1,)))
    more = dataclasses.replace(SORTED, slices=slices, telling=("age",))
    assert more.features.fingerprint == SORTED.features.fingerprint
    usecase = own(tmp_path / "own", "gym_sliced", 'Outcome("gone")')
    sliced = dataclasses.replace(usecase, slices=(Slice("plan"), Slice("fee", (1,))))
    store = filled(tmp_path, usecase)
    built = [build(one, store, [END], END, tmp_path / "cache")[0].content for one in (usecase, sliced)]
    assert built[0] == built[1]


def test_both_samples_declare_slices() -> None:
    assert all(usecases.load(name).slices for name in usecases.names())


def test_an_outcome_that_the_request_carries_is_a_leak() -> None:
    class LeakyRecord(Leaky):
        customer_id: Key

    features = FeatureSet(("age",), None, Leaky)
    with pytest.raises(UseCaseError, match="'gone' is carried by the request"):
        dataclasses.replace(BASE, sources={"records": Source(LeakyRecord)}, features=features)


def test_the_threshold_is_where_acting_pays() -> None:
    costs = Costs(contact=2.0, loss=25.0, rescued=0.1)
    for probability in (0.0, 0.5, 0.79, 0.81, 1.0):
        gain = probability * 0.1 * 25.0 - 2.0
        assert (probability >= costs.threshold) == (gain > 0)


def test_now_is_fixed_else_the_sample_s_end_else_the_clock() -> None:
    cdnow = usecases.load("cdnow")
    assert clock.rfc3339(cdnow.now(None)) == "1998-07-01T00:00:00Z"
    assert BASE.now(None) > clock.parse("2025-01-01T00:00:00Z")
    from datetime import UTC, datetime

    for usecase in (cdnow, BASE):
        assert clock.rfc3339(usecase.now(datetime(1998, 1, 1, tzinfo=UTC))) == "1998-01-01T00:00:00Z"
