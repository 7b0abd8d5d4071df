"""Replay without a command: attributes alone, a linear model, other feature code, a batch that was not told."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from features.clock import DAY, parse
from features.featureset import FeatureSet
from features.store.base import EventStore, Spine
from model import gate
from model.gate import GateRefused
from model.predictions import Prediction
from model.predictions.reading import Directory
from model.replay import Difference, Events, Replay
from serving.call import Call
from serving.core import Core
from settings import Settings
from tests.model.conftest import Model
from tests.model.toys import AS_OF, Member, copy_of, edit_json, ingest_visits, log_months, reseal


def months_doubled(months: Any) -> Any:
    """Another feature."""
    return 2.0 * months


OTHER = FeatureSet(attributes=Member, rows=(log_months, months_doubled), inputs=("months", "log_months"))


@pytest.fixture(scope="module")
def answered(linear: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Prediction]:
    """Answers of the linear model, one by one and in bulk, some with what may be missing left out."""
    home = tmp_path_factory.mktemp("answered")
    core = Core(linear.toy.usecase, linear.directory, Settings(home=home, grpc_port=0))
    rows = [
        {
            "member_id": f"m{n}",
            "attributes": {
                "months": n,
                "region": ["north", "south", "west"][n % 3],
                "premium": n % 2 == 0,
                "rating": None if n % 5 == 0 else n / 30,
            },
        }
        for n in range(120)
    ]

    async def ask() -> None:
        for row in rows[:3]:
            await core.predict(core.decoder.one(json.dumps(row).encode()), Call.begin("/test"))
        await core.predict(core.decoder.many(json.dumps({"rows": rows}).encode()), Call.begin("/test"))
        await core.close(10)

    asyncio.run(ask())
    return list(Directory(home / "plan" / "predictions", "plan").between())


def test_without_events_there_are_two_stages(linear: Model, answered: list[Prediction]) -> None:
    again = Replay(linear.directory, linear.toy.usecase.features)
    found = again(answered, None)
    assert len(found) == 123
    assert all(one.equal for one in found)
    assert {tuple(stage.name for stage in one.stages) for one in found} == {("answer", "features")}
    assert {tuple(stage.compared for stage in one.stages) for one in found} == {(5, 7)}


def test_what_differs_is_told_with_both_values_and_how_far_apart_they_are(
    linear: Model, answered: list[Prediction]
) -> None:
    again, one = Replay(linear.directory, linear.toy.usecase.features), answered[0]
    near = math.nextafter(one.margin, math.inf)
    (found,) = again([replace(one, margin=near)], None)
    assert found.stages[0].differences == [Difference("margin", near, one.margin, 1)]
    (zero,) = again([replace(one, features={**one.features, "months": -0.0})], None)
    assert zero.stages[1].differences == [Difference("months", -0.0, 0.0, 0)]
    (other,) = again([replace(one, decision="perhaps")], None)
    assert [(each.name, each.logged, each.ulps) for each in other.stages[0].differences] == [
        ("decision", "perhaps", None)
    ]


def test_features_that_are_missing_too_many_or_no_numbers_are_named(linear: Model, answered: list[Prediction]) -> None:
    again, one = Replay(linear.directory, linear.toy.usecase.features), answered[0]
    features: dict[str, Any] = {**one.features, "more": 1.0, "rating": "x"}
    del features["months"]
    (found, beside) = again([replace(one, features=features), answered[1]], None)
    assert {(each.name, each.logged, each.now) for each in found.stages[0].differences} == {
        ("months", None, None),
        ("rating", "x", None),
        ("more", 1.0, None),
    }
    assert beside.equal


@pytest.mark.parametrize(
    ("attributes", "told"),
    [({}, "KeyError: 'months'"), ({"months": "x", "region": "north", "premium": True, "rating": 1.0}, "ValueError")],
)
def test_inputs_of_which_no_features_can_be_made_harm_nobody_beside(
    linear: Model, answered: list[Prediction], attributes: dict[str, Any], told: str
) -> None:
    again = Replay(linear.directory, linear.toy.usecase.features)
    found = again([answered[0], replace(answered[1], attributes=attributes), answered[2]], None)
    assert [one.equal for one in found] == [True, False, True]
    (difference,) = found[1].stages[1].differences
    assert (difference.name, difference.logged) == ("inputs", None)
    assert told in str(difference.now)


def test_code_of_other_features_replays_the_answer_alone(linear: Model, answered: list[Prediction]) -> None:
    again = Replay(linear.directory, OTHER)
    found = again(answered, None)
    assert all(one.equal and one.stages[0].compared == 5 for one in found)
    why = found[0].stages[1].why
    for text in (linear.manifest.fingerprint[:16], OTHER.fingerprint[:16], str(linear.manifest.git_commit)[:12]):
        assert text in why
    order = dict(sorted(answered[0].features.items()))  # as PostgreSQL gives them back
    assert again([replace(answered[0], features=order)], None)[0].equal


@pytest.mark.parametrize("features", ["own", "other"])
@pytest.mark.parametrize("part", ["decision.json", "golden.json", "model.json"])
def test_an_artefact_that_is_another_one_is_refused(linear: Model, tmp_path: Path, part: str, features: str) -> None:
    own = linear.toy.usecase.features if features == "own" else OTHER
    directory = copy_of(linear.directory, tmp_path)
    with (directory / part).open("a") as file:
        file.write(" ")
    with pytest.raises(GateRefused, match=f"{part}: sha256"):
        Replay(directory, own)
    edit_json(directory / "calibration.json", lambda stored: stored.update(slope=stored["slope"] * 1.01))
    reseal(directory)
    with pytest.raises(GateRefused, match="golden row 0: recorded probability"):
        Replay(directory, own)
    assert Replay(directory, own, enforce=False).manifest.name == "plan"


def test_libraries_out_of_range_are_refused_whatever_the_features(linear: Model, tmp_path: Path) -> None:
    directory = copy_of(linear.directory, tmp_path)
    libraries = linear.manifest.model_dump()["libraries"]
    reseal(directory, libraries={**libraries, "numpy": {"version": "1.0", "accepts": "<1.1"}})
    with pytest.raises(GateRefused, match="library numpy"):
        Replay(directory, OTHER)


def test_on_another_numeric_baseline_a_few_ulps_are_equal(
    linear: Model, answered: list[Prediction], tmp_path: Path
) -> None:
    directory = copy_of(linear.directory, tmp_path)
    reseal(directory, numeric={"machine": "another", "probe": "0"})
    again, one = Replay(directory, linear.toy.usecase.features), answered[0]
    assert again.how == "within 4 ulp (another numeric baseline)"
    for steps in (1, 4, 5):
        margin = one.margin
        for _ in range(steps):
            margin = math.nextafter(margin, math.inf)
        assert again([replace(one, margin=margin)], None)[0].equal == (steps <= 4)


def test_a_batch_that_was_not_told_is_the_last_one_committed_by_then(boosted: Model, tmp_path: Path) -> None:
    usecase = boosted.toy.usecase
    rows = [("c1", AS_OF - day * DAY, 3, 100, "phone") for day in range(1, 4)]
    store = ingest_visits(usecase, tmp_path, rows[:1])
    again, one = Replay(boosted.directory, usecase.features), seen(boosted, store)
    assert again([one], Events(store, lambda one: one.key))[0].equal
    ingest_visits(usecase, tmp_path, rows[1:])
    events = Events(store, lambda one: one.key)
    for told in (one, replace(one, batch=1, answered_at=2**61)):
        assert again([told], events)[0].equal
    (differs,) = again([replace(one, answered_at=2**61)], events)
    assert {each.name for each in differs.stages[2].differences} >= {"visits", "paid"}
    assert "not logged" in differs.stages[2].about


def seen(model: Model, store: EventStore) -> Prediction:
    """The model's answer for c1 at the end of time, just after the last batch was committed, which it does not tell."""
    scorer, found = (
        gate.load(model.directory, model.toy.usecase.features).scorer,
        store.aggregate(Spine.at(["c1"], AS_OF)),
    )
    scores = scorer.score(found.aggregates, {}, found.as_of)
    return Prediction(
        prediction_id="0" * 26,
        request_id="",
        usecase="pulse",
        model=model.manifest.tag,
        fingerprint=model.manifest.fingerprint,
        route="/test",
        pod="",
        answered_at=parse(store.batches()[-1].committed_at),
        request_time=AS_OF,
        as_of=AS_OF,
        key="c1",
        known=True,
        degraded=False,
        probability=scores.probability[0].item(),
        decision=scorer.label(bool(scores.positive[0])),
        threshold=scorer.decision.threshold,
        margin=scores.margin[0].item(),
        attributes={},
        aggregates={name: values[0].item() for name, values in found.aggregates.items()},
        features=dict(zip(scorer.features.columns, scores.matrix[0].tolist(), strict=True)),
        batch=None,
        latency_us=0,
    )
