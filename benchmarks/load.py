"""A load generator that is a process of its own: `python -m benchmarks.load PLAN`, at one core's full speed.

It reads a plan (msgpack), warms up, prints `ready`, and then for each line that it reads from stdin runs the phase of
that number and prints its `Result` as a line of JSON. Requests are whole bytes made beforehand; of an answer no more is
parsed than where it ends, and a sample is kept and checked, number by number, when the phase is over.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import uvloop

SAMPLE = 500
"""Most answers of a phase that are kept to be checked, chosen evenly; every answer's status and length are."""


class Request(msgspec.Struct, frozen=True):
    """One request, ready to send.

    Args:
        wire: HTTP: head and body; gRPC: the message. method: gRPC only, /package.Service/Method.
        where: path to the numbers in a JSON answer; "*" is every item of a list. Empty: the answer is not checked.
        expected: those numbers. bits: 64, or 32 where they are the same float32.
        route: if set, outcomes are counted under it, as this service names them.
    """

    wire: bytes
    method: str = ""
    kind: str = "ok"
    where: tuple[str | int, ...] = ()
    expected: tuple[float, ...] = ()
    bits: Literal[32, 64] = 64
    route: str = ""


class Phase(msgspec.Struct, frozen=True):
    """What is done for a while.

    Args:
        connections: closed loop: so many clients, each waiting for its answer; open loop: at most so many at a time.
        seconds, count: it ends after the first of both. rate: requests a second whatever comes back (open loop).
        pause: closed loop: seconds between an answer and that client's next request.
        patience: open loop: seconds a request waits for a connection before it is given up as `unsent`.
        deadline: seconds from when it was due within which an answer is in time.
    """

    connections: int
    seconds: float = 3600.0
    count: int = 1 << 60
    rate: float = 0.0
    pause: float = 0.0
    patience: float = 1.0
    deadline: float = 3600.0


class Plan(msgspec.Struct, frozen=True):
    """A server, what is sent to it in turn, and the phases."""

    port: int
    requests: list[Request]
    phases: list[Phase]
    protocol: Literal["http", "grpc"] = "http"
    host: str = "127.0.0.1"
    warm: int = 200


class Result(msgspec.Struct):
    """What came back.

    Args:
        answers: by kind of request and by status: `ok` -> {"200": 12}; `unsent` and `broken` (no whole answer) too.
        outcomes: by route, of requests that have one. in_time: answers with 200 or OK within the deadline.
        latency_ms: percentiles of answers with 200 or OK, from when they were due; refused_ms: of all others.
        timeline: answers with 200 or OK that came in each second. checked, wrong: sampled answers, and those of them
        with other numbers. without_retry_after: answers with 429 or 503 that do not say when to ask again.
    """

    seconds: float
    requests: int
    answers: dict[str, dict[str, int]]
    outcomes: dict[str, dict[str, int]]
    in_time: int
    latency_ms: dict[str, float]
    refused_ms: dict[str, float]
    timeline: list[int]
    received: int
    checked: int
    wrong: int
    without_retry_after: int

    def count(self, status: str) -> int:
        """Answers with that status, of every kind."""
        return sum(one.get(status, 0) for one in self.answers.values())


class Client(Protocol):
    """A connection that carries one request at a time."""

    async def ask(self, request: Request) -> tuple[str, bytes, bytes]:
        """Status, head, body.

        Raises:
            ConnectionError: if no whole answer came.
        """

    async def close(self) -> None:
        """Let go."""


