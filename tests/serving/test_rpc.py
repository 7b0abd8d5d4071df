"""gRPC from a real server on loopback, asked by stock clients that know nothing but what reflection tells them."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
import uvloop
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from cli.workspace import Workspace
from model import store as model_store
from serving.call import Call
from serving.core import Core
from serving.errors import ERRORS, Failed, Late, RequestError
from serving.parts import Told
from serving.proto import Protocol
from serving.rows import Rows
from serving.rpc import PROBLEM, Rpc, shortened
from settings import SettingsError
from tests.effort import examples
from tests.serving.test_http import rows as sampled

T = TypeVar("T")
STATUS = health_pb2.HealthCheckResponse.ServingStatus
SECONDS = 60


class Served:
    """A core behind gRPC, in a loop on a thread of its own."""

    def __init__(self, core: Core) -> None:
        self.core, self.rpc, self.loop = core, Rpc(core, 0), uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self.run(self.rpc.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns, run in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def close(self) -> None:
        """Stop the server, and then the loop."""
        self.run(self.rpc.stop(SECONDS))
        self.run(self.core.close(SECONDS))
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Client:
    """A client made from reflection alone."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)
        self.service = next(name for name in self.database.get_services() if name.startswith("holdfast."))
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def method(self, name: str) -> tuple[Any, Any]:
        """The method as a stock stub has it, and the class of its requests."""
        method = self.pool.FindServiceByName(self.service).FindMethodByName(name)
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        path = f"/{self.service}/{name}"
        return self.channel.unary_unary(path, request.SerializeToString, response.FromString), request

    def ask(self, name: str, fields: dict[str, Any], *, metadata: Sequence[tuple[str, str]] = ()) -> Any:
        """The answer's message and the metadata that came with it."""
        call, request = self.method(name)
        answer, told = call.with_call(request(**fields), timeout=SECONDS, metadata=tuple(metadata))
        return answer, dict(told.trailing_metadata())

    def refused(self, name: str, fields: dict[str, Any]) -> tuple[grpc.StatusCode, dict[str, Any], dict[str, Any]]:
        """The code, the metadata and the problem of a call that fails."""
        with pytest.raises(grpc.RpcError) as raised:
            self.ask(name, fields)
        told = dict(raised.value.trailing_metadata())
        return raised.value.code(), told, json.loads(told[PROBLEM]) if PROBLEM in told else {}

    def status(self, service: str = "") -> str:
        """What health says of a service."""
        return str(STATUS.Name(self.health.Check(health_pb2.HealthCheckRequest(service=service)).status))


def made(workspace: Workspace, kind: type[Core] = Core, directory: Path | None = None, **changed: object) -> Core:
    """A core of the champion, which does not record."""
    own = workspace.settings.model_copy(update={"host": "127.0.0.1", **changed})
    return kind(workspace.usecase, directory or model_store.path(str(workspace.champion())), own, record=False)


@contextmanager
def served(core: Core) -> Iterator[tuple[Served, Client]]:
    """A server and a client of it."""
    server = Served(core)
    try:
        client = Client(server.port)
        with client.channel:
            yield server, client
    finally:
        server.close()


@pytest.fixture(scope="module")
def shop(cdnow: Workspace) -> Iterator[tuple[Served, Client]]:
    with served(made(cdnow)) as both:
        yield both


@pytest.fixture(scope="module")
def plans(telco: Workspace) -> Iterator[tuple[Served, Client]]:
    with served(made(telco)) as both:
        yield both


