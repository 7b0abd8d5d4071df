"""`python -m benchmarks.fuzz`: a hundred thousand hostile messages to a real server, over HTTP, gRPC and below both.

benchmarks/hostile.py and hostile_calls.py make them of valid requests of every route of /docs.json, of the Open
Inference Protocol, and of every method that reflection tells of. None may be answered with 5xx, INTERNAL, UNKNOWN or
UNAVAILABLE, every well-framed one is answered, no traceback is in the log, the processes and their memory stay the
same, probes are answered all the while, and what was answered before is answered after, to the bit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from benchmarks.hostile import Hostile, Request, Sent
from benchmarks.hostile_calls import HostileCalls
from benchmarks.processes import Process
from cli.console import Out
from cli.server import Server, serve

MESSAGES, SEED, CLIENTS = 100_000, 1, 40
OF_GRPC, OF_HTTP2 = 0.25, 0.03
"""Shares of gRPC calls and of bytes for the gRPC port; the rest is HTTP."""
WARM = 0.3
"""Share of the messages after which memory is first looked at."""
GROWTH, SLACK = 1.10, 20.0
"""What memory may have grown by then: so many times, and MiB beside."""
PATIENCE, GLANCE = 15.0, 0.03
"""Seconds that an answer may take; and that one is waited for where nobody knows whether there will be one."""
LIMITS = {"HOLDFAST_MAX_HEAD_MS": "1000", "HOLDFAST_MAX_BODY_MS": "1000"}
GONE = re.compile(
    r'Traceback \(most recent call last\):\n(?:  File "src/python/grpcio/.*\n)+'
    r"grpc\._cython\.cygrpc\.ExecuteBatchError: .*\n"
)
"""What grpcio itself prints, past every logger, when it tells a client of an error that has left meanwhile; counted."""
WRONG = ("INTERNAL", "UNKNOWN", "UNAVAILABLE")


@dataclass
class Book:
    """What came of the messages. `wrong`: those that were answered as none may be, with the answer."""

    http: Counter[str] = field(default_factory=Counter)
    grpc: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    probes: int = 0

    def note(self, what: str, sent: object) -> None:
        """Keep the first of them."""
        if len(self.wrong) < 50:
            self.wrong.append(f"{what} <- {repr(sent)[:1_500]}")


def requests(url: str) -> list[Request]:
    """Valid requests of every route that the document and the Open Inference Protocol have."""
    document = httpx.get(f"{url}/docs.json").json()
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
            for example in bodies.values():
                found += [Request(method.upper(), path, json.dumps(example["value"]).encode())] * 3
            if not bodies and "{" not in path:
                found.append(Request(method.upper(), path, b""))
    row = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]["1"]
    return found + list(inference(url, row["value"]))


def inference(url: str, row: dict[str, Any]) -> Iterator[Request]:
    """The same of the Open Inference Protocol: tensors as JSON, and as bytes behind it."""
    name = httpx.get(f"{url}/v1/models").json()["models"][0]["usecase"]
    yield from (Request("GET", path, b"") for path in ("/v2", "/v2/health/ready", f"/v2/models/{name}"))
    told = tensors(url, name, row)
    plain = json.dumps({"inputs": told}).encode()
    yield from [Request("POST", f"/v2/models/{name}/infer", plain)] * 3
    raws = [packed(one["datatype"], one["data"]) for one in told]
    shapes = [
        {k: v for k, v in one.items() if k != "data"} | {"parameters": {"binary_data_size": len(raw)}}
        for one, raw in zip(told, raws, strict=True)
    ]
    head = json.dumps({"inputs": shapes, "parameters": {"binary_data_output": True}}).encode()
    length = ("inference-header-content-length", str(len(head)))
    binary = Request("POST", f"/v2/models/{name}/infer", head + b"".join(raws), (length,))
    yield from [binary] * 4


def tensors(url: str, name: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row as tensors of the protocol, by the model's own metadata."""
    values = {**row, **row.get("attributes", {})}
    told = httpx.get(f"{url}/v2/models/{name}").json()["inputs"]
    return [
        {"name": one["name"], "datatype": one["datatype"], "shape": [1], "data": [values[one["name"]]]}
        for one in told
        if one["name"] in values
    ]


