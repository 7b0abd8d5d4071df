"""What each server is asked: requests of the workload's rows in its own words, with the answers that are right."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks import wire
from benchmarks.plan import BODY, Request
from benchmarks.usecases.twenty import NAMES, USECASE
from benchmarks.workload import Workload
from serving.inference_messages import classes
from serving.proto import Protocol

PREDICT, V2 = "/v1/predict", "/v2/models/twenty/infer"
GRPC_V2 = "/inference.GRPCInferenceService/ModelInfer"
_MESSAGES = classes()


def one(load: Workload, rows: slice) -> Request:
    """Ours, one row."""
    return post(PREDICT, _rows(load, rows)[0], where=("probability",), **_calibrated(load, rows))


def rows(load: Workload, rows: slice) -> Request:
    """Ours, many rows."""
    return _bulk({"rows": _rows(load, rows)}, load, rows)


def columns(load: Workload, rows: slice) -> Request:
    """Ours, the same as columns."""
    given = _rows(load, rows)
    attributes = dict(zip(NAMES, load.rows[rows].T.tolist(), strict=True))
    keys = [row["customer_id"] for row in given]
    return _bulk({"columns": {"customer_id": keys, "attributes": attributes}}, load, rows)


def typed(load: Workload, rows: slice) -> Request:
    """Ours over gRPC, one row."""
    protocol = Protocol(USECASE)
    message = protocol.message("PredictRequest")(**_rows(load, rows)[0])
    return Request(message.SerializeToString(), f"/{protocol.service}/Predict", where=BODY, **_calibrated(load, rows))


def oip(load: Workload, rows: slice) -> Request:
    """Ours by the Open Inference Protocol, JSON: a tensor per field, as the other three."""
    inputs = [_tensor(name, "FP64", data) for name, data in zip(NAMES, load.rows[rows].T.tolist(), strict=True)]
    inputs.append(_tensor("customer_id", "BYTES", _keys(rows)))
    return post(V2, {"inputs": inputs}, where=("outputs", 0, "data", "*"), **_calibrated(load, rows))


def oip_binary(load: Workload, rows: slice) -> Request:
    """The same with its tensors as bytes behind the JSON, and the outputs likewise."""
    raws = _raws(load, rows)
    inputs = [_tensor(name, "FP64" if name in NAMES else "BYTES", size=len(raw)) for name, raw in raws.items()]
    for tensor in inputs:
        tensor["shape"] = [rows.stop - rows.start]
    body = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}, separators=(",", ":")).encode()
    headers = f"content-type: application/octet-stream\r\ninference-header-content-length: {len(body)}\r\n"
    return posted(V2, headers, b"".join([body, *raws.values()]), where=BODY, **_calibrated(load, rows))


def oip_raw(load: Workload, rows: slice) -> Request:
    """The same over gRPC, its tensors as bytes."""
    raws, n = _raws(load, rows), rows.stop - rows.start
    tensors = [{"name": name, "datatype": "FP64" if name in NAMES else "BYTES", "shape": [n]} for name in raws]
    asked = _MESSAGES["ModelInferRequest"](model_name="twenty", inputs=tensors, raw_input_contents=raws.values())
    return Request(asked.SerializeToString(), GRPC_V2, where=BODY, **_calibrated(load, rows))


def oip_contents(load: Workload, rows: slice) -> Request:
    """The same with typed contents."""
    n = rows.stop - rows.start
    key = {"name": "customer_id", "datatype": "BYTES", "shape": [n]}
    inputs: list[dict[str, Any]] = [{**key, "contents": {"bytes_contents": [k.encode() for k in _keys(rows)]}}]
    for name, data in zip(NAMES, load.rows[rows].T.tolist(), strict=True):
        inputs.append({"name": name, "datatype": "FP64", "shape": [n], "contents": {"fp64_contents": data}})
    asked = _MESSAGES["ModelInferRequest"](model_name="twenty", inputs=inputs)
    return Request(asked.SerializeToString(), GRPC_V2, where=BODY, **_calibrated(load, rows))


def v2(load: Workload, rows: slice) -> Request:
    """The Open Inference Protocol over HTTP, of servers that take a matrix."""
    numbers = load.rows[rows]
    tensor = {"name": "x", "shape": list(numbers.shape), "datatype": "FP32", "data": numbers.ravel().tolist()}
    return post(V2, {"inputs": [tensor]}, where=("outputs", 0, "data", "*"), **_raw(load, rows))


def v2_grpc(load: Workload, rows: slice) -> Request:
    """The same over gRPC."""
    message = wire.infer("twenty", load.rows[rows].astype(np.float32))
    return Request(message, GRPC_V2, where=BODY, **_raw(load, rows))


def array(load: Workload, rows: slice) -> Request:
    """BentoML's array."""
    return post("/predict", {"rows": load.rows[rows].tolist()}, where=("*",), **_raw(load, rows))


def article_one(load: Workload, rows: slice) -> Request:
    """The article's: its features by name."""
    return post("/predict", _named(load, rows)[0], where=("probability",), **_raw(load, rows))


def article_rows(load: Workload, rows: slice) -> Request:
    """Many of them."""
    return post("/predict_many", {"rows": _named(load, rows)}, where=("probabilities", "*"), **_raw(load, rows))


def lean_rows(load: Workload, rows: slice) -> Request:
    """The lean server's: rows without names."""
    where = ("probabilities", "*")
    return post("/predict_many", {"rows": load.rows[rows].tolist()}, where=where, **_raw(load, rows))


def constant(load: Workload, rows: slice) -> Request:
    """As the article's, of a server that always answers the same."""
    return post("/", _named(load, rows)[0], where=("probability",), expected=(0.5,))


def post(path: str, body: Any, **answer: Any) -> Request:
    """An HTTP request with a JSON body, as bytes."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return posted(path, "content-type: application/json\r\n", content, **answer)


def posted(path: str, headers: str, content: bytes, **answer: Any) -> Request:
    """An HTTP request with any body, and headers that say what it is."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {len(content)}\r\n\r\n"
    return Request(head.encode() + content, **answer)


def _tensor(name: str, datatype: str, data: list[Any] | None = None, size: int | None = None) -> dict[str, Any]:
    if data is None:
        return {"name": name, "datatype": datatype, "parameters": {"binary_data_size": size}}
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _raws(load: Workload, rows: slice) -> dict[str, bytes]:
    """The tensors as bytes."""
    keys = b"".join(len(key).to_bytes(4, "little") + key.encode() for key in _keys(rows))
    return {"customer_id": keys, **{name: load.rows[rows, place].tobytes() for place, name in enumerate(NAMES)}}


def _keys(rows: slice) -> list[str]:
    return [f"c{place}" for place in range(rows.start, rows.stop)]


def _bulk(body: Any, load: Workload, rows: slice) -> Request:
    return post(f"{PREDICT}/bulk", body, where=("predictions", "*", "probability"), **_calibrated(load, rows))


def _named(load: Workload, rows: slice) -> list[dict[str, float]]:
    return [dict(zip(NAMES, numbers, strict=True)) for numbers in load.rows[rows].tolist()]


def _rows(load: Workload, rows: slice) -> list[dict[str, Any]]:
    named = enumerate(_named(load, rows), start=rows.start)
    return [{"customer_id": f"c{place}", "attributes": numbers} for place, numbers in named]


def _calibrated(load: Workload, rows: slice) -> dict[str, Any]:
    return {"expected": tuple(load.probability[rows].tolist()), "bits": 64}


def _raw(load: Workload, rows: slice) -> dict[str, Any]:
    return {"expected": tuple(map(float, load.raw[rows])), "bits": 32}
