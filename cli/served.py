"""Every way of asking a running server for many rows, as clients do: by HTTP and gRPC, as rows and as tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import numpy as np

from cli.server import Server
from features.contract import Column
from serving.datatypes import SOURCES, datatype
from serving.inference_messages import SERVICE, classes
from serving.proto import Protocol
from settings import HoldfastError
from usecases import UseCase

Rows = Sequence[Mapping[str, Any]]
"""Rows as /v1 takes them."""
Ask = Callable[[Rows], list[float]]
"""Their probabilities."""
SECONDS = 60
CONTENTS = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
_MISSING: dict[str, Any] = {"FP64": math.nan, "BYTES": ""}


class Refused(HoldfastError):
    """The server did not answer every row."""


@contextmanager
def ways(usecase: UseCase, server: Server) -> Iterator[dict[str, Ask]]:
    """How it can be asked, by name. Each raises Refused where a row has no answer."""
    with (
        httpx.Client(base_url=server.url, timeout=SECONDS) as client,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        http, rpc = _Http(usecase, client), _Grpc(usecase, channel)
        yield {
            "HTTP bulk": http.bulk,
            "gRPC bulk": rpc.bulk,
            "OIP REST, JSON": http.tensors,
            "OIP REST, binary": http.binary,
            "OIP gRPC, raw": rpc.raw,
            "OIP gRPC, contents": rpc.contents,
        }


class _Http:
    def __init__(self, usecase: UseCase, client: httpx.Client) -> None:
        self.usecase, self.client = usecase, client
        self.infer = f"/v2/models/{usecase.name}/infer"

    def bulk(self, rows: Rows) -> list[float]:
        told = self._told("/v1/predict/bulk", json={"rows": rows}).json()
        if told["errors"]:
            raise Refused(json.dumps(told["errors"][0]))
        return [one["probability"] for one in told["predictions"]]

    def tensors(self, rows: Rows) -> list[float]:
        inputs = [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": data}
            for name, kind, data in _columns(self.usecase, rows, dict.fromkeys(_MISSING))
        ]
        told = self._told(self.infer, json={"inputs": inputs, "outputs": [{"name": "probability"}]}).json()
        return list(told["outputs"][0]["data"])

    def binary(self, rows: Rows) -> list[float]:
        raws = [(name, kind, _raw(kind, data)) for name, kind, data in _columns(self.usecase, rows)]
        inputs = [
            {"name": name, "datatype": kind, "shape": [len(rows)], "parameters": {"binary_data_size": len(raw)}}
            for name, kind, raw in raws
        ]
        outputs = [{"name": "probability", "parameters": {"binary_data": True}}]
        head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        answer = self._told(
            self.infer,
            content=b"".join([head, *(raw for *_, raw in raws)]),
            headers={
                "content-type": "application/octet-stream",
                "inference-header-content-length": str(len(head)),
            },
        )
        return _doubles(answer.content[int(answer.headers["inference-header-content-length"]) :])

    def _told(self, path: str, **asked: Any) -> httpx.Response:
        answer = self.client.post(path, **asked)
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code} {answer.text[:500]}")
        return answer


class _Grpc:
    def __init__(self, usecase: UseCase, channel: grpc.Channel) -> None:
        self.usecase = usecase
        protocol, messages = Protocol(usecase), classes()
        self._bulk, bulk = protocol.message("PredictBulkRequest"), protocol.message("PredictBulkResponse")
        self._infer, infer = messages["ModelInferRequest"], messages["ModelInferResponse"]
        self._calls = {
            self._bulk: channel.unary_unary(
                f"/{protocol.service}/PredictBulk", self._bulk.SerializeToString, bulk.FromString
            ),
            self._infer: channel.unary_unary(f"/{SERVICE}/ModelInfer", self._infer.SerializeToString, infer.FromString),
        }

    def bulk(self, rows: Rows) -> list[float]:
        told = self._told(self._bulk, rows=rows)
        if told.errors:
            raise Refused(str(told.errors[0]))
        return [one.probability for one in told.predictions]

    def raw(self, rows: Rows) -> list[float]:
        own = list(_columns(self.usecase, rows))
        inputs = [{"name": name, "datatype": kind, "shape": [len(rows)]} for name, kind, _ in own]
        told = self._asked(inputs, raw_input_contents=[_raw(kind, data) for _, kind, data in own])
        return _doubles(told.raw_output_contents[0])

    def contents(self, rows: Rows) -> list[float]:
        inputs = [
            {
                "name": name,
                "datatype": kind,
                "shape": [len(rows)],
                "contents": {CONTENTS[kind]: [text.encode() for text in data] if kind == "BYTES" else data},
            }
            for name, kind, data in _columns(self.usecase, rows)
        ]
        return list(self._asked(inputs).outputs[0].contents.fp64_contents)

    def _asked(self, inputs: list[dict[str, Any]], **more: Any) -> Any:
        outputs = [{"name": "probability"}]
        return self._told(self._infer, model_name=self.usecase.name, inputs=inputs, outputs=outputs, **more)

    def _told(self, kind: Any, **fields: Any) -> Any:
        try:
            return self._calls[kind](kind(**fields), timeout=SECONDS)
        except grpc.RpcError as error:
            raise Refused(str(error)) from None


def _columns(
    usecase: UseCase, rows: Rows, missing: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, str, list[Any]]]:
    """Name, datatype and elements of every tensor; `missing` is what a missing element is of a datatype."""
    instead = _MISSING if missing is None else missing
    yield usecase.key, "BYTES", [row[usecase.key] for row in rows]
    for field in usecase.features.fields.values():
        kind = datatype(field)
        values = (row["attributes"][field.name] for row in rows)
        yield (
            field.name,
            kind,
            [instead.get(kind) if value is None else _element(field, kind, value) for value in values],
        )


def _element(field: Column, kind: str, value: Any) -> Any:
    """A value as its datatype has it: a number or a flag that may be missing is a float."""
    return float(value) if kind == "FP64" else bool(value) if field.kind == "flag" else value


def _raw(kind: str, data: list[Any]) -> bytes:
    """Elements as bytes."""
    if kind != "BYTES":
        return np.array(data, dtype=SOURCES[kind]).tobytes()
    coded = [text.encode() for text in data]
    return b"".join(len(one).to_bytes(4, "little") + one for one in coded)


def _doubles(data: bytes) -> list[float]:
    found: list[float] = np.frombuffer(data, "<f8").tolist()
    return found
