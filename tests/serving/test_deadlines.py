"""Deadlines that clients ask for: over HTTP by `x-request-timeout-ms`, over gRPC by its own; never later than ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.workspace import Workspace
from serving.call import Call
from serving.core import Core
from serving.http import Front
from serving.inference_messages import SERVICE, classes
from serving.keys import Keys
from serving.openapi import document
from serving.parts import Scored
from serving.rows import Rows
from tests.serving.test_rpc import Client, Served, made, served

LONGEST = 2.0
ROUNDED = 0.02
"""By so much gRPC's clients may round a deadline up, in seconds."""
ROW = {"customer_id": "1"}
TENSOR = {"name": "customer_id", "datatype": "BYTES", "shape": [1]}
ROUTES: dict[str, Any] = {
    "/v1/predict": ROW,
    "/v1/explain": ROW,
    "/v1/predict/bulk": {"rows": [ROW, ROW]},
    "/v1/feedback": {"outcomes": [{"prediction_id": "x", "outcome": True, "observed_at": "2026-01-01T00:00:00Z"}]},
    "/v2/models/cdnow/infer": {"inputs": [{**TENSOR, "data": ["1"]}]},
}
SCORED = [path for path in ROUTES if path != "/v1/feedback"]
"""Those whose rows wait for a batch."""


class Watched(Core):
    """A core that remembers how many seconds each call still had."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.left: list[float | None] = []

    async def scored(self, rows: Rows, call: Call) -> Scored:
        """As a core does."""
        self.left.append(None if call.deadline is None else call.deadline - time.monotonic())
        return await super().scored(rows, call)


@pytest.fixture(scope="module")
def both(cdnow: Workspace) -> Iterator[tuple[Served, Client]]:
    """A server whose requests have two seconds, and a client of it."""
    with served(made(cdnow, Watched, max_latency_ms=int(LONGEST * 1_000))) as both:
        yield both


def asked(server: Served, path: str, timeout: str | None, body: Any = None) -> tuple[httpx.Response, float | None]:
    """The answer over HTTP, and the seconds that the core had for it."""
    core = server.core
    assert isinstance(core, Watched)
    front = Front(httpx.ASGITransport, lambda: core, document, core.settings, Keys(core.settings))  # type: ignore[arg-type]  # nothing is behind it

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://x") as client:
            headers = {} if timeout is None else {"x-request-timeout-ms": timeout}
            return await client.post(path, json=body or ROUTES[path], headers=headers)

    core.left.clear()
    answer = server.run(send())
    return answer, core.left[0] if core.left else None


@pytest.mark.parametrize("path", SCORED)
def test_a_client_may_ask_for_less_time_and_not_for_more(path: str, both: tuple[Served, Client]) -> None:
    server = both[0]
    for timeout, most in (("500", 0.5), ("1999", 1.999), ("2001", LONGEST), ("999999999999", LONGEST)):
        answer, left = asked(server, path, timeout)
        assert answer.status_code == 200, answer.text
        assert left is not None
        assert 0 < left <= most
    assert asked(server, path, None)[1] is None  # the core's own time


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("timeout", ["0", "00", "-1", "+5", "1.5", "1e3", "", " ", "soon", "0x10", "1 000", "5,6"])
def test_a_time_that_is_none_is_malformed(path: str, timeout: str, both: tuple[Served, Client]) -> None:
    answer, left = asked(both[0], path, timeout)
    assert (answer.status_code, left) == (400, None)
    assert "x-request-timeout-ms" in answer.json()["detail"]


@pytest.mark.parametrize(("timeout", "most"), [(0.5, 0.5), (1.9, 1.9), (60.0, LONGEST), (None, None)])
@pytest.mark.parametrize("name", ["Predict", "PredictBulk", "ModelInfer"])
def test_grpc_calls_likewise(name: str, timeout: float | None, most: float | None, both: tuple[Served, Client]) -> None:
    server, client = both
    assert isinstance(server.core, Watched)
    server.core.left.clear()
    if name == "ModelInfer":
        request = classes()["ModelInferRequest"](model_name="cdnow", inputs=[TENSOR])
        request.inputs[0].contents.bytes_contents.append(b"1")
        method = client.channel.unary_unary(f"/{SERVICE}/{name}", type(request).SerializeToString)
    else:
        method, kind = client.method(name)
        request = kind(**(ROW if name == "Predict" else {"rows": [ROW]}))
    method(request, timeout=timeout, wait_for_ready=True)
    (left,) = server.core.left
    if most is None:
        assert left is None
    else:
        assert left is not None
        assert 0 < left <= most + ROUNDED


def test_what_cannot_be_answered_in_its_time_is_refused(both: tuple[Served, Client]) -> None:
    answer, _ = asked(both[0], "/v1/predict/bulk", "1", {"rows": [ROW] * 10_000})  # it takes longer to read them
    assert answer.status_code in (429, 503)
    assert answer.headers["retry-after"]
    assert asked(both[0], "/v1/predict/bulk", "2000", {"rows": [ROW] * 10_000})[0].status_code == 200
