"""Leaks: each kind, planted, fails with the column named; what is honest passes, however good it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import Field

from cli.workspace import Workspace
from features.clock import DAY
from features.contract import Contract, Key
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.rows import REQUEST_TIME
from features.source import Source
from features.store.parquet import ParquetStore
from model import store as model_store
from model.golden import Inputs
from tests.model.toys import (
    AS_OF,
    COSTS,
    Member,
    Toy,
    ingest_visits,
    plan,
    pulse,
    visits,
    write_csv,
)
from tests.training.conftest import Ready
from training import leakage
from training.dataset import Dataset, LeakageError, build, label_times
from training.split import Split, split
from usecases import Outcome, UseCase

Labels = NDArray[np.bool_]
Array = NDArray[Any]


class Case(Contract):
    """What a request says, one column of which is a leak in turn."""

    number: float | None
    level: Literal["a", "b", "c", "d"] | None
    flag: bool
    plain: Annotated[float, Field(ge=0)]


class CaseRecord(Case):
    """And what came of it."""

    customer: Key
    gone: bool


def doubled(number: Array) -> Array:
    """A row feature of the number."""
    return 2 * number


LEAKY = UseCase(
    name="leaky",
    title="Leaky",
    sources={"records": Source(CaseRecord)},
    features=FeatureSet(attributes=Case, rows=(doubled,), inputs=("plain", "number", "level", "flag")),
    label=Outcome("gone"),
    costs=COSTS,
    decisions=("remains", "leaves"),
)


def cases(name: str, plant: Callable[[Labels, np.random.Generator], Array], n: int = 3_000) -> Dataset:
    """n customers, a quarter of whom leave, known by noise and by what is planted under that name."""
    random = np.random.default_rng(7)
    label = random.random(n) < 0.25
    attributes: dict[str, Array] = {
        "number": random.normal(0, 1, n),
        "level": np.array(["a", "b", "c", "d"])[random.integers(0, 4, n)],
        "flag": random.random(n) < 0.5,
        "plain": random.exponential(1 + label),
    }
    attributes[name] = plant(label, random)
    t = np.zeros(n, np.int64)
    key = np.array([f"c{number}" for number in range(n)])
    return Dataset(key, t, label, Inputs({}, attributes, t), LEAKY.features.evaluate({}, attributes, t), "")


def some(r: np.random.Generator, n: int) -> Array:
    """Levels that tell nothing."""
    return np.array(["a", "b"])[r.integers(0, 2, n)]


def signs(r: np.random.Generator, n: int) -> Array:
    """-1 and 1."""
    return r.choice([-1.0, 1.0], n)


def noisy(own: np.random.Generator, label: Labels, _: np.random.Generator) -> Array:
    """A number that tells a lot, and not all."""
    return label * 1.8 + own.normal(0, 1, len(label))


PLANTED: dict[str, tuple[str, Callable[[Labels, np.random.Generator], Array]]] = {
    "a number that grows with the label": ("number", lambda y, r: y * 3 + r.normal(0, 0.5, len(y))),
    "a number that is extreme, on either side": (
        "number",
        lambda y, r: np.where(y, signs(r, len(y)) * r.uniform(2, 3, len(y)), r.normal(0, 0.7, len(y))),
    ),
    "a number in the middle": (
        "number",
        lambda y, r: np.where(y, r.uniform(-0.1, 0.1, len(y)), signs(r, len(y)) + r.normal(0, 0.2, len(y))),
    ),
    "a number that is missing": ("number", lambda y, r: np.where(y, np.nan, r.normal(0, 1, len(y)))),
    "a number that is there": ("number", lambda y, r: np.where(y, r.normal(0, 1, len(y)), np.nan)),
    "a level": ("level", lambda y, r: np.where(y, "c", some(r, len(y)))),
    "a level that is missing": ("level", lambda y, r: np.where(y, "", some(r, len(y)))),
    "the label itself": ("flag", lambda y, _: y),
    "the label turned round": ("flag", lambda y, _: ~y),
    "a level for a third of those who leave": (
        "level",
        lambda y, r: np.where(y & (r.random(len(y)) < 0.33), "d", some(r, len(y))),
    ),
    "a number for a tenth of those who leave": (
        "number",
        lambda y, r: np.where(y & (r.random(len(y)) < 0.1), r.normal(0, 1, len(y)), np.nan),
    ),
    "a code for a tenth of those who leave": (
        "number",
        lambda y, r: np.where(y & (r.random(len(y)) < 0.1), 7.0, r.integers(0, 5, len(y))),
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_leak_fails_with_its_column_s_name(kind: str) -> None:
    name, plant = PLANTED[kind]
    with pytest.raises(LeakageError, match=f"input '{name}'") as caught:
        leakage.alone(LEAKY, split(LEAKY, cases(name, plant)))
    assert "take it out" in str(caught.value) or f"telling=('{name}',)" in str(caught.value)


def test_what_is_made_of_a_leak_is_one() -> None:
    usecase = replace(LEAKY, features=replace(LEAKY.features, inputs=("plain", "doubled")))
    parts = split(usecase, cases(*PLANTED["a number that grows with the label"]))
    with pytest.raises(LeakageError, match="input 'doubled' alone nearly tells the label: ROC-AUC"):
        leakage.alone(usecase, parts)


def test_a_mark_says_which_values_and_which_outcome() -> None:
    parts = split(LEAKY, cases(*PLANTED["a level for a third of those who leave"]))
    with pytest.raises(LeakageError, match=r"where it is 'd', 100.0% are 'leaves', which is the rarer outcome"):
        leakage.alone(LEAKY, parts)


def test_without_a_leak_every_input_has_its_value() -> None:
    values = leakage.alone(LEAKY, split(LEAKY, cases("plain", lambda y, r: r.exponential(1 + y))))
    assert list(values) == list(LEAKY.features.inputs)
    assert 0.55 < values.pop("plain") < 0.75
    assert all(0.4 < value < 0.6 for value in values.values())


def late(name: str, at: Callable[[Labels], Array]) -> Split:
    """Parts of which the test part alone knows its labels well: the others' field was right for two of three."""
    parts, random = split(LEAKY, cases(name, lambda y, _: at(y), n=4_000)), np.random.default_rng(5)

    def older(part: Dataset) -> Dataset:
        known = at(np.where(random.random(len(part)) < 1 / 3, random.random(len(part)) < 0.25, part.label))
        return replace(part, features={**part.features, name: known})

    return replace(parts, train=older(parts.train), valid=older(parts.valid))


