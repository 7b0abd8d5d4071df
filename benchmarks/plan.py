"""What the load generator is told and what it tells: requests, phases, a plan, results."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

GOOD = ("200", "OK")
"""Statuses of an answer that is one."""
BODY = ("",)
"""`where` the numbers of an answer are that has them as bytes: somewhere in it."""


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
    """A server, what is sent to it in turn, and the phases.

    Args:
        warm: requests before the first phase. channels: gRPC: connections, over which the clients are spread.
    """

    port: int
    requests: list[Request]
    phases: list[Phase]
    protocol: Literal["http", "grpc"] = "http"
    host: str = "127.0.0.1"
    warm: int = 200
    channels: int = 4


class Result(msgspec.Struct):
    """What came back.

    Args:
        answers: how many by status, `unsent` and `broken` (no whole answer) too.
        outcomes: by route, of requests that have one. in_time: answers with 200 or OK within the deadline.
        latency_ms: percentiles of answers with 200 or OK, from when they were due; refused_ms: of all others.
        timeline: answers with 200 or OK that came in each second. checked, wrong: sampled answers, and those of them
        with other numbers. without_retry_after: answers with 429 or 503 that do not say when to ask again.
    """

    seconds: float
    requests: int
    answers: dict[str, int]
    outcomes: dict[str, dict[str, int]]
    in_time: int
    latency_ms: dict[str, float]
    refused_ms: dict[str, float]
    timeline: list[int]
    received: int
    checked: int
    wrong: int
    without_retry_after: int


class Client(Protocol):
    """A connection that carries one request at a time."""

    async def ask(self, request: Request) -> tuple[str, bytes, bytes]:
        """Status, head, body.

        Raises:
            ConnectionError: if no whole answer came.
        """

    async def close(self) -> None:
        """Let go."""
