"""Explanations as they are served: the row's own bits by every face, bounded, and never in the way of a prediction."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import grpc
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from cli.workspace import Workspace
from features.contract import Contract, ContractError, Key
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Spine
from model import gate, store
from model.estimators import Estimator
from model.predictions.reading import Directory
from model.scorer import Scorer
from serving.call import Call
from serving.core import EXPLAINED, EXPLAINED_QUEUE, Core
from serving.errors import Failed, Late, NotReady, Overloaded
from serving.parts import Told
from serving.schema import Schema
from settings import Settings
from tests.model.toys import Toy, plan, plan_toy
from tests.serving.test_http import rows as sampled
from tests.serving.test_rpc import made, served
from tests.serving.toys import until
from training.dataset import frame
from usecases import Costs, Outcome, UseCase
from usecases.usecase import BESIDE


class Holding(Core):
    """A core that explains when it is told to."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.go = threading.Event()

    def _explain(self, asked: Any) -> Any:
        assert self.go.wait(60)
        return super()._explain(asked)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Path]:
    """`plan` and its model."""
    made_ = plan_toy(tmp_path_factory.mktemp("explain"))
    return made_, store.path(made_.train().manifest.tag)


def core_of(toy: tuple[Toy, Path], home: Path, kind: type[Core] = Core, **changed: Any) -> Any:
    """A core over it that records under `home`."""
    core = kind(toy[0].usecase, toy[1], Settings(home=home, grpc_port=0, **changed))
    assert core.loaded, core.refused
    return core


def members(count: int) -> list[dict[str, Any]]:
    """Requests for so many members."""
    return [
        {
            "member_id": f"m{n}",
            "attributes": {
                "months": n % 72,
                "region": ["north", "south", "west"][n % 3],
                "premium": n % 2 == 0,
                "rating": None if n % 5 == 0 else n % 50 / 10,
            },
        }
        for n in range(count)
    ]


async def asked(core: Core, rows: list[dict[str, Any]], call: Call | None = None, **more: Any) -> Told:
    """The answers to a bulk request."""
    given = core.decoder.many(json.dumps({"rows": rows, **more}).encode())
    return await core.predict(given, call or Call.begin("/test"))


def expected(workspace: Workspace, rows: list[dict[str, Any]], top: int) -> list[dict[str, Any]]:
    """What the scorer itself says of these customers."""
    keys = np.array([row["customer_id"] for row in rows])
    scorer = gate.load(store.path(str(workspace.champion())), workspace.usecase.features).scorer
    scores = frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.as_of)).score(scorer)
    return scorer.explain(scores).top(top)


