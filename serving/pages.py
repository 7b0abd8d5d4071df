"""What a server says of itself: probes, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.core import Core
from serving.openapi import PAGE
from serving.routing import Answer, Asked, Route


class Pages:
    """Handlers over a core.

    Args:
        core: asks for it, and raises NotReady while the service starts. openapi: makes its document.
    """

    def __init__(self, core: Callable[[], Core], openapi: Callable[[Core], dict[str, Any]]) -> None:
        self.core, self.openapi = core, openapi
        self.probes = CapacityLimiter(1)  # a thread of its own: requests that wait for the store do not hold it up
        self._document: bytes | None = None
        self._look: asyncio.Future[dict[str, Any]] | None = None

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("GET", "/readyz", self.ready, open=True),
            Route("GET", "/livez", self.live, open=True),
            Route("GET", "/metrics", self.metrics),
            Route("GET", "/docs.json", self.document),
            Route("GET", "/", self.page),
        ]

    async def ready(self, _: Asked) -> Answer:
        """Whether predictions can be asked for. One look answers all who ask meanwhile: it takes no key to ask, and a
        probe must not wait behind a thousand."""
        if self._look is None:
            self._look = asyncio.ensure_future(run_sync(self.core().ready, limiter=self.probes))
            self._look.add_done_callback(self._seen)
        return Answer(_json(await asyncio.shield(self._look)))

    async def live(self, _: Asked) -> Answer:
        """Whether the process lives."""
        return Answer(b'{"live":true}')

    async def metrics(self, _: Asked) -> Answer:
        """What Prometheus reads."""
        return Answer(generate_latest(), media=CONTENT_TYPE_LATEST.encode())

    async def document(self, _: Asked) -> Answer:
        """The OpenAPI document."""
        if self._document is None:
            self._document = _json(self.openapi(self.core()))
        return Answer(self._document)

    async def page(self, _: Asked) -> Answer:
        """The document to look at."""
        return Answer(PAGE, media=b"text/html; charset=utf-8")

    def _seen(self, look: asyncio.Future[dict[str, Any]]) -> None:
        self._look = None
        if not look.cancelled():
            look.exception()  # is told to those who asked, if they are still there


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
