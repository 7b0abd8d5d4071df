"""The Open Inference Protocol, by a real server: the same bits as by every other way, its errors, and stock clients."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from msgspec.structs import asdict

from benchmarks.contenders import environment
from cli.server import Server, serve
from model import store
from model.predictions.reading import Directory
from serving.call import Call
from serving.core import Core
from serving.datatypes import Tensor, datatype
from serving.inference_messages import SERVICE, classes
from serving.oip import Inference
from serving.proto import Protocol
from serving.rpc import PROBLEM
from settings import Settings
from tests.serving.kinds import COLUMNS, DIRECTORY, rows, trained
from tests.serving.kinds.kinds import USECASE

ROOT = Path(__file__).parents[2]
INFER = "/v2/models/kinds/infer"
MESSAGES = classes()
ROWS = rows(150)
CODES = {"FP64": "<f8", "INT64": "<i8", "BOOL": "|b1"}
MISSING: dict[str, Any] = {"FP64": math.nan, "BYTES": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `kinds`."""
    root = tmp_path_factory.mktemp("kinds")
    environ = {"HOLDFAST_MODEL": trained(root), "HOLDFAST_USECASE": "kinds", "HOLDFAST_USECASES": str(DIRECTORY)}
    with serve({**environ, "HOLDFAST_HOME": str(root)}, log=root / "log") as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of it."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def call(server: Server) -> Iterator[Callable[..., Any]]:
    """Asks it over gRPC: a method's name, and the fields of its request."""
    with grpc.insecure_channel(server.grpc) as channel:

        def ask(method: str, **fields: Any) -> Any:
            request, response = MESSAGES[f"{method}Request"], MESSAGES[f"{method}Response"]
            path = f"/{SERVICE}/{method}"
            multi = channel.unary_unary(path, request.SerializeToString, response_deserializer=response.FromString)
            return multi(request(**fields), timeout=30)

        yield ask


def column(name: str, asked: list[dict[str, Any]]) -> tuple[str, list[Any]]:
    """A tensor's datatype and elements, where a missing one is as the tensor itself says it."""
    if name == "who":
        return "BYTES", [row["who"] for row in asked]
    kind = datatype(COLUMNS[name])
    values = (row["attributes"][name] for row in asked)
    return kind, [MISSING[kind] if value is None else value for value in values]