def test_what_was_written_once_the_test_part_was_known_is_a_leak() -> None:
    parts = late("flag", lambda y: y)
    with pytest.raises(LeakageError, match=r"input 'flag' alone nearly tells .* ROC-AUC 1.0000 on the test part"):
        leakage.alone(LEAKY, parts)
    assert leakage.alone(replace(LEAKY, telling=("flag",)), parts)["flag"] == 1
    assert leakage.alone(LEAKY, replace(parts, test=parts.valid))["flag"] < 0.9


def test_a_mark_of_the_test_part_alone_is_one() -> None:
    def two_of_three(label: Labels) -> Array:
        place = np.arange(len(label))
        return np.where(label & (place % 3 > 0), "d", np.array(["a", "b"])[place % 2])

    parts = late("level", two_of_three)
    with pytest.raises(LeakageError, match=r"'level' marks an outcome: of \d+ test examples where it is 'd', 100.0%"):
        leakage.alone(LEAKY, parts)
    few = parts.test.take(np.arange(250))
    assert leakage.alone(LEAKY, replace(parts, test=few))["level"] < 0.95


@pytest.mark.parametrize("kind", ["a number in the middle", "a number for a tenth of those who leave"])
def test_an_input_that_is_declared_may_tell(kind: str) -> None:
    name, plant = PLANTED[kind]
    assert name in leakage.alone(replace(LEAKY, telling=(name,)), split(LEAKY, cases(name, plant)))


def test_the_label_itself_may_not_even_if_declared() -> None:
    parts = split(LEAKY, cases(*PLANTED["the label turned round"]))
    with pytest.raises(LeakageError, match="input 'flag' is the label itself"):
        leakage.alone(replace(LEAKY, telling=("flag",)), parts)


def test_few_examples_accuse_nobody() -> None:
    assert leakage.alone(LEAKY, split(LEAKY, cases(*PLANTED["a level"], n=200))) == {}
    for seed in range(20):  # an honest .9 of few
        honest = partial(noisy, np.random.default_rng(seed))
        leakage.alone(LEAKY, split(LEAKY, cases("number", honest, n=500)))


def test_the_time_of_the_request_is_no_input(pulse_ready: Ready) -> None:
    usecase = pulse()
    usecase = replace(usecase, features=replace(usecase.features, inputs=(*usecase.features.inputs, REQUEST_TIME)))
    with pytest.raises(LeakageError, match="input 'request_time' is another one in each part"):
        leakage.alone(usecase, split(usecase, pulse_ready.dataset))


# --- parts that know of each other


def test_a_key_in_two_parts_is_named(plan_ready: Ready) -> None:
    parts = split(plan(), plan_ready.dataset)
    leakage.check_parts(plan(), parts)
    shared = str(parts.test.key[3])
    both = replace(parts, train=plan_ready.dataset.take(np.isin(plan_ready.dataset.key, [*parts.train.key, shared])))
    with pytest.raises(LeakageError, match=f"1 keys are in the train part and in the test part, such as '{shared}'"):
        leakage.check_parts(plan(), both)