@pytest.mark.parametrize("name", ["cdnow", "telco"])
def test_every_face_tells_the_scorers_own_reasons(name: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    client: httpx.Client = request.getfixturevalue(f"{name}_http")
    rows = sampled(workspace, 30)
    plain = client.post("/v1/predict/bulk", json={"rows": rows}).json()["predictions"]
    bulk = client.post("/v1/predict/bulk", json={"rows": rows, "explain": True, "top": 3}).json()["predictions"]
    single = [client.post("/v1/predict", json={**row, "explain": True, "top": 3}).json() for row in rows]
    explain = [client.post("/v1/explain", json={**row, "top": 3}).json() for row in rows]
    right = expected(workspace, rows, 3)
    for answers in (bulk, single, explain):
        assert [repr(one["explanation"]) for one in answers] == [repr(one) for one in right]
        assert [one["probability"] for one in answers] == [one["probability"] for one in plain]
    assert not any("explanation" in one for one in plain)
    assert len(client.post("/v1/explain", json=rows[0]).json()["explanation"]["contributions"]) == 5
    with served(made(workspace)) as (_, stub):
        by_message, _ = stub.ask("PredictBulk", {"rows": rows, "explain": True, "top": 3})
        one, _ = stub.ask("Predict", {**rows[0], "explain": True, "top": 3})
        none, _ = stub.ask("Predict", {**rows[0], "top": 3})
        assert [repr(as_json(each.explanation)) for each in by_message.predictions] == [repr(each) for each in right]
        assert repr(as_json(one.explanation)) == repr(right[0])
        assert not none.HasField("explanation")


def as_json(message: Any) -> dict[str, Any]:
    """A message as JSON tells it."""
    told = [
        {"feature": one.feature, "value": json.loads(one.value), "contribution": one.contribution}
        for one in message.contributions
    ]
    return {"base": message.base, "margin": message.margin, "contributions": told, "rest": message.rest}


def test_more_rows_than_the_limit_are_refused_by_both_protocols(cdnow: Workspace, cdnow_http: httpx.Client) -> None:
    rows = [{"customer_id": "1"}] * 101
    answer = cdnow_http.post("/v1/predict/bulk", json={"rows": rows, "explain": True})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "101 rows to explain; one request has at most 100 explained"
    assert (
        len(cdnow_http.post("/v1/predict/bulk", json={"rows": rows[1:], "explain": True}).json()["predictions"]) == 100
    )
    with served(made(cdnow, max_explained_rows=2)) as (_, stub):
        code, _, problem = stub.refused("PredictBulk", {"rows": rows[:3], "explain": True})
        assert (code, problem["status"]) == (grpc.StatusCode.INVALID_ARGUMENT, 413)
        code, _, problem = stub.refused("Predict", {**rows[0], "explain": True, "top": 101})
        assert (code, [one["field"] for one in problem["problems"]]) == (grpc.StatusCode.INVALID_ARGUMENT, ["top"])
        bulk, _ = stub.ask("PredictBulk", {"rows": [rows[0], {**rows[0], "explain": True}]})
        assert [one.row for one in bulk.errors] == [1]


def test_metrics_tell_of_the_route_and_of_the_stage(cdnow_http: httpx.Client) -> None:
    assert cdnow_http.post("/v1/explain", json={"customer_id": "1"}).status_code == 200
    assert cdnow_http.post("/v1/explain", json={"customer_id": "1", "explain": True}).status_code == 422
    found = {
        (
            sample.name,
            sample.labels.get("route") or sample.labels.get("stage"),
            sample.labels.get("outcome"),
        ): sample.value
        for family in text_string_to_metric_families(cdnow_http.get("/metrics").text)
        for sample in family.samples
    }
    assert found["holdfast_requests_total", "/v1/explain", "ok"] >= 1
    assert found["holdfast_requests_total", "/v1/explain", "not-what-the-contract-asks-for"] >= 1
    assert found["holdfast_stage_seconds_count", "explain", None] >= 1


def test_predictions_are_answered_while_explanations_wait(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core: Holding = core_of(toy, tmp_path, Holding)

    async def both() -> tuple[list[Told], Told]:
        waiting = [asyncio.ensure_future(asked(core, members(50), explain=True)) for _ in range(4)]
        await until(lambda: core.explainer.running_rows > 0)
        plain = [await asked(core, members(500)) for _ in range(20)]
        assert not any(task.done() for task in waiting)
        assert core.explainer.queued_rows >= 3 * 50
        core.go.set()
        explained = await asyncio.gather(*waiting)
        await core.close(10)
        return plain, explained[0]

    plain, explained = asyncio.run(both())
    assert [len(told.answers) for told in plain] == [500] * 20
    assert [one.probability for one in explained.answers] == [one.probability for one in plain[0].answers[:50]]
    assert all(len(one.explanation["contributions"]) == 5 for one in explained.answers)


def test_whoever_is_explained_together_gets_what_each_gets_alone(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core: Holding = core_of(toy, tmp_path, Holding)
    sizes = [(1, 1), (3, 7), (2, 100), (1, 2), (4, 3)]

    async def together() -> tuple[list[Told], list[Told]]:
        first = asyncio.ensure_future(asked(core, members(EXPLAINED), explain=True))
        await until(lambda: core.explainer.running_rows > 0)
        others = [asyncio.ensure_future(asked(core, members(rows), explain=True, top=top)) for rows, top in sizes]
        await until(lambda: core.explainer.queued_rows == sum(rows for rows, _ in sizes))
        core.go.set()
        await first
        crowd = await asyncio.gather(*others)
        alone = [await asked(core, members(rows), explain=True, top=top) for rows, top in sizes]
        await core.close(10)
        return crowd, alone

    for crowd, alone in zip(*asyncio.run(together()), strict=True):
        assert [repr(one.explanation) for one in crowd.answers] == [repr(one.explanation) for one in alone.answers]


def test_explanations_have_a_bounded_queue_and_deadlines_of_their_own(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core: Holding = core_of(toy, tmp_path, Holding, max_explained_rows=2)

    async def crowd() -> None:
        first = asyncio.ensure_future(asked(core, members(1), explain=True))
        await until(lambda: core.explainer.running_rows == 1)
        late = Call.begin("/test")
        late.deadline = time.monotonic() + 0.3
        others = [asyncio.ensure_future(asked(core, members(2), late, explain=True))]
        others += [asyncio.ensure_future(asked(core, members(2), explain=True)) for _ in range(EXPLAINED_QUEUE - 1)]
        await until(lambda: core.explainer.queued_rows == 2 * EXPLAINED_QUEUE)
        with pytest.raises(Overloaded) as refused:
            await asked(core, members(1), explain=True)
        assert refused.value.retry_after is not None
        assert len((await asked(core, members(2))).answers) == 2
        others[-1].cancel()
        await until(lambda: core.explainer.queued_rows == 2 * (EXPLAINED_QUEUE - 1))
        while time.monotonic() < late.deadline:
            await asyncio.sleep(0.01)
        core.go.set()
        with pytest.raises(Late):
            await others[0]
        assert len((await first).answers) == 1
        assert [len(told.answers) for told in await asyncio.gather(*others[1:-1])] == [2] * (EXPLAINED_QUEUE - 2)
        await core.close(10)
        with pytest.raises(NotReady):
            await asked(core, members(1), explain=True)

    asyncio.run(crowd())


def test_what_was_accepted_is_explained_before_the_server_stops(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core: Holding = core_of(toy, tmp_path, Holding)

    async def stop() -> Told:
        task = asyncio.ensure_future(asked(core, members(40), explain=True))
        await until(lambda: core.explainer.running_rows > 0)
        closing = asyncio.ensure_future(core.close(30))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not closing.done()
        core.go.set()
        await closing
        return await task

    assert len(asyncio.run(stop()).answers) == 40


def test_an_explained_prediction_is_recorded_as_any_other(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core = core_of(toy, tmp_path)

    async def both() -> tuple[Told, Told]:
        why = await asked(core, members(EXPLAINED * 2 + 3), Call.begin("/v1/predict/bulk", "why"), explain=True)
        plain = await asked(core, members(EXPLAINED * 2 + 3), Call.begin("/v1/predict/bulk", "plain"))
        await core.close(10)
        return why, plain

    told = asyncio.run(both())
    log = Directory(tmp_path / "plan" / "predictions", "plan")
    why, plain = (sorted(log.find(name), key=lambda one: int(one.key[1:])) for name in ("why", "plain"))
    assert [one.probability for one in why] == [one.probability for one in told[0].answers]
    for one, other in zip(why, plain, strict=True):
        assert (one.key, one.probability, one.margin, one.features) == (
            other.key, other.probability, other.margin, other.features
        )  # fmt: skip
    assert [answer.explanation["margin"] for answer in told[0].answers] == [one.margin for one in why]


class Unsure:
    """A model that cannot explain members of 60 months and more."""

    def __init__(self, own: Estimator) -> None:
        self.own, self.file, self.algorithm = own, own.file, own.algorithm

    def margin(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """As it is."""
        return self.own.margin(matrix)

    def contributions(self, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Not of such members, whoever stands beside them."""
        if (matrix[:, 0] >= 60).any():
            raise ArithmeticError("they do not add up")
        return self.own.contributions(matrix)

    def write(self, directory: Path) -> None:
        """As it is."""
        self.own.write(directory)


def test_a_row_that_cannot_be_explained_is_told_and_harms_nobody(toy: tuple[Toy, Path], tmp_path: Path) -> None:
    core = core_of(toy, tmp_path)
    own: Scorer = core.loaded.scorer
    core.loaded = replace(core.loaded, scorer=Scorer(own.features, Unsure(own.model), own.calibration, own.decision))

    async def ask() -> None:
        told = await asked(core, members(72), explain=True)
        assert [one.row for one in told.answers] == list(range(60))
        assert [one["row"] for one in told.errors] == list(range(60, 72))
        with pytest.raises(Failed):
            await core.predict(core.decoder.explained(json.dumps(members(72)[66]).encode()), Call.begin("/test"))
        assert len((await asked(core, members(72))).answers) == 72
        await core.close(10)

    asyncio.run(ask())


def test_no_key_has_a_name_that_stands_beside_it() -> None:
    schema = Schema(plan())
    fields = {name for model in (schema.Predict, schema.Explain, schema.Answer) for name in model.model_fields}
    assert fields - {"member_id"} | {"row"} == BESIDE


@pytest.mark.parametrize("name", ["explain", "top", "explanation", "model"])
def test_a_key_that_would_hide_a_field_is_refused_when_the_use_case_is_made(name: str) -> None:
    class Asked(Contract):
        """What a request carries."""

        age: Annotated[int, Field(ge=0)]

    record: Any = type("Record", (Asked,), {"__annotations__": {name: Key, "gone": bool}, "__module__": __name__})
    with pytest.raises(ContractError, match=f"the key cannot be called '{name}'"):
        UseCase(
            name="clash",
            title="Clash",
            sources={"records": Source(record)},
            features=FeatureSet(attributes=Asked, inputs=("age",)),
            label=Outcome("gone"),
            costs=Costs(contact=1, loss=10, rescued=0.5),
        )