def packed(datatype: str, data: list[Any]) -> bytes:
    """A tensor as raw bytes."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in data)
    return struct.pack(
        f"<{len(data)}{ {'BOOL': '?', 'INT64': 'q', 'FP64': 'd', 'FP32': 'f', 'INT32': 'i'}[datatype] }", *data
    )


def calls(server: Server, row: dict[str, Any], chance: random.Random) -> dict[str, list[bytes]]:
    """Bodies of every method that reflection tells of: nothing, a valid one if that is known, and hostile values."""
    name = httpx.get(f"{server.url}/v1/models").json()["models"][0]["usecase"]
    told = tensors(server.url, name, row)
    raw = [packed(one["datatype"], one["data"]) for one in told]
    shapes = [{k: v for k, v in one.items() if k != "data"} for one in told]
    by_kind = {"BOOL": "bool", "INT64": "int64", "FP64": "fp64", "FP32": "fp32", "INT32": "int", "BYTES": "bytes"}
    valid = {
        "Predict": row,
        "PredictBulk": {"rows": [row, row]},
        "ModelReady": {"name": name},
        "ModelMetadata": {"name": name},
    }
    found: dict[str, list[bytes]] = {}
    with grpc.insecure_channel(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for service in database.get_services():
            for method in pool.FindServiceByName(service).methods:
                kind = GetMessageClass(method.input_type)
                bodies = [b"", *(filled(kind(), chance).SerializePartialToString() for _ in range(40))]
                if method.name in valid:
                    bodies += [json_format.ParseDict(valid[method.name], kind()).SerializeToString()] * 20
                if method.name == "ModelInfer":
                    message = json_format.ParseDict({"modelName": name, "inputs": shapes}, kind())
                    message.raw_input_contents.extend(raw)
                    bodies += [message.SerializeToString()] * 15
                    del message.raw_input_contents[:]
                    for one, tensor in zip(told, message.inputs, strict=True):
                        data = [value.encode() if isinstance(value, str) else value for value in one["data"]]
                        getattr(tensor.contents, f"{by_kind[one['datatype']]}_contents").extend(data)
                    bodies += [message.SerializeToString()] * 15
                found[f"/{service}/{method.name}"] = bodies
    return found


def filled(message: Any, chance: random.Random, depth: int = 0) -> Any:
    """A message with hostile values in some of its fields."""
    numbers = (0, 1, -1, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63), 2**64 - 1)
    for one in message.DESCRIPTOR.fields:
        if chance.random() < 0.4:
            continue
        many = range(chance.choice((1, 2, 50))) if one.is_repeated else range(1)
        with contextlib.suppress(ValueError, TypeError):
            for _ in many:
                if one.message_type is not None and one.message_type.GetOptions().map_entry:
                    break
                if one.message_type is not None:
                    target = getattr(message, one.name)
                    if depth < 4:
                        filled(target.add() if one.is_repeated else target, chance, depth + 1)
                    continue
                value: Any = chance.choice(numbers)
                if one.type == one.TYPE_STRING:
                    value = chance.choice(("", "\0", "x" * 3_000, "\U0010ffff\u202e", "1", "2026-01-01T00:00:00Z"))
                elif one.type == one.TYPE_BYTES:
                    value = chance.choice((b"", b"\xff" * 9, b"\0\0\0\x7fabc", chance.randbytes(64)))
                elif one.type == one.TYPE_BOOL:
                    value = chance.random() < 0.5
                elif one.cpp_type in (one.CPPTYPE_DOUBLE, one.CPPTYPE_FLOAT):
                    value = chance.choice((float("nan"), float("inf"), -0.0, 1e308, 5e-324))
                if one.is_repeated:
                    getattr(message, one.name).append(value)
                else:
                    setattr(message, one.name, value)
    return message


class Fuzz:
    """Sends messages, and keeps book of what comes back."""

    def __init__(self, server: Server, http: Hostile, rpc: HostileCalls, chance: random.Random) -> None:
        self.server, self.http, self.rpc, self.chance, self.book = server, http, rpc, chance, Book()
        host, _, port = server.url.removeprefix("http://").partition(":")
        self.http_at, self.left = (host, int(port)), 0
        host, _, port = server.grpc.partition(":")
        self.grpc_at = (host, int(port))

    async def run(self, messages: int) -> None:
        """Send that many."""
        self.left = messages
        probe = asyncio.create_task(self._probe())
        try:
            await asyncio.gather(*(self._client() for _ in range(CLIENTS)))
        finally:
            probe.cancel()

    async def _client(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self.server.grpc, options=options) as channel:
            while self.left > 0:
                self.left -= 1
                kind = self.chance.random()
                if kind < OF_HTTP2:
                    await self._http2()
                elif kind < OF_HTTP2 + OF_GRPC:
                    await self._call(channel)
                else:
                    connection = await self._http(self.http.message(), connection)
        if connection is not None:
            connection[1].close()

    async def _http(
        self, sent: Sent, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Send one; the connection that can be used again."""
        if connection is None or not sent.framed or sent.act not in ("whole", "pieces"):
            if connection is not None:
                connection[1].close()
            connection = await asyncio.open_connection(*self.http_at)
        reader, writer = connection
        statuses: list[int] = []
        try:
            await self._write(writer, sent)
            if sent.act in ("hang up", "reset"):
                self.book.http[sent.act] += 1
                return None
            known = bool(sent.framed) and sent.act in ("whole", "pieces")
            wait = PATIENCE if known or sent.act == "silent" else GLANCE
            async with asyncio.timeout(wait):
                while not known or len(statuses) < sent.framed:
                    status, again = await answer(reader)
                    statuses.append(status)
                    if not again:
                        connection = None
                        break
            if known and len(statuses) < sent.framed:
                self.book.http["closed early"] += 1
            return connection if known else None
        except TimeoutError:
            if sent.framed and sent.act in ("whole", "pieces"):
                self.book.note(f"no answer after {len(statuses)}", sent)
            return None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            if sent.framed and sent.act in ("whole", "pieces") and len(sent.data) < 900_000:
                self.book.note(f"{type(error).__name__} after {len(statuses)}", sent)
            return None
        finally:
            for status in statuses:
                self.book.http[str(status)] += 1
                if status >= 500:
                    self.book.note(str(status), sent)
            if not statuses and sent.act not in ("hang up", "reset"):
                self.book.http["none"] += 1
            if connection is None or not sent.framed or sent.act not in ("whole", "pieces"):
                writer.close()

    async def _write(self, writer: asyncio.StreamWriter, sent: Sent) -> None:
        if sent.act == "pieces":
            cuts = sorted(self.chance.randint(0, len(sent.data)) for _ in range(3))
            for start, stop in zip([0, *cuts], [*cuts, len(sent.data)], strict=True):
                writer.write(sent.data[start:stop])
                await writer.drain()
                await asyncio.sleep(0)
            return
        half = sent.act == "silent" or (sent.act == "hang up" and self.chance.random() < 0.7)
        writer.write(sent.data[: self.chance.randint(0, len(sent.data) - 1)] if half and sent.data else sent.data)
        if sent.act == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif sent.act == "half-close":
            writer.write_eof()
        if sent.act not in ("reset", "hang up"):
            await writer.drain()

    async def _call(self, channel: grpc.aio.Channel) -> None:
        called = self.rpc.call()
        streams = called.method.endswith(("/Watch", "/ServerReflectionInfo"))
        try:
            if streams:
                asked = channel.stream_stream(called.method)(
                    iter([called.body]), metadata=called.metadata, timeout=0.05
                )
                async for _ in asked:
                    pass
            else:
                one = channel.unary_unary(called.method)(called.body, metadata=called.metadata, timeout=called.timeout)
                if called.cancel is not None:
                    asyncio.get_running_loop().call_later(called.cancel, one.cancel)
                await one
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if error.details() == "Internal error from Core":  # grpcio's client says so of its own deadlines too
                code = "not sent"
            if code in WRONG:
                self.book.note(f"{code}: {error.details()}", called)
        except asyncio.CancelledError:  # what grpcio says of a call's own end too
            code, task = "cancelled", asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        except (ValueError, TypeError, grpc.aio.UsageError):
            code = "not sent"  # the client itself will have nothing to do with it
        self.book.grpc[code] += 1

    async def _http2(self) -> None:
        reader, writer = await asyncio.open_connection(*self.grpc_at)
        self.book.grpc["bytes"] += 1
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(self.rpc.http2())
            async with asyncio.timeout(GLANCE):
                while await reader.read(65_536):
                    pass
        writer.close()

    async def _probe(self) -> None:
        """Ask whether it is ready, all the while."""
        async with httpx.AsyncClient(base_url=self.server.url, timeout=PATIENCE) as client:
            while True:
                try:
                    told = await client.get("/readyz")
                    if told.status_code != 200:
                        self.book.note(f"/readyz {told.status_code}", told.text)
                    self.book.probes += 1
                except httpx.HTTPError as error:
                    self.book.note(f"/readyz {error!r}", "")
                await asyncio.sleep(0.2)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of the next answer, and whether the connection stays."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status >= 200:
            break
    lower = head.lower()
    length = lower.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return status, b"\r\nconnection: close" not in lower