def as_json(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """A request in JSON, with null for what is missing."""
    inputs = []
    for name in ["who", *COLUMNS]:
        data = [row["who"] if name == "who" else row["attributes"][name] for row in asked]
        kind = column(name, asked)[0]
        if kind == "FP64":
            data = [None if value is None else float(value) for value in data]
        inputs.append({"name": name, "datatype": kind, "shape": [len(asked)], "data": data})
    return {"inputs": inputs}


def as_bytes(asked: list[dict[str, Any]]) -> dict[str, tuple[str, bytes]]:
    """The tensors' datatypes and raw bytes."""
    made = {}
    for name in ["who", *COLUMNS]:
        kind, values = column(name, asked)
        if kind == "BYTES":
            coded = [value.encode() for value in values]
            made[name] = kind, b"".join(len(one).to_bytes(4, "little") + one for one in coded)
        else:
            made[name] = kind, np.array(values, dtype=CODES[kind]).tobytes()
    return made


def binary(asked: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The same as httpx sends it with its tensors as bytes."""
    raws = as_bytes(asked)
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(asked)], "parameters": {"binary_data_size": len(raw)}}
        for name, (kind, raw) in raws.items()
    ]
    head = json.dumps({"inputs": inputs, **more}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return {"content": b"".join([head, *(raw for _, raw in raws.values())]), "headers": headers}


def raw(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """The same over gRPC with raw contents."""
    raws = as_bytes(asked)
    inputs = [{"name": name, "datatype": kind, "shape": [len(asked)]} for name, (kind, _) in raws.items()]
    return {"model_name": "kinds", "inputs": inputs, "raw_input_contents": [raw for _, raw in raws.values()]}


def contents(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """The same with typed contents."""
    field = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
    inputs = []
    for name in ["who", *COLUMNS]:
        kind, values = column(name, asked)
        data = [value.encode() for value in values] if kind == "BYTES" else values
        inputs.append({"name": name, "datatype": kind, "shape": [len(asked), 1], "contents": {field[kind]: data}})
    return {"model_name": "kinds", "inputs": inputs}


def outputs(answer: Any) -> dict[str, list[Any]]:
    """Output tensors of a JSON body."""
    return {one["name"]: one["data"] for one in answer["outputs"]}


def test_every_way_gives_the_same_bits(server: Server, http: httpx.Client, call: Callable[..., Any]) -> None:
    told = http.post("/v1/predict/bulk", json={"rows": ROWS}).json()
    assert not told["errors"]
    probability = [one["probability"] for one in told["predictions"]]
    decision = [one["decision"] for one in told["predictions"]]
    assert len(set(probability)) > 100
    assert len(set(decision)) == 2
    right = {"probability": probability, "decision": decision, "known": [True] * len(ROWS)}

    answer = http.post(INFER, json=as_json(ROWS))
    assert answer.status_code == 200, answer.text
    assert outputs(answer.json()) == right

    answer = http.post(INFER, **binary(ROWS))
    assert outputs(answer.json()) == right
    answer = http.post(INFER, **binary(ROWS, parameters={"binary_data_output": True}))
    at = int(answer.headers["inference-header-content-length"])
    head, body = json.loads(answer.content[:at]), answer.content[at:]
    sizes = [one["parameters"]["binary_data_size"] for one in head["outputs"]]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert sum(sizes) == len(body)
    assert np.frombuffer(body[: sizes[0]], "<f8").tolist() == probability
    assert _texts(body[sizes[0] : -sizes[2]]) == decision
    assert body[-sizes[2] :] == b"\1" * len(ROWS)

    found = call("ModelInfer", **raw(ROWS))
    assert [one.name for one in found.outputs] == ["probability", "decision", "known"]
    assert np.frombuffer(found.raw_output_contents[0], "<f8").tolist() == probability
    assert _texts(found.raw_output_contents[1]) == decision
    found = call("ModelInfer", **contents(ROWS))
    assert list(found.outputs[0].contents.fp64_contents) == probability
    assert [one.decode() for one in found.outputs[1].contents.bytes_contents] == decision
    assert list(found.outputs[2].contents.bool_contents) == right["known"]
    assert not found.raw_output_contents

    protocol = Protocol(USECASE)
    asked, answers = protocol.message("PredictBulkRequest"), protocol.message("PredictBulkResponse")
    with grpc.insecure_channel(server.grpc) as channel:
        typed = channel.unary_unary(f"/{protocol.service}/PredictBulk", asked.SerializeToString, answers.FromString)
        message = typed(asked(rows=ROWS), timeout=30)
    assert [one.probability for one in message.predictions] == probability

    for row, value in zip(ROWS[:5], probability, strict=False):
        assert outputs(http.post(INFER, json=as_json([row])).json())["probability"] == [value]
        assert np.frombuffer(call("ModelInfer", **raw([row])).raw_output_contents[0], "<f8").tolist() == [value]


def _texts(data: bytes) -> list[str]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found


def test_an_answer_says_what_it_is_of(http: httpx.Client, call: Callable[..., Any]) -> None:
    version = http.get("/v1/models").json()["models"][0]["name"].partition(":")[2]
    named = [{"name": "prediction_id"}, {"name": "who"}]
    path = f"/v2/models/kinds/versions/{version}/infer"
    answer = http.post(path, json={**as_json(ROWS[:3]), "id": "mine", "outputs": named}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("kinds", version, "mine")
    told = answer["parameters"]
    assert outputs(answer) == {
        "prediction_id": [f"{told['prediction_id']}-{place}" for place in range(3)],
        "who": [row["who"] for row in ROWS[:3]],
    }
    assert [one["shape"] for one in answer["outputs"]] == [[3], [3]]
    single = http.post("/v1/predict", json=ROWS[0]).json()
    assert {name: told[name] for name in ("threshold", "fingerprint", "degraded")} == {
        name: single[name] for name in ("threshold", "fingerprint", "degraded")
    }
    assert set(told) == {"threshold", "fingerprint", "degraded", "as_of", "prediction_id"}
    found = call("ModelInfer", model_version=version, id="mine", outputs=named, **raw(ROWS[:3]))
    assert (found.model_name, found.model_version, found.id) == ("kinds", version, "mine")
    assert found.parameters["threshold"].double_param == told["threshold"]
    assert found.parameters["fingerprint"].string_param == told["fingerprint"]
    assert found.parameters["degraded"].WhichOneof("parameter_choice") == "bool_param"
    assert _texts(found.raw_output_contents[1]) == [row["who"] for row in ROWS[:3]]
    unnamed = http.post(INFER, json=as_json(ROWS[:1]), headers={"x-request-id": "header"}).json()
    assert unnamed["id"] == "header"


def test_the_metadata_say_the_tensors_and_what_is_missing(http: httpx.Client, call: Callable[..., Any]) -> None:
    told = http.get("/v2/models/kinds").json()
    assert told["name"] == "kinds"
    assert "NaN of FP64" in told["parameters"]["missing"]
    inputs = {one["name"]: (one["datatype"], one["parameters"].get("missing")) for one in told["inputs"]}
    assert inputs == {
        "who": ("BYTES", None),
        "count": ("INT64", None),
        "paid": ("INT64", None),
        "whole": ("INT64", None),
        "ratio": ("FP64", None),
        "flag": ("BOOL", None),
        "level": ("BYTES", None),
        "maybe_count": ("FP64", "NaN"),
        "maybe_paid": ("FP64", "NaN"),
        "maybe_ratio": ("FP64", "NaN"),
        "maybe_flag": ("FP64", "NaN"),
        "maybe_level": ("BYTES", "empty"),
        "blank_count": ("FP64", "NaN"),
        "blank_ratio": ("FP64", "NaN"),
        "blank_flag": ("FP64", "NaN"),
        "blank_level": ("BYTES", "empty"),
    }
    parameters = {one["name"]: one["parameters"] for one in told["inputs"]}
    assert parameters["blank_count"]["missing_means"] == 7
    assert parameters["count"] == {"kind": "integer", "minimum": -3, "maximum": 700}
    assert parameters["level"]["levels"] == "low, high, One year"
    assert {one["name"]: one["datatype"] for one in told["outputs"]} == {
        "probability": "FP64", "decision": "BYTES", "known": "BOOL", "who": "BYTES", "prediction_id": "BYTES",
    }  # fmt: skip
    found = call("ModelMetadata", name="kinds", version=told["versions"][0])
    assert [(one.name, one.datatype, list(one.shape)) for one in found.inputs] == [
        (one["name"], one["datatype"], one["shape"]) for one in told["inputs"]
    ]
    assert found.parameters["missing"].string_param == told["parameters"]["missing"]
    assert found.inputs[7].parameters["missing"].string_param == "NaN"
    assert http.get(f"/v2/models/kinds/versions/{told['versions'][0]}").json() == told


def test_the_server_lives_and_is_ready(http: httpx.Client, call: Callable[..., Any]) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/kinds/ready").json() == {"name": "kinds", "ready": True}
    assert http.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="kinds").ready
    assert call("ServerMetadata").name == "holdfast"


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/kinds/versions/1", "/v2/models/kinds/versions/1/ready"]
)
def test_there_is_one_model_of_one_version(path: str, http: httpx.Client) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == answer.json()["detail"]
    assert "here is 'kinds', version '20" in answer.json()["error"]


def test_what_the_protocol_has_and_this_server_has_not_is_told_in_its_words(http: httpx.Client) -> None:
    answer = http.get("/v2/repository/index")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].startswith("there is no /v2/repository/index;")


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata"])
def test_nor_is_there_another_over_grpc(method: str, call: Callable[..., Any]) -> None:
    for fields in ({"name": "other"}, {"name": "kinds", "version": "1"}):
        with pytest.raises(grpc.RpcError) as caught:
            call(method, **fields)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_all_rows_are_answered_or_none(http: httpx.Client, call: Callable[..., Any]) -> None:
    bad = rows(4)
    bad[2]["attributes"]["count"] = 701
    answer = http.post(INFER, json=as_json(bad))
    assert answer.status_code == 422
    assert "1 of the 4 rows were not accepted" in answer.json()["error"]
    problem = {"field": "count", "problem": "Input should be less than or equal to 700", "given": 701}
    assert answer.json()["problems"] == [{"row": 2, "problems": [problem]}]
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", **raw(bad))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = json.loads(dict(caught.value.trailing_metadata())[PROBLEM])
    assert told["problems"] == answer.json()["problems"]


def _nested(asked: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": [{**one, "shape": [3, 1], "data": [[value] for value in one["data"]]} for one in asked["inputs"]]}


def test_what_clients_write_differently_is_the_same(http: httpx.Client) -> None:
    plain = as_json(ROWS[:3])
    right = outputs(http.post(INFER, json=plain).json())
    assert outputs(http.post(INFER, json=_nested(plain)).json()) == right
    assert outputs(http.post(INFER, json={**plain, "model_name": "kinds", "parameters": {"own": [1]}}).json()) == right
    nan = json.dumps(plain).replace("null", "NaN")
    text = {one["name"]: one for one in json.loads(nan)["inputs"]}
    for name in ("maybe_level", "blank_level"):  # NaN is no text
        text[name]["data"] = ["" if value != value else value for value in text[name]["data"]]
    assert outputs(http.post(INFER, content=json.dumps({"inputs": list(text.values())})).json()) == right


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"content": b"{"}, 400, "the body is no JSON"),
        ({"content": b"[]"}, 422, "Expected `object`, got `array`"),
        ({"json": {}}, 422, "missing required field `inputs`"),
        ({"json": {"inputs": []}}, 422, "the inputs are not those of the model"),
        ({"json": {"inputs": [{"name": 1}]}}, 422, "Expected `str`, got `int` - at `$.inputs[0].name`"),
        ({"json": {"inputs": [{"name": "who", "datatype": "BYTES", "shape": [1]}]}}, 422, "has either `data` or"),
        (
            {"json": {**as_json(ROWS[:1]), "outputs": [{"name": "nothing"}]}},
            422,
            "the outputs are probability, decision",
        ),
        ({"json": {**as_json(ROWS[:1]), "outputs": [{"name": "known"}] * 2}}, 422, "each at most once"),
        (
            {"json": as_json(ROWS[:1]), "headers": {"inference-header-content-length": "-1"}},
            400,
            "is '-1'; the body has",
        ),
        ({"json": as_json(ROWS[:1]), "headers": {"inference-header-content-length": "9" * 18}}, 400, "the body has"),
        ({"json": as_json(ROWS[:1]), "headers": {"inference-header-content-length": "5"}}, 400, "the body is no JSON"),
        ({"json": as_json(ROWS[:1]), "headers": {"content-type": "text/plain"}}, 415, "or application/octet-stream"),
    ],
)
def test_what_is_no_request(change: Any, status: int, said: str, http: httpx.Client) -> None:
    answer = http.post(INFER, **change)
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (10**18, "has binary_data_size 1000000000000000000, and"),
        (-1, "has binary_data_size -1, and"),
        (0, "bytes behind the JSON belong to no input's binary_data_size"),
    ],
)
def test_bytes_belong_to_tensors(size: int, said: str, http: httpx.Client) -> None:
    asked = binary(ROWS[:2])
    at = int(asked["headers"]["inference-header-content-length"])
    head, body = json.loads(asked["content"][:at]), asked["content"][at:]
    head["inputs"][0]["parameters"]["binary_data_size"] = size
    coded = json.dumps(head).encode()
    headers = {**asked["headers"], "inference-header-content-length": str(len(coded))}
    answer = http.post(INFER, content=coded + body, headers=headers)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"raw_input_contents": [b""]}, "1 raw_input_contents for 16 inputs"),
        ({"outputs": [{"name": "nothing"}]}, "the outputs are"),
        ({"model_name": "other"}, "there is no model 'other'"),
        ({"inputs": []}, "16 raw_input_contents for 0 inputs"),
    ],
)
def test_what_is_no_request_over_grpc(change: dict[str, Any], said: str, call: Callable[..., Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", **{**raw(ROWS[:2]), **change})
    assert said in caught.value.details()


def test_contents_are_where_the_datatype_has_them(call: Callable[..., Any]) -> None:
    for kind, field, said in (
        ("FP64", "fp32_contents", "input 'ratio' has fp32_contents; elements of FP64 are in fp64_contents"),
        ("FP16", "fp32_contents", "FP16 can only be raw"),
        ("FLOAT", "fp32_contents", "'FLOAT' is no datatype"),
    ):
        asked = contents(ROWS[:1])
        place = [one["name"] for one in asked["inputs"]].index("ratio")
        asked["inputs"][place] |= {"datatype": kind, "contents": {field: [0.5]}}
        with pytest.raises(grpc.RpcError) as caught:
            call("ModelInfer", **asked)
        assert said in caught.value.details()


@pytest.mark.parametrize("program", ["oip_triton", "oip_kserve"])
def test_stock_clients_get_the_same_bits(program: str, server: Server, http: httpx.Client, tmp_path: Path) -> None:
    asked, answers = tmp_path / "rows.json", tmp_path / "answers.json"
    asked.write_text(json.dumps(ROWS))
    peers = ROOT / "tests" / "peers"
    python = environment("clients", ROOT / "var" / "tests", peers) / "python"
    command = [
        python,
        peers / f"{program}.py",
        server.url.removeprefix("http://"),
        server.grpc,
        "kinds",
        asked,
        answers,
    ]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = http.post("/v1/predict/bulk", json={"rows": ROWS}).json()["predictions"]
    found = json.loads(answers.read_text())
    assert all("here is 'kinds'" in error for error in found.pop("errors"))
    assert len(found) == 4
    for client, output in found.items():
        assert output["probability"] == [one["probability"] for one in told], client
        assert output["decision"] == [one["decision"] for one in told], client
        assert output["known"] == [one["known"] for one in told], client


def test_the_log_says_of_tensors_what_it_says_of_rows(tmp_path: Path) -> None:
    tag = trained(tmp_path)
    logged: dict[str, float] = {}
    for share in (1.0, 0.5):
        home = tmp_path / str(share)
        core = Core(
            USECASE, store.path(tag), Settings(home=home, predictions_sample=share, max_batch_size=64, grpc_port=0)
        )

        async def ask(core: Core = core) -> None:
            for row in ROWS:
                await core.predict(core.decoder.single(row), Call.begin("rows"))
            inference, call = Inference(core), Call.begin("arrays")
            given = [Tensor(n, kind, [len(ROWS)], raw) for n, (kind, raw) in as_bytes(ROWS).items()]
            scored = await core.scored(inference.tensors.rows(given), call)
            inferred = inference.inferred(scored, ["prediction_id", "probability"], call)
            logged.update(zip(*(one.plain() for one in inferred.outputs), strict=True))
            few = [Tensor(n, kind, [3], raw) for n, (kind, raw) in as_bytes(ROWS[:3]).items()]
            await core.scored(inference.tensors.rows(few), Call.begin("few"))
            await core.close(10)

        asyncio.run(ask())
        found: dict[str, list[Any]] = {"rows": [], "arrays": [], "few": []}
        for one in Directory(home / "kinds" / "predictions", "kinds").between():
            found[one.route].append(one)
        own = ("prediction_id", "request_id", "route", "answered_at", "request_time", "as_of", "latency_us")
        plain = {
            name: [repr({key: value for key, value in asdict(one).items() if key not in own}) for one in of]
            for name, of in found.items()
        }
        assert plain["arrays"] == plain["rows"]
        assert plain["few"] == plain["rows"][: len(plain["few"])]
        assert len(plain["arrays"]) == len(ROWS) if share == 1 else 0 < len(plain["arrays"]) < len(ROWS)
        assert {one.prediction_id: one.probability for one in found["arrays"]}.items() <= logged.items()
