"""What a server says of itself: probes, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.core import Core
from serving.openapi import PAGE
from serving.readiness import Readiness
from serving.routing import Answer, Asked, Route


class Pages:
    """Handlers over a core.

    Args:
        core: asks for it, and raises NotReady while the service starts. openapi: makes its document.
    """

    def __init__(
        self, core: Callable[[], Core], openapi: Callable[[Core], dict[str, Any]], readiness: Readiness
    ) -> None:
        self.core, self.openapi, self.readiness = core, openapi, readiness
        self._document: bytes | None = None

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
        """Whether predictions can be asked for."""
        return Answer(_json(await self.readiness()))

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


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