def answers(server: Server, asked: list[Request]) -> list[str]:
    """What valid requests are answered with, without what differs each time."""
    told = []
    for one in asked:
        if one.method == "POST" and "feedback" not in one.path:
            found = httpx.request(one.method, server.url + one.path, content=one.body, headers=dict(one.headers))
            body = found.content if one.headers else found.json()
            told.append(f"{found.status_code} {_lasting(body)!r}")
    return told


def _lasting(node: Any) -> Any:
    if isinstance(node, dict):
        passing = ("request_id", "prediction_id", "as_of", "id")
        return {name: _lasting(value) for name, value in node.items() if name not in passing}
    if isinstance(node, bytes):  # scores in raw bytes, behind ids that differ
        return len(node)
    return [_lasting(one) for one in node] if isinstance(node, list) else node


def fuzz(server: Server, log: Path, messages: int, seed: int) -> dict[str, Any]:
    """Send messages to a server, and hold it to what is promised."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    asked = requests(server.url)
    row = json.loads(next(one.body for one in asked if one.path == "/v1/predict"))
    row = {name: value for name, value in row.items() if name not in ("explain", "top")}
    bodies = calls(server, row, chance)
    run = Fuzz(server, Hostile(chance, asked), HostileCalls(chance, bodies), chance)
    process = Process(server.process.pid)
    before, tree = answers(server, asked), process.tree()
    asyncio.run(run.run(int(messages * WARM)))
    warm = process.memory()
    asyncio.run(run.run(messages - int(messages * WARM)))
    end = process.memory()
    text = log.read_text(errors="replace")
    text, gone = GONE.subn("", text)
    failed = [text[max(0, found.start() - 500) : found.start() + 3_000] for found in re.finditer("Traceback", text)]
    holds = {
        "no answer that says the server failed, and none left out": not run.book.wrong,
        "no traceback in the log": not failed,
        "the same processes": process.tree() == tree,
        f"memory within {GROWTH:g}x + {SLACK:g} MiB": end <= GROWTH * warm + SLACK,
        "the same answers after as before": answers(server, asked) == before,
    }
    return {
        "messages": messages,
        "http": dict(run.book.http.most_common()),
        "grpc": dict(run.book.grpc.most_common()),
        "probes": run.book.probes,
        "memory": {"warm": warm, "end": end},
        "wrong": run.book.wrong,
        "tracebacks": failed[:3],
        "told_by_grpc": gone,
        "log_mb": len(text) / 1e6,
        "holds": holds,
    }


def main() -> None:
    """Start a server on a fresh home, send the messages, and print what came back."""
    from benchmarks.prove import fresh, holdfast

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--usecase", default="telco")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    out = Out(given.json)
    with fresh() as environ, tempfile.TemporaryDirectory() as directory:
        holdfast({**environ, "HOLDFAST_USECASE": given.usecase}, "run", "--no-stay")
        own = {k: v for k, v in environ.items() if k.startswith(("HOLDFAST_", "BENTOML_", "HOME"))}
        log = Path(directory) / "log"
        with serve({**own, **LIMITS, "HOLDFAST_USECASE": given.usecase}, log=log) as server:
            found = fuzz(server, log, given.messages, given.seed)
    for part in ("http", "grpc", "memory", "wrong", "tracebacks", "holds"):
        out.say(f"{part}: {json.dumps(found[part], indent=1)}")
    out.result(found)
    sys.exit(0 if all(found["holds"].values()) else 1)


if __name__ == "__main__":
    main()
