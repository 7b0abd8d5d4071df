"""The load generator: every answer is counted as what it is, and a wrong number is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from benchmarks.check import outcome, right
from benchmarks.load import Run, percentiles
from benchmarks.load_http import Http
from benchmarks.plan import Phase, Plan, Request, Result
from benchmarks.usecases.twenty import NAMES, USECASE
from serving.decode import Decoder
from serving.proto import Protocol
from serving.schema import Schema

Answering = Callable[[int, bytes, asyncio.StreamWriter], Awaitable[None]]
"""Called with the request's number, its body and where the answer goes."""


@asynccontextmanager
async def server(answering: Answering) -> AsyncIterator[int]:
    """A real server of HTTP/1.1 on loopback; its port."""
    seen, under_way = 0, []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        under_way.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.rpartition(b"content-length: ")[2].split()[0]))
                seen += 1
                await answering(seen - 1, body, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.gather(*(task for task in under_way if task is not None))


def answer(value: Any, status: str = "200 OK", more: str = "") -> bytes:
    """A whole answer."""
    body = json.dumps(value).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def request(number: float, **told: Any) -> Request:
    """Asks for a number; it is expected back."""
    body = json.dumps(number).encode()
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return Request(head.encode() + body, where=("rows", "*", "p"), expected=(number,), **told)


def run(answering: Answering, phase: Phase, requests: list[Request]) -> Result:
    """One phase against such a server."""

    async def go() -> Result:
        async with server(answering) as port:
            clients = [Http("127.0.0.1", port) for _ in range(phase.connections)]
            result = await Run(Plan(port, requests, [phase]), phase, clients).run()
            for client in clients:
                await client.close()
        return result

    return asyncio.run(go())


REQUESTS = [request(number / 7) for number in range(10)]


async def echo(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
    """The number that was asked for."""
    writer.write(answer({"rows": [{"p": json.loads(body)}]}))


def test_every_answer_of_a_closed_loop_is_counted_and_a_sample_checked() -> None:
    result = run(echo, Phase(4, count=50), REQUESTS)
    assert result.answers == {"200": 50}
    assert (result.requests, result.checked, result.wrong) == (50, 50, 0)
    assert sum(result.timeline) == result.in_time == 50
    assert set(result.latency_ms) == {"p50", "p90", "p99", "p999", "max"}


def test_an_answer_may_come_in_any_pieces() -> None:
    async def pieces(number: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        whole = answer({"rows": [{"p": json.loads(body)}]}, more="x-more: content\r\n")
        for start in range(0, len(whole), number + 1):
            writer.write(whole[start : start + number + 1])
            await writer.drain()
            await asyncio.sleep(0)

    result = run(pieces, Phase(1, count=10), REQUESTS)
    assert (result.answers, result.checked, result.wrong) == ({"200": 10}, 10, 0)


def test_numbers_that_differ_in_the_last_bit_are_wrong() -> None:
    async def off(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(body)
        writer.write(answer({"rows": [{"p": float(np.nextafter(asked, 2)) if asked > 0.5 else asked}]}))

    result = run(off, Phase(2, count=10), REQUESTS)
    assert (result.checked, result.wrong) == (10, sum(number / 7 > 0.5 for number in range(10)))


def test_answers_of_other_forms_are_wrong() -> None:
    one = request(0.5)
    assert right(one, b'{"rows":[{"p":0.5}]}')
    for body in (b'{"rows":[]}', b'{"rows":[{"p":0.5},{"p":0.5}]}', b'{"rows":[{"q":0.5}]}', b"[]", b"", b'{"rows":5}'):
        assert not right(one, body)


def test_32_bits_are_compared_as_such() -> None:
    number = float(np.float32(0.1))
    near = float(np.nextafter(np.float32(0.1), np.float32(1)))
    loose = Request(b"", where=("p",), expected=(number,), bits=32)
    assert right(loose, b'{"p":0.1}')
    assert not right(loose, json.dumps({"p": near}).encode())
    assert not right(Request(b"", where=("p",), expected=(number,)), b'{"p":0.1}')


def test_a_connection_that_breaks_is_told_and_made_anew() -> None:
    async def breaking(number: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if number % 2:
            writer.write(answer({"rows": [{"p": json.loads(body)}]})[:-1])
            await writer.drain()
            writer.close()
        else:
            await echo(number, body, writer)

    result = run(breaking, Phase(1, count=10), REQUESTS)
    assert result.answers == {"200": 5, "broken": 5}
    assert result.wrong == 0


def test_refusals_are_counted_and_those_that_do_not_say_when_to_ask_again() -> None:
    async def refusing(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer({}, "429 Too Many Requests", "Retry-After: 1\r\n" if number % 2 else ""))

    result = run(refusing, Phase(1, count=10), REQUESTS)
    assert (result.answers, result.without_retry_after) == ({"429": 10}, 5)
    assert (result.latency_ms, result.in_time) == ({}, 0)
    assert result.refused_ms


def test_an_open_loop_asks_as_often_as_planned() -> None:
    result = run(echo, Phase(8, seconds=0.1, rate=500, patience=30), REQUESTS)
    assert (result.answers, result.wrong) == ({"200": 50}, 0)


def test_an_open_loop_does_not_wait_for_a_server_that_does_not_answer() -> None:
    async def go() -> Result:
        phase = Phase(1, seconds=0.05, rate=100, patience=0.01)

        async def held(_: int, body: bytes, writer: asyncio.StreamWriter) -> None:
            while work.answers["unsent"] < 4:
                await asyncio.sleep(0)
            await echo(0, body, writer)

        async with server(held) as port:
            client = Http("127.0.0.1", port)
            work = Run(Plan(port, REQUESTS, [phase]), phase, [client])
            result = await work.run()
            await client.close()
        return result

    assert asyncio.run(go()).answers == {"unsent": 4, "200": 1}


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        ("200", b'{"predictions":[],"errors":[]}', "ok"),
        ("200", b'{"predictions":[],"errors":[{"row":1}]}', "partial"),
        ("404", b'{"type":"urn:holdfast:problem:not-found"}', "not-found"),
        ("502", b"", "502"),
    ],
)
def test_an_outcome_is_what_the_answer_tells(status: str, body: bytes, told: str) -> None:
    assert outcome(Request(b""), status, b"", body) == told


def test_an_outcome_over_grpc_is_told_by_the_message_or_the_problem_beside_it() -> None:
    protocol = Protocol(USECASE)
    bulk = Request(b"", method=f"/{protocol.service}/PredictBulk")
    answers = [{"customer_id": "c" * size, "row": size} for size in (1, 100, 300)]
    errors = [{"row": 3, "problems": [{"field": "f", "problem": "p" * 200}]}]
    assert outcome(bulk, "OK", b"", protocol.predictions(answers, [])) == "ok"
    assert outcome(bulk, "OK", b"", protocol.predictions(answers, errors)) == "partial"
    assert outcome(bulk, "OK", b"", protocol.predictions([], errors)) == "partial"
    assert outcome(bulk, "INTERNAL", b"x: b'urn:holdfast:problem:cannot-be-scored'", b"") == "cannot-be-scored"


def test_a_message_holds_its_numbers_to_the_last_bit() -> None:
    protocol = Protocol(USECASE)
    message = protocol.prediction({"customer_id": "c", "probability": 1 / 3})
    for number, held in ((1 / 3, True), (float(np.nextafter(1 / 3, 1)), False)):
        assert right(Request(b"", method="/s/Predict", where=("",), expected=(number,)), message) == held


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles([]) == {}
    found = percentiles([number / 1000 for number in range(101)])
    assert [round(found[name]) for name in ("p50", "p90", "p99", "max")] == [50, 90, 99, 100]


def test_the_use_case_of_the_benchmarks_can_be_served() -> None:
    row = {"customer_id": "c", "attributes": dict.fromkeys(NAMES, 0.5)}
    lists = {"customer_id": ["c"], "attributes": {name: [0.5] for name in NAMES}}
    decoder = Decoder(Schema(USECASE), 10)
    for body in ({"rows": [row]}, {"columns": lists}):
        assert decoder.many(json.dumps(body).encode()).columns == ([0.5],) * 20