class Http(asyncio.Protocol):
    """HTTP/1.1, kept alive; connects again when the server has closed."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[tuple[str, bytes, bytes]] | None = None
        self.buffer, self.head, self.length = bytearray(), b"", -1

    async def ask(self, request: Request) -> tuple[str, bytes, bytes]:
        """See `Client`."""
        loop = asyncio.get_running_loop()
        if self.transport is None or self.transport.is_closing():
            self.transport, _ = await loop.create_connection(lambda: self, self.host, self.port)
        self.waiting = loop.create_future()
        self.transport.write(request.wire)
        return await self.waiting

    async def close(self) -> None:
        """See `Client`."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        """The loop's callback."""
        self.buffer.clear()
        self.length = -1

    def data_received(self, data: bytes) -> None:
        """The loop's callback: whole answers only, told by their content-length."""
        if self.length < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[:end])
            found = _LENGTH.search(self.head)
            if found is None:
                self._fail("an answer without content-length")
                return
            self.length = int(found[1])
            del self.buffer[: end + 4]
        else:
            self.buffer += data
        if len(self.buffer) >= self.length:
            waiting, self.waiting, self.length = self.waiting, None, -1
            body = bytes(self.buffer)
            self.buffer.clear()
            if waiting is not None and not waiting.done():
                waiting.set_result((self.head[9:12].decode(), self.head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's callback."""
        self.transport = None
        self._fail(f"the server closed the connection: {exc}")

    def _fail(self, why: str) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError(why))
        if self.transport is not None:
            self.transport.abort()


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Run:
    """One phase at work: its clients, and what they note."""

    def __init__(self, plan: Plan, phase: Phase, clients: Sequence[Client]) -> None:
        self.plan, self.phase, self.clients = plan, phase, clients
        self.answers: dict[str, Counter[str]] = {}
        self.outcomes: dict[str, Counter[str]] = {}
        self.good: list[float] = []
        self.other: list[float] = []
        self.arrived: list[float] = []
        self.kept: list[tuple[Request, bytes]] = []
        self.sent = self.received = self.unadvised = 0
        self.every = 1

    async def run(self) -> Result:
        """Do it, and tell."""
        self.start = clock()
        self.end = self.start + self.phase.seconds
        await (self._open() if self.phase.rate else asyncio.gather(*map(self._closed, self.clients)))
        seconds = clock() - self.start
        wrong = sum(not right(request, body) for request, body in self.kept)
        seen = np.bincount(np.array(self.arrived, dtype=np.int64)) if self.arrived else np.zeros(0, dtype=np.int64)
        return Result(
            seconds=seconds,
            requests=sum(sum(by.values()) for by in self.answers.values()),
            answers={kind: dict(by) for kind, by in self.answers.items()},
            outcomes={route: dict(by) for route, by in self.outcomes.items()},
            in_time=sum(taken <= self.phase.deadline for taken in self.good),
            latency_ms=percentiles(self.good),
            refused_ms=percentiles(self.other),
            timeline=seen.tolist(),
            received=self.received,
            checked=len(self.kept),
            wrong=wrong,
            without_retry_after=self.unadvised,
        )

    async def _closed(self, client: Client) -> None:
        phase = self.phase
        while clock() < self.end and self.sent < phase.count:
            await self._one(client, clock())
            if phase.pause:
                await asyncio.sleep(phase.pause)

    async def _open(self) -> None:
        """Requests when they are due, on whichever connection is free; late ones wait, and are late."""
        loop, phase = asyncio.get_running_loop(), self.phase
        free: asyncio.Queue[Client] = asyncio.Queue()
        for client in self.clients:
            free.put_nowait(client)
        tasks: set[asyncio.Task[None]] = set()
        total = min(phase.count, int(phase.rate * phase.seconds))

        async def one(due: float) -> None:
            left = due + phase.patience - clock()
            try:
                client = free.get_nowait() if not free.empty() else await asyncio.wait_for(free.get(), max(left, 0.001))
            except TimeoutError:
                self._note(self.plan.requests[0], "unsent")
                return
            try:
                await self._one(client, due)
            finally:
                free.put_nowait(client)

        for number in range(total):
            due = self.start + number / phase.rate
            while clock() < due:
                await asyncio.sleep(min(due - clock(), 0.001))
            task = loop.create_task(one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if number % 64 == 63:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    async def _one(self, client: Client, due: float) -> None:
        number, self.sent = self.sent, self.sent + 1
        request = self.plan.requests[number % len(self.plan.requests)]
        try:
            status, head, body = await client.ask(request)
        except OSError:
            self._note(request, "broken")
            await asyncio.sleep(0.01)  # a server that is away is not asked as fast as it can be
            return
        now = clock()
        self._note(request, status)
        if request.route:
            self.outcomes.setdefault(request.route, Counter())[outcome(request, status, head, body)] += 1
        self.received += len(body)
        if status in GOOD:
            self.good.append(now - due)
            self.arrived.append(now - self.start)
            if request.where and number % self.every == 0:
                self.kept.append((request, body))
                if len(self.kept) >= SAMPLE:
                    self.kept, self.every = self.kept[::2], 2 * self.every
        else:
            self.other.append(now - due)
            if status in ("429", "503") and b"retry-after:" not in head.lower():
                self.unadvised += 1

    def _note(self, request: Request, status: str) -> None:
        self.answers.setdefault(request.kind, Counter())[status] += 1


GOOD = ("200", "OK")
clock = time.perf_counter  # uvloop's own clock counts milliseconds


def outcome(request: Request, status: str, head: bytes, body: bytes) -> str:
    """The outcome that the answer itself tells: ok, partial, or the kind of its problem; else its status."""
    if status in GOOD:
        errors = _has_errors(body) if request.method.endswith("Bulk") else b'"errors":[{' in body
        return "partial" if errors else "ok"
    found = _PROBLEM.search(body) or _PROBLEM.search(head)
    return found[1].decode() if found else status


_PROBLEM = re.compile(rb"urn:holdfast:problem:([a-z-]+)")


def _has_errors(message: bytes) -> bool:
    """Whether a PredictBulkResponse has its second field; both are messages, each a tag, a length and so many bytes."""
    place = 0
    while place < len(message):
        if message[place] == 0x12:
            return True
        place, length, shift = place + 1, 0, 0
        while True:
            byte = message[place]
            length |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if byte < 128:
                break
        place += length
    return False


def right(request: Request, body: bytes) -> bool:
    """Whether the answer holds the expected numbers, to the last bit."""
    wanted = np.array(request.expected, dtype=np.float64 if request.bits == 64 else np.float32)
    if request.method:  # a message of protobuf: little-endian, one after the other where they are packed
        form = "<d" if request.bits == 64 else "<f"
        return all(struct.pack(form, number) in body for number in wanted.tolist())
    try:
        found = np.array(list(_at(json.loads(body), request.where)), dtype=wanted.dtype)
    except (ValueError, KeyError, TypeError, IndexError):
        return False
    return bool(np.array_equal(found, wanted))


def _at(value: Any, where: Sequence[str | int]) -> Any:
    if not where:
        yield value
    elif where[0] == "*":
        for item in value:
            yield from _at(item, where[1:])
    else:
        yield from _at(value[where[0]], where[1:])


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, p999 and max in milliseconds; nothing of nothing."""
    if not len(seconds):
        return {}
    found = np.percentile(np.array(seconds) * 1000, [50, 90, 99, 99.9, 100]).tolist()
    return dict(zip(("p50", "p90", "p99", "p999", "max"), found, strict=True))


def clients(plan: Plan, count: int) -> list[Client]:
    """So many of the plan's protocol."""
    if plan.protocol == "http":
        return [Http(plan.host, plan.port) for _ in range(count)]
    from benchmarks.load_grpc import Grpc  # late: HTTP needs none of it

    return [Grpc(plan.host, plan.port) for _ in range(count)]


async def main(plan: Plan) -> None:
    """Warm up, then run phases as they are asked for."""
    loop = asyncio.get_running_loop()
    pool = clients(plan, max(phase.connections for phase in plan.phases))
    warming = Phase(connections=len(pool), seconds=20, count=plan.warm)
    if plan.warm:
        await Run(plan, warming, pool[: plan.phases[0].connections]).run()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        phase = plan.phases[int(line)]
        result = await Run(plan, phase, pool[: phase.connections]).run()
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        sys.stdout.flush()
    for client in pool:
        await client.close()


if __name__ == "__main__":
    uvloop.run(main(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
