"""The HTTP face: every request comes here first, and only BentoML's own pages go on to BentoML.

The hot routes are answered by this ASGI callable itself. What BentoML's stack of middleware would do for them (tracing,
access log, time-out, schema) costs nearly twice what a whole answer does; docs/adr/0012 has the figures.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving import metrics
from serving.answers import encode
from serving.call import Call
from serving.core import Core
from serving.errors import (
    Failed,
    Malformed,
    NotFound,
    NotReady,
    RequestError,
    Slow,
    TooLarge,
    Unauthorized,
    WrongMedia,
    WrongMethod,
)
from serving.headers import PAGES, Headed, headers
from serving.keys import Keys
from serving.logs import Access
from serving.pages import Pages
from serving.patience import Left, Patience
from serving.readiness import Readiness
from serving.routing import JSON, PROBLEM, Answer, Asked, Route, Routes
from serving.v1 import V1
from serving.v2 import V2, told
from settings import Settings

log = logging.getLogger("holdfast.serving")
PROBE = "/healthz"
"""BentoML's own; so are /schema.json and what lies under /static_content/."""
PARTS = 256
"""A body's parts are put together when there are so many, for the smallest take forty times their bytes."""


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
        keys: Keys,
    ) -> None:
        self.core, self.settings, self.keys = core, settings, keys
        self.always, self.pages = headers(settings), headers(settings, PAGES)
        self.app = Headed(app, self.always)
        readiness = Readiness(self._core)
        faces = (V1(self._core), V2(self._core, readiness), Pages(self._core, openapi, readiness))
        self.routes = Routes(route for face in faces for route in face.routes())
        self.access = Access(settings.access_log)
        self.in_flight = metrics.IN_FLIGHT.labels("http")
        self._longest = settings.max_latency_ms / 1_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # nothing here speaks it
            return
        path, given = scope["path"], dict[bytes, bytes](scope["headers"])
        if self._behind(path) and (path == PROBE or not self.keys.on or self.keys.client(given)):
            await self.app(scope, receive, send)
            return
        route, named = self.routes.find(path)
        ids = (given.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent"))
        call = Call.begin(metrics.OTHER if route is None else route.template, *ids)
        self.in_flight.inc()
        problem: RequestError | None = None
        outcome, status = "cancelled", 499
        try:
            answer = await self._answer(scope, receive, Asked(call, b"", given, named), route)
            outcome, status = answer.outcome, 200
        except RequestError as error:
            problem = error
        except Left:
            self._finish(call, outcome, status)
            return
        except asyncio.CancelledError:
            self._finish(call, outcome, status)
            raise
        except Exception:
            log.exception("request %s failed", call.request_id)
            problem = Failed("the service failed; its log says why, under this request's id")
        if problem is not None:
            outcome, status = problem.outcome(), problem.status
            answer = _refusal(problem, call, route, path)
            if (core := self.core()) is not None:
                core.refusing.request(call.route, problem)
        try:
            await send({"type": "http.response.start", "status": status, "headers": self._headers(answer, call)})
            await send({"type": "http.response.body", "body": answer.body})
        except (OSError, RuntimeError):  # what the loop says of a connection that was reset
            outcome, status = "cancelled", 499
        finally:
            self._finish(call, outcome, status)

    async def _answer(self, scope: Scope, receive: Receive, asked: Asked, route: Route | None) -> Answer:
        if self.keys.on and not (route is not None and route.open):
            asked.call.client = self.keys.demand(asked.headers)
        if route is None:
            where = "docs/protocol.md" if scope["path"].startswith("/v2/") else "/docs.json"
            raise NotFound(f"there is no {scope['path'][:200]}; {where} lists what there is")
        method, call, given = route.method, asked.call, asked.headers
        if scope["method"] != method and not (method == "GET" and scope["method"] == "HEAD"):
            raise WrongMethod(f"{call.route} takes {method}, not {scope['method']}")
        if b"x-request-timeout-ms" in given:
            call.deadline = self._deadline(given[b"x-request-timeout-ms"])
        if method == "GET":
            return await route.handler(asked)
        _readable(given, route.media)
        core = self._core()
        core.runner.admit(1, call.deadline)  # refused before the body is read, where it would be refused behind it
        patience = Patience(receive, self.settings.max_body_ms / 1_000)
        try:
            body = await self._body(receive, given.get(b"content-length", b""))
            patience.whole()
            return await route.handler(Asked(call, body, given, asked.path))
        except asyncio.CancelledError:
            if patience.why is not None:
                raise patience.why from None
            raise
        finally:
            patience.stop()

    @staticmethod
    def _behind(path: str) -> bool:
        """Whether BentoML answers it."""
        return path in (PROBE, "/schema.json") or path.startswith("/static_content/")

    def _core(self) -> Core:
        core = self.core()
        if core is None:
            raise NotReady("no answer can be given now", ["the service is starting"])
        return core

    def _deadline(self, header: bytes) -> float:
        """On the clock of `time.monotonic`; a client may ask for less time than the setting gives, not for more."""
        if not header.isdigit() or not int(header[:9]):
            raise Malformed(
                f"x-request-timeout-ms is {_shown(header)}; it is a whole number of milliseconds, at least 1"
            )
        return time.monotonic() + min(int(header[:9]) / 1_000, self._longest)

    def _headers(self, answer: Answer, call: Call) -> list[tuple[bytes, bytes]]:
        own = [
            (b"content-type", answer.media),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", call.request_id.encode()),
            (b"traceparent", call.traceparent.encode()),
            *(self.pages if b"html" in answer.media else self.always),
            *answer.headers,
        ]
        core = self.core()
        if core is not None and core.draining:  # so that the client's next request goes to a server that stays
            own.append((b"connection", b"close"))
        return own

    def _finish(self, call: Call, outcome: str, status: int) -> None:
        self.in_flight.dec()
        core = self.core()
        metrics.answered(call.route, outcome, "" if core is None else core.tag, call.seconds, call.client)
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
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        while True:
            if message["type"] == "http.disconnect":
                raise Left
            if size > limit:
                raise TooLarge(f"a body of more than {limit} bytes")
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if len(parts) == PARTS:
                parts = [b"".join(parts)]
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])


def _refusal(error: RequestError, call: Call, route: Route | None, path: str) -> Answer:
    """The problem as an answer."""
    body, media = error.body(call.request_id), PROBLEM
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, Slow):
        headers.append((b"connection", b"close"))  # the rest of the body would be taken for the next request
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    if route is not None:
        body, media = route.problem(body), route.problem_media
        if isinstance(error, WrongMethod):
            headers.append((b"allow", route.method.encode()))
    elif path.startswith("/v2/"):
        body, media = told(body), JSON
    return Answer(encode(body), error.outcome(), media, tuple(headers))


def _readable(given: dict[bytes, bytes], accepted: tuple[bytes, ...]) -> None:
    """Raises WrongMedia where the headers say that the body is anything but what the route takes, as it is."""
    media, _, parameters = given.get(b"content-type", accepted[0]).lower().partition(b";")
    if media.strip() not in accepted:
        raise WrongMedia(f"the body is {_shown(media)}; send {' or '.join(one.decode() for one in accepted)}")
    charset = parameters.partition(b"charset=")[2].partition(b";")[0].strip(b' "')
    if charset not in (b"", b"utf-8", b"us-ascii"):
        raise WrongMedia(f"the body's charset is {_shown(charset)}; send UTF-8")
    encoding = given.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        raise WrongMedia(f"the body's content-encoding is {_shown(encoding)}; send it as it is")


def _shown(header: bytes) -> str:
    return repr(header[:100].decode("latin-1"))
