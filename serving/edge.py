"""The edge every HTTP request passes first: its id, its size, its media type; readiness told in full, and metrics."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import make_asgi_app
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.core import Core
from serving.errors import NotReady, RequestError, TooLarge, WrongMedia

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
HEADER = b"x-request-id"


class Edge:
    """ASGI middleware.

    Args:
        core: asks for the core; None while the service starts. openapi: makes the document of /docs.json.
        limit: most bytes of a body. The body of a POST to /v1/ is put into the request's state, whole.
    """

    def __init__(
        self, app: ASGIApp, core: Callable[[], Core | None], openapi: Callable[[], dict[str, Any]], limit: int
    ) -> None:
        self.app, self.core, self.openapi, self.limit = app, core, openapi, limit
        self.metrics = make_asgi_app()
        self.probes = CapacityLimiter(1)  # a thread of its own: requests that wait for the store do not hold it up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(n, v) for n, v in message["headers"] if n.lower() != HEADER]
                message["headers"] = [*headers, (HEADER, request_id.encode())]
            await send(message)

        try:
            if scope["path"] == "/readyz":
                await (await self._ready())(scope, receive, answer)
                return
            if scope["path"] == "/metrics":
                await self.metrics(scope, receive, answer)
                return
            if scope["path"] == "/docs.json":
                await as_json(self.openapi())(scope, receive, answer)
                return
            if scope["path"].startswith("/v1/") and scope["method"] == "POST":
                scope["state"]["body"] = await self._body(request)
                receive = _read
        except RequestError as error:
            await problem(error, request_id)(scope, receive, answer)
            return
        await self.app(scope, receive, answer)

    async def _ready(self) -> Response:
        core = self.core()
        if core is None:
            raise NotReady("no answer can be given now", ["the service is starting"])
        return as_json(await run_sync(core.ready, limiter=self.probes))

    async def _body(self, request: Request) -> bytes:
        """The whole body.

        Raises:
            WrongMedia, TooLarge: as soon as that is known.
        """
        media = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if media != "application/json":
            raise WrongMedia(f"the body is {media[:100]!r}; send application/json")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self.limit:
            raise TooLarge(f"a body of {announced} bytes; the limit is {self.limit}")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.limit:
                raise TooLarge(f"a body of more than {self.limit} bytes")
        return bytes(body)


async def _read() -> Message:
    """What is left to receive of a request whose body was read."""
    return {"type": "http.request", "body": b"", "more_body": False}


def as_json(value: Any, status: int = 200, media: str = "application/json") -> Response:
    """A JSON answer; floats are written so that reading them gives the same bits."""
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")), status, media_type=media)


def problem(error: RequestError, request_id: str) -> Response:
    """An error as application/problem+json."""
    response = as_json(error.body(request_id), error.status, "application/problem+json")
    if isinstance(error, NotReady):
        response.headers["retry-after"] = "5"
    return response
