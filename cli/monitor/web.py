"""The monitor over HTTP: its page, its metrics and its verdicts.

    GET /                          every model
    GET /models/TAG                one of them
    GET /windows/TAG/NUMBER        one window, every column
    GET /reports/NAME              a report of Evidently's
    GET /v1/verdicts               the newest verdict of each model, as JSON
    GET /metrics                   for Prometheus
    GET /livez, /readyz            200 while passes are made; 200 while the ledger can be read

Where HOLDFAST_API_KEYS is set, all but the last two lines ask for a key: as `Authorization: Bearer KEY`, `X-API-Key:
KEY`, or as the password that a browser asks for, under any name.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cli.monitor.timer import Timer
from features.store.base import StoreError
from monitoring.metrics import Monitor, exposition
from monitoring.page import HEADERS, ICON, STYLE, Watched, model, overview, trouble, verdicts, window
from monitoring.page.watched import NotThere
from serving.keys import NEEDED, Keys

log = logging.getLogger("holdfast.monitoring")

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
REPORT = {
    **HEADERS,
    # it needs its own script, and gets an origin of its own, from which it reaches nothing
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; font-src data:; img-src data: blob:",
}


def application(watched: Watched, timer: Timer, keys: Keys) -> ASGIApp:
    """What answers."""
    metrics = Monitor(watched.usecase.name, watched.ledger, timer.passes)

    def page(make: Callable[[Request], str]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            return HTMLResponse(make(request), headers=HEADERS)

        return answer

    def report(request: Request) -> Response:
        name = request.path_params["name"]
        path = watched.reports / name
        if path.suffix != ".html" or path.name != name or not path.is_file():
            raise NotThere(f"no report {name} is there")
        return HTMLResponse(path.read_bytes(), headers=REPORT)

    def ready(_: Request) -> Response:
        watched.ledger.number()
        return PlainTextResponse("ready\n", headers={"Cache-Control": "no-store"})

    def live(_: Request) -> Response:
        return PlainTextResponse(*(("alive\n", 200) if timer.alive else ("no passes are made\n", 503)))

    def told(_: Request) -> Response:
        return Response(json.dumps(verdicts.told(watched)), media_type="application/json", headers=HEADERS)

    def fixed(body: str, kind: str) -> Callable[[Request], Response]:
        headers = {**HEADERS, "Cache-Control": "private, max-age=86400"}  # their addresses change with them
        return lambda _: Response(body, media_type=kind, headers=headers)

    def missing(request: Request, error: Exception) -> Response:
        return _problem(watched, request, 404, str(error))

    def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _problem(watched, request, status, f"there is no {request.url.path} here" if status == 404 else "")

    def away(request: Request, error: Exception) -> Response:
        log.error("%s: %s", request.url.path, error)
        return _problem(watched, request, 503, str(error))

    routes = [
        Route("/", page(lambda _: overview.page(watched, timer.trouble))),
        Route("/models/{tag}", page(lambda request: model.page(watched, request.path_params["tag"]))),
        Route("/windows/{tag}/{number:int}", page(lambda request: window.page(watched, **request.path_params))),
        Route("/reports/{name}", report),
        Route("/v1/verdicts", told),
        Route("/style.css", fixed(STYLE, "text/css")),
        Route("/icon.svg", fixed(ICON, "image/svg+xml")),
        Route("/metrics", lambda _: Response(exposition(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})),
        Route("/livez", live),
        Route("/readyz", ready),
    ]
    handlers = {NotThere: missing, StoreError: away, HTTPException: refused}
    return Guarded(Starlette(routes=routes, exception_handlers=handlers), keys)


class Guarded:
    """Asks for a key before anything is answered."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.keys.on and scope["path"] not in OPEN:
            self.keys.look()
            headers = dict(scope["headers"])
            password = _password(headers.get(b"authorization", b""))
            if not self.keys.client({**headers, **({b"x-api-key": password} if password else {})}):
                offered = {"WWW-Authenticate": 'Basic realm="monitor", charset="UTF-8"'}
                refusal = PlainTextResponse(f"{NEEDED}, or as a password\n", 401, headers={**HEADERS, **offered})
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _password(header: bytes) -> bytes:
    """What a browser sends of what its user typed."""
    scheme, _, token = header.partition(b" ")
    if scheme.lower() == b"basic":
        with suppress(binascii.Error):
            return base64.b64decode(token.strip(), validate=True).partition(b":")[2]
    return b""


def _problem(watched: Watched, request: Request, status: int, why: str) -> Response:
    if request.url.path.startswith("/v1/") or request.url.path in OPEN:
        return PlainTextResponse(f"{why}\n", status, headers=HEADERS)
    return HTMLResponse(trouble.page(watched, status, why), status, headers=HEADERS)