def test_label_windows_that_overlap_are_named(pulse_ready: Ready) -> None:
    usecase, whole, times = pulse_ready.toy.usecase, pulse_ready.dataset, pulse_ready.times
    leakage.check_parts(usecase, split(usecase, whole))
    wrong = Split(*(whole.take(whole.t == t) for t in (times[0], times[4], times[5])))
    assert times[5] - times[4] < 30 * DAY
    with pytest.raises(LeakageError, match=r"the valid part has labels of .* into the test part"):
        leakage.check_parts(usecase, wrong)
    same = Split(*(whole.take(whole.t == t) for t in (times[0], times[2], times[2])))
    with pytest.raises(LeakageError, match="the valid part has labels of"):
        leakage.check_parts(usecase, same)


def test_an_example_that_is_there_twice_is_named(pulse_ready: Ready) -> None:
    usecase = pulse_ready.toy.usecase
    parts = split(usecase, pulse_ready.dataset)
    twice = parts.valid.take(np.array([*range(len(parts.valid)), 5]))
    with pytest.raises(LeakageError, match=f"'{parts.valid.key[5]}' is in the valid part twice"):
        leakage.check_parts(usecase, replace(parts, valid=twice))


# --- in a training


class Told(Member):
    """A member, and a reason that is written when they have left."""

    reason: Literal["price", "moved"] | None


class ToldRecord(Told):
    """A row of members."""

    member_id: Key
    gone: bool


def test_a_training_with_a_leak_stores_nothing(tmp_path: Path) -> None:
    own = plan()
    features = replace(own.features, attributes=Told, inputs=(*own.features.inputs, "reason"))
    usecase = replace(own, name="told", sources={"records": Source(ToldRecord)}, features=features)
    store, random = ParquetStore(tmp_path / "store", usecase.features, usecase.sources), np.random.default_rng(3)
    gone = random.random(900) < 0.3
    rows = [
        (number % 60, "north", True, "3", ["price", "moved"][number % 2] if left else "", f"m{number}", left)
        for number, left in enumerate(gone.tolist())
    ]
    ingest(store, "records", write_csv(tmp_path / "told.csv", list(ToldRecord.model_fields), rows), now=AS_OF)
    with pytest.raises(LeakageError, match=r"told: input 'reason' alone nearly tells the label: ROC-AUC 1\.0000"):
        Toy(usecase, store, tmp_path / "training").train()
    assert model_store.tags("told") == []


def test_honest_inputs_pass_and_the_strongest_is_told(pulse_ready: Ready, plan_ready: Ready) -> None:
    for ready in (pulse_ready, plan_ready):
        usecase = ready.toy.usecase
        (line,) = leakage.check(usecase, ready.toy.store, split(usecase, ready.dataset))
        assert f"no leak found in {len(usecase.features.inputs)} inputs: " in line
    assert (
        "recency_days alone has ROC-AUC 0.9"
        in leakage.check(
            pulse_ready.toy.usecase, pulse_ready.toy.store, split(pulse_ready.toy.usecase, pulse_ready.dataset)
        )[0]
    )


@pytest.mark.parametrize("name", ["cdnow", "telco"])
def test_the_samples_pass_and_no_input_comes_near_the_limit(name: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    times = label_times(workspace.usecase, workspace.events, workspace.now)
    dataset, _ = build(workspace.usecase, workspace.events, times, workspace.now, workspace.cache)
    values = leakage.alone(workspace.usecase, split(workspace.usecase, dataset))
    assert max(values.values()) < 0.85


class Owned(Member):
    """A member under the visits' key."""

    customer_id: Key
    gone: bool


def test_records_without_a_time_that_were_loaded_as_history_are_told(tmp_path: Path) -> None:
    members = [(30, "north", True, "3", f"c{number}", False) for number in range(220)]
    for backfill, told in ((True, 2), (False, 1)):
        own = pulse()
        features = replace(own.features, attributes=Member, inputs=(*own.features.inputs, "months"))
        usecase = replace(own, sources={**own.sources, "records": Source(Owned)}, features=features)
        store = ingest_visits(usecase, tmp_path / str(backfill), visits(1))
        path = write_csv(tmp_path / "members.csv", list(Owned.model_fields), members)
        ingest(store, "records", path, now=1, backfill=backfill)
        times = label_times(usecase, store, AS_OF)
        dataset, _ = build(usecase, store, times, AS_OF, tmp_path / "cache")
        lines = leakage.check(usecase, store, split(usecase, dataset))
        assert len(lines) == told
        assert ("loaded as history" in lines[-1]) == backfill
        assert ("inputs, as far as can be checked: " in lines[0]) == backfill