class Held(Core):
    """A core that answers when it is told to, and knows what it was asked."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.calls: list[Call] = []
        self.asked, self.left = threading.Event(), threading.Event()
        self.go: asyncio.Event | None = None

    async def predict(self, rows: Rows, call: Call, *, packed: bool = False) -> Told:
        """As a core does, later."""
        self.calls.append(call)
        self.go = asyncio.Event()
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        return await super().predict(rows, call, packed=packed)


class Broken(Core):
    """A core that raises what it is told to."""

    error: Exception

    async def predict(self, rows: Rows, call: Call, *, packed: bool = False) -> Told:  # noqa: ARG002
        """Never."""
        raise self.error


def by_core(server: Served, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """What the core answers to these rows as JSON."""

    async def ask() -> Told:
        body = json.dumps({"rows": rows}).encode()
        return await server.core.predict(server.core.decoder.many(body), Call.begin("/v1/predict/bulk"))

    return list(server.run(ask()).answers)


def counted(route: str, outcome: str, model: str) -> float:
    """Requests so far."""
    labels = {"route": route, "outcome": outcome, "model": model}
    return REGISTRY.get_sample_value("holdfast_requests_total", labels) or 0.0


@pytest.mark.parametrize("name", ["shop", "plans"])
def test_a_client_made_from_reflection_gets_the_bits_that_json_gets(
    name: str, request: pytest.FixtureRequest, cdnow: Workspace, telco: Workspace
) -> None:
    server, client = request.getfixturevalue(name)
    asked = sampled(cdnow if name == "shop" else telco, 20)
    bulk, _ = client.ask("PredictBulk", {"rows": asked})
    expected = [answer.probability for answer in by_core(server, asked)]
    assert [one.probability for one in bulk.predictions] == expected
    assert [one.row for one in bulk.predictions] == list(range(20))
    assert [client.ask("Predict", row)[0].probability for row in asked[:5]] == expected[:5]
    assert len(set(expected)) > 5


def test_an_answer_says_everything_about_itself(shop: tuple[Served, Client], cdnow: Workspace) -> None:
    answer, told = shop[1].ask("Predict", {"customer_id": "1"}, metadata=[("x-request-id", "mine-1")])
    said = MessageToDict(answer)
    assert set(said) == {
        "customer_id", "probability", "decision", "threshold", "model", "fingerprint", "as_of", "known", "degraded",
        "request_id", "prediction_id",
    }  # fmt: skip
    assert (said["customer_id"], said["model"], said["known"], said["degraded"]) == ("1", cdnow.champion(), True, False)
    assert said["request_id"] == told["x-request-id"] == "mine-1"
    assert said["prediction_id"] != "mine-1"


def test_the_served_descriptor_is_that_of_the_proto_text(shop: tuple[Served, Client], cdnow: Workspace) -> None:
    found = FileDescriptorProto()
    shop[1].pool.FindServiceByName(shop[1].service).file.CopyToProto(found)
    assert found == Protocol(cdnow.usecase).file
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= set(shop[1].database.get_services())


def test_the_model_says_what_answers(shop: tuple[Served, Client], cdnow: Workspace) -> None:
    model, _ = shop[1].ask("GetModel", {})
    assert (model.tag, model.fingerprint) == (cdnow.champion(), cdnow.usecase.features.fingerprint)
    assert 0 < model.threshold < 1
    assert list(model.decisions) == ["stay", "churn"]


@pytest.mark.parametrize("key", ["é", "客户-1", "🦊", "a b/c%", "x" * 128])
def test_keys_are_any_text(shop: tuple[Served, Client], key: str) -> None:
    answer, _ = shop[1].ask("Predict", {"customer_id": key})
    assert (answer.customer_id, answer.known) == (key, False)


def test_a_trace_goes_on(shop: tuple[Served, Client]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    _, told = shop[1].ask(
        "Predict", {"customer_id": "1"}, metadata=[("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    )
    version, same, parent, flags = told["traceparent"].split("-")
    assert (version, same, flags) == ("00", trace, "01")
    assert parent != "00f067aa0ba902b7"


def test_what_may_be_missing_means_what_the_contract_says(plans: tuple[Served, Client], telco: Workspace) -> None:
    row = sampled(telco, 1)[0]
    zero = {**row, "attributes": {**row["attributes"], "total_charges": 0}}
    left_out = {**row, "attributes": {k: v for k, v in zero["attributes"].items() if k != "total_charges"}}
    assert plans[1].ask("Predict", zero)[0].probability == plans[1].ask("Predict", left_out)[0].probability


def test_every_problem_of_a_row_is_told(plans: tuple[Served, Client], telco: Workspace) -> None:
    row = sampled(telco, 1)[0]
    attributes = {k: v for k, v in row["attributes"].items() if k not in ("tenure", "partner")}
    wrong = {"customer_id": "", "attributes": {**attributes, "gender": "?", "monthly_charges": -1}}
    code, told, problem = plans[1].refused("Predict", wrong)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert problem["title"] == "Not what the contract asks for"
    assert {one["field"] for one in problem["problems"]} == {
        "customer_id", "attributes.gender", "attributes.tenure", "attributes.partner", "attributes.monthly_charges"
    }  # fmt: skip
    assert problem["request_id"] == told["x-request-id"]
    assert "retry-after" not in told


def test_bulk_answers_the_good_rows_and_tells_the_bad_ones(shop: tuple[Served, Client], cdnow: Workspace) -> None:
    route = f"/{shop[1].service}/PredictBulk"
    before = counted(route, "partial", str(cdnow.champion()))
    bulk, _ = shop[1].ask(
        "PredictBulk", {"rows": [{"customer_id": "1"}, {}, {"customer_id": "2"}, {"customer_id": ""}]}
    )
    assert [(one.row, one.customer_id) for one in bulk.predictions] == [(0, "1"), (2, "2")]
    assert [one.row for one in bulk.errors] == [1, 3]
    missing, empty = bulk.errors[0].problems[0], bulk.errors[1].problems[0]
    assert (missing.field, missing.problem, missing.HasField("given")) == ("customer_id", "Field required", False)
    assert empty.given == '""'
    assert counted(route, "partial", str(cdnow.champion())) == before + 1


def test_a_problem_of_ten_thousand_rows_fits_into_the_metadata(plans: tuple[Served, Client]) -> None:
    wrong = {"customer_id": "x", "attributes": {"gender": "é" * 40}}
    code, _, problem = plans[1].refused("PredictBulk", {"rows": [wrong] * 8_000})
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [one["row"] for one in problem["problems"]] == list(range(len(problem["problems"])))
    assert len(problem["problems"]) + problem["left_off"] == 8_000
    assert problem["problems"][0]["problems"]


@given(st.lists(st.text(max_size=3_000) | st.lists(st.text(max_size=900), max_size=20), max_size=30), st.text())
@settings(max_examples=examples(150), deadline=None)
def test_a_shortened_problem_is_json_and_counts_what_it_left_off(given: list[Any], detail: str) -> None:
    problems = [{"row": i, "problems": one} if isinstance(one, list) else one for i, one in enumerate(given)]
    whole: dict[str, Any] = Failed(detail * 50, problems).body("id")
    short = json.loads(shortened(whole))
    assert len(shortened(whole)) <= 5_500
    assert len(short["problems"]) + short.get("left_off", 0) == len(problems)
    for kept, original in zip(short["problems"], whole["problems"], strict=False):
        if isinstance(kept, dict) and "left_off" in kept:
            assert kept["problems"] + original["problems"][len(kept["problems"]) :] == original["problems"]
        else:
            assert kept == original


def test_bytes_that_are_no_message_are_malformed(shop: tuple[Served, Client]) -> None:
    for method in ("Predict", "PredictBulk", "GetModel", "Feedback"):
        with pytest.raises(grpc.RpcError) as raised:
            shop[1].channel.unary_unary(f"/{shop[1].service}/{method}")(b"\xff\xff\xff", timeout=SECONDS)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert json.loads(dict(raised.value.trailing_metadata())[PROBLEM])["title"] == "Malformed body"


def test_a_method_that_is_not_there(shop: tuple[Served, Client]) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        shop[1].channel.unary_unary(f"/{shop[1].service}/Nothing")(b"", timeout=SECONDS)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_too_large_is_refused(cdnow: Workspace) -> None:
    with served(made(cdnow, max_body_bytes=2_000)) as (_, client):
        assert client.refused("Predict", {"customer_id": "x" * 3_000})[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.refused("Predict", {"customer_id": "x" * 1_500})[0] is grpc.StatusCode.INVALID_ARGUMENT
        many = [{"customer_id": "1"}] * 150  # the answer is larger than a request may be
        assert len(client.ask("PredictBulk", {"rows": many})[0].predictions) == 150


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_its_code_and_its_problem(kind: type[RequestError], cdnow: Workspace) -> None:
    core = made(cdnow, Broken)
    core.error = kind("wörds", [{"why": "so"}])  # type: ignore[attr-defined]  # a Broken
    route, model = f"/{Protocol(cdnow.usecase).service}/Predict", str(cdnow.champion())
    before = counted(route, kind.outcome(), model)
    with served(core) as (_, client):
        code, told, problem = client.refused("Predict", {"customer_id": "1"})
    assert code.name == kind.code
    assert problem == kind("wörds", [{"why": "so"}]).body(told["x-request-id"])
    assert told.get("retry-after") == (None if kind.retry_after is None else str(kind.retry_after))
    assert ("grpc-retry-pushback-ms" in told) == (kind.retry_after is not None)
    assert counted(route, kind.outcome(), model) == before + 1


def test_what_nobody_expected_is_told_to_the_log_alone(cdnow: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    core = made(cdnow, Broken)
    core.error = ZeroDivisionError("secret")  # type: ignore[attr-defined]  # a Broken
    logging.getLogger("holdfast").propagate = True
    with served(core) as (_, client):
        code, told, problem = client.refused("Predict", {"customer_id": "1"})
    assert code is grpc.StatusCode.INTERNAL
    assert told["x-request-id"] in problem["detail"]
    assert "secret" not in str(told) + str(problem)
    assert "ZeroDivisionError: secret" in caplog.text
    assert told["x-request-id"] in caplog.text


def test_a_deadline_is_the_cores_and_ends_the_call(cdnow: Workspace) -> None:
    route, model = f"/{Protocol(cdnow.usecase).service}/Predict", str(cdnow.champion())
    before = counted(route, Late.outcome(), model)
    core = made(cdnow, Held)
    assert isinstance(core, Held)
    with served(core) as (_, client):
        call, request = client.method("Predict")
        with pytest.raises(grpc.RpcError) as raised:
            call(request(customer_id="1"), timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert core.left.wait(SECONDS)
        assert core.calls[0].deadline is not None
    assert counted(route, Late.outcome(), model) == before + 1


def test_a_call_whose_client_left_is_given_up(cdnow: Workspace) -> None:
    route, model = f"/{Protocol(cdnow.usecase).service}/Predict", str(cdnow.champion())
    before = counted(route, "cancelled", model)
    core = made(cdnow, Held)
    assert isinstance(core, Held)
    with served(core) as (_, client):
        call, request = client.method("Predict")
        future = call.future(request(customer_id="1"))
        assert core.asked.wait(SECONDS)
        future.cancel()
        assert core.left.wait(SECONDS)
        assert core.calls[0].deadline is None
    assert counted(route, "cancelled", model) == before + 1


def test_health_follows_readiness_and_draining_answers_on(cdnow: Workspace) -> None:
    with served(made(cdnow)) as (server, client):
        assert (client.status(), client.status(client.service)) == ("SERVING", "SERVING")
        with pytest.raises(grpc.RpcError) as raised:
            client.status("nothing")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service=client.service), timeout=SECONDS)
        assert STATUS.Name(next(watch).status) == "SERVING"
        server.run(server.rpc.drain())
        assert STATUS.Name(next(watch).status) == "NOT_SERVING"
        assert (client.status(), client.status(client.service)) == ("NOT_SERVING", "NOT_SERVING")
        assert client.ask("Predict", {"customer_id": "1"})[0].known


def test_health_comes_back_when_the_core_is_ready(cdnow: Workspace) -> None:
    core = made(cdnow)
    core.draining = True
    with served(core) as (_, client):
        watch = client.health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert STATUS.Name(next(watch).status) == "NOT_SERVING"
        core.draining = False
        assert STATUS.Name(next(watch).status) == "SERVING"


def test_a_refused_model_is_not_serving(cdnow: Workspace, tmp_path: Path) -> None:
    name, version = str(cdnow.champion()).split(":")
    broken = shutil.copytree(model_store.path(f"{name}:{version}"), tmp_path / name / version)
    (broken / "decision.json").write_text("{}")
    with served(made(cdnow, directory=broken)) as (_, client):
        assert client.status() == "NOT_SERVING"
        for method, fields in (("Predict", {"customer_id": "1"}), ("GetModel", {})):
            code, told, problem = client.refused(method, fields)
            assert (code, told["retry-after"]) == (grpc.StatusCode.UNAVAILABLE, "5")
            assert "decision.json" in str(problem["problems"])


def test_what_was_accepted_is_answered_though_somebody_watches(cdnow: Workspace) -> None:
    core = made(cdnow, Held)
    assert isinstance(core, Held)
    with served(core) as (server, client), ThreadPoolExecutor() as pool:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert STATUS.Name(next(watch).status) == "SERVING"
        call, request = client.method("Predict")
        future = call.future(request(customer_id="1"))
        assert core.asked.wait(SECONDS)
        stopped = pool.submit(server.run, server.rpc.stop(10 * SECONDS))
        assert [STATUS.Name(one.status) for one in watch] == ["NOT_SERVING"]  # and then it ends
        assert not stopped.done()
        assert core.go is not None
        server.loop.call_soon_threadsafe(core.go.set)
        assert future.result(SECONDS).known
        stopped.result(SECONDS)


def test_a_port_that_is_taken_is_told(shop: tuple[Served, Client], cdnow: Workspace) -> None:
    async def start() -> None:
        await Rpc(made(cdnow, grpc_port=shop[0].port)).start()

    with pytest.raises(SettingsError, match=f"HOLDFAST_GRPC_PORT={shop[0].port}: gRPC cannot listen"):
        shop[0].run(start())


def test_an_old_connection_is_made_anew_without_a_failed_call(cdnow: Workspace) -> None:
    states: list[grpc.ChannelConnectivity] = []
    again = threading.Event()

    def told(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if states.count(grpc.ChannelConnectivity.READY) == 2:
            again.set()

    with served(made(cdnow, max_connection_age_s=1)) as (_, client):
        before = set(threading.enumerate())
        client.channel.subscribe(told)
        watching = set(threading.enumerate()) - before
        asked = 0
        while not again.is_set() and asked < 100_000:
            assert client.ask("Predict", {"customer_id": "1"})[0].known
            asked += 1
        client.channel.unsubscribe(told)
        for thread in watching:  # it would fail where the channel is closed while it looks
            thread.join(60)
    assert again.is_set()
