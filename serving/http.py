"""The HTTP face: every request comes here first, and only BentoML's own pages go on to BentoML.

The hot routes are answered by this ASGI callable itself. What BentoML's stack of middleware would do for them (tracing,
access log, time-out, schema) costs nearly twice what a whole answer does; docs/adr/0012 has the figures.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.answers import encode
from serving.call import Call
from serving.core import Core, Told
from serving.errors import Failed, NotFound, NotReady, RequestError, TooLarge, WrongMedia, WrongMethod
from serving.logs import Access
from serving.openapi import PAGE
from serving.rows import Rows
from settings import Settings

log = logging.getLogger("holdfast.serving")
JSON, PROBLEM = b"application/json", b"application/problem+json"
PAGES = ("/schema.json", "/healthz")
"""BentoML's own; so is what lies under /static_content/."""
WATCH = 0.05
"""Seconds after which a request that still waits is watched for a client that has left: quick ones pay nothing."""
Answer = tuple[str, bytes, bytes]
"""Outcome, media type, body."""
Handler = Callable[[Call, bytes], Awaitable[Answer]]


class Left(Exception):  # no error of ours
    """The client is gone before its body was whole."""


class Front:
    """ASGI application in front of BentoML's.

    Args:
        core: asks for the core; None while the service starts. openapi: makes its document, for /docs.json.
    """

    def __init__(
        self,
        app: ASGIApp,
        core: Callable[[], Core | None],
        openapi: Callable[[Core], dict[str, Any]],
        settings: Settings,
    ) -> None:
        self.app, self.core, self.openapi, self.settings = app, core, openapi, settings
        self.probes = CapacityLimiter(1)  # a thread of its own: requests that wait for the store do not hold it up
        self.routes: dict[str, tuple[str, Handler]] = {
            "/v1/predict": ("POST", self._predict),
            "/v1/predict/bulk": ("POST", self._bulk),
            "/v1/models": ("GET", self._models),
            "/readyz": ("GET", self._ready),
            "/livez": ("GET", self._live),
            "/metrics": ("GET", self._metrics),
            "/docs.json": ("GET", self._document),
            "/": ("GET", self._page),
        }
        self.document: bytes | None = None
        self.access = Access(settings.access_log)
        self.in_flight = metrics.IN_FLIGHT.labels("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in PAGES or path.startswith("/static_content/"):
            await self.app(scope, receive, send)
            return
        given: dict[bytes, bytes] = dict(scope["headers"])
        found = self.routes.get(path)
        ids = (given.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent"))
        call = Call.begin(metrics.OTHER if found is None else path, *ids)
        self.in_flight.inc()
        status, retry = 200, None
        try:
            outcome, media, body = await self._answer(scope, receive, call, given, found)
        except RequestError as error:
            outcome, status, media, retry = error.outcome(), error.status, PROBLEM, error.retry_after
            body = encode(error.body(call.request_id))
        except Left:
            self._finish(call, "cancelled", 499)
            return
        except asyncio.CancelledError:
            self._finish(call, "cancelled", 499)
            raise
        except Exception:
            log.exception("request %s failed", call.request_id)
            failed = Failed("the service failed; its log says why, under this request's id")
            outcome, status, media, body = failed.outcome(), 500, PROBLEM, encode(failed.body(call.request_id))
        headers = [
            (b"content-type", media),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", call.request_id.encode()),
            (b"traceparent", call.traceparent.encode()),
        ]
        core = self.core()
        if core is not None and core.draining:  # so that the client's next request goes to a server that stays
            headers.append((b"connection", b"close"))
        if retry is not None:
            headers.append((b"retry-after", b"%d" % retry))
        if status == 405 and found is not None:
            headers.append((b"allow", found[0].encode()))
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except (OSError, RuntimeError):  # what the loop says of a connection that was reset
            outcome, status = "cancelled", 499
        finally:
            self._finish(call, outcome, status)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        call: Call,
        given: dict[bytes, bytes],
        found: tuple[str, Handler] | None,
    ) -> Answer:
        if found is None:
            raise NotFound(f"there is no {scope['path'][:200]}; /docs.json lists what there is")
        method, handler = found
        if scope["method"] != method and not (method == "GET" and scope["method"] == "HEAD"):
            raise WrongMethod(f"{call.route} takes {method}, not {scope['method']}")
        if method == "GET":
            return await handler(call, b"")
        _read_as_json(given)
        core = self._core()
        core.runner.admit(1)  # refused before the body is read, where it would be refused behind it
        body = await self._body(receive, given.get(b"content-length", b""))
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        watcher: list[asyncio.Task[None]] = []
        timer = loop.call_later(WATCH, lambda: watcher.append(loop.create_task(_watch(receive, task))))
        try:
            return await handler(call, body)
        except asyncio.CancelledError:
            if watcher and watcher[0].done() and not watcher[0].cancelled():
                raise Left from None
            raise
        finally:
            timer.cancel()
            for one in watcher:
                one.cancel()

    async def _predict(self, call: Call, body: bytes) -> Answer:
        told = await self._told(call, self._core().decoder.one, body)
        return "ok", JSON, _encoded(told.answers[0])

    async def _bulk(self, call: Call, body: bytes) -> Answer:
        told = await self._told(call, self._core().decoder.many, body)
        answer = _encoded({"predictions": told.answers, "errors": told.errors})
        return "partial" if told.errors else "ok", JSON, answer

    async def _told(self, call: Call, read: Callable[[bytes], Rows], body: bytes) -> Told:
        started = perf_counter()
        rows = read(body)
        metrics.stage["decode"](perf_counter() - started)
        return await self._core().predict(rows, call)

    async def _models(self, _: Call, __: bytes) -> Answer:
        return "ok", JSON, _json(self._core().models())

    async def _ready(self, _: Call, __: bytes) -> Answer:
        return "ok", JSON, _json(await run_sync(self._core().ready, limiter=self.probes))

    async def _live(self, _: Call, __: bytes) -> Answer:
        return "ok", JSON, b'{"live":true}'

    async def _metrics(self, _: Call, __: bytes) -> Answer:
        return "ok", CONTENT_TYPE_LATEST.encode(), generate_latest()

    async def _document(self, _: Call, __: bytes) -> Answer:
        if self.document is None:
            self.document = _json(self.openapi(self._core()))
        return "ok", JSON, self.document

    async def _page(self, _: Call, __: bytes) -> Answer:
        return "ok", b"text/html; charset=utf-8", PAGE

    def _core(self) -> Core:
        core = self.core()
        if core is None:
            raise NotReady("no answer can be given now", ["the service is starting"])
        return core

    def _finish(self, call: Call, outcome: str, status: int) -> None:
        self.in_flight.dec()
        core = self.core()
        metrics.answered(call.route, outcome, "" if core is None else core.tag, call.seconds)
        self.access(call, outcome, status)

    async def _body(self, receive: Receive, announced: bytes) -> bytes:
        """The whole body.

        Raises:
            TooLarge: as soon as that is known. Left: if the client goes before it was whole.
        """
        limit = self.settings.max_body_bytes
        if announced.isdigit() and int(announced) > limit:
            raise TooLarge(f"a body of {announced.decode()} bytes; the limit is {limit}")
        message = await receive()
        body: bytes | bytearray = message.get("body", b"")
        if message.get("more_body"):
            body = bytearray(body)
        while True:
            if message["type"] == "http.disconnect":
                raise Left
            if len(body) > limit:
                raise TooLarge(f"a body of more than {limit} bytes")
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()
            body += message.get("body", b"")


def _encoded(answer: Any) -> bytes:
    started = perf_counter()
    body = encode(answer)
    metrics.stage["encode"](perf_counter() - started)
    return body


def _read_as_json(given: dict[bytes, bytes]) -> None:
    """Raises WrongMedia where the headers say that the body is anything but plain JSON in UTF-8."""
    media, _, parameters = given.get(b"content-type", JSON).lower().partition(b";")
    if media.strip() != JSON:
        raise WrongMedia(f"the body is {_shown(media)}; send application/json")
    charset = parameters.partition(b"charset=")[2].partition(b";")[0].strip(b' "')
    if charset not in (b"", b"utf-8", b"us-ascii"):
        raise WrongMedia(f"the body's charset is {_shown(charset)}; send UTF-8")
    encoding = given.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        raise WrongMedia(f"the body's content-encoding is {_shown(encoding)}; send it as it is")


def _shown(header: bytes) -> str:
    return repr(header[:100].decode("latin-1"))


async def _watch(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    """Cancel the task when its client leaves."""
    message: Message = await receive()
    if message["type"] == "http.disconnect" and task is not None:
        task.cancel()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
