"""What every HTTP answer tells browsers, whoever made it: BentoML's pages and refusals too."""

from __future__ import annotations

import base64
import re
from hashlib import sha256

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.openapi import PAGE
from settings import Settings

Headers = tuple[tuple[bytes, bytes], ...]

_SCRIPTS = " ".join(
    f"'sha256-{base64.b64encode(sha256(script).digest()).decode()}'"
    for script in re.findall(rb"<script>(.*?)</script>", PAGE)
)
NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""What an answer may load that is no page. uvicorn looks at every letter of every header."""
PAGES = (
    f"default-src 'none'; script-src 'self' {_SCRIPTS}; "
    "style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""What the page at / may load, and nothing else: its files and its own script."""
_ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_TLS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
ASKED = ("authorization", "x-api-key", "content-type", "x-request-id", "x-request-timeout-ms", "traceparent")
TOLD = ("x-request-id", "retry-after", "traceparent")
"""Headers that pages of other origins may send, and those that they may read."""


def headers(settings: Settings, policy: str = NOTHING) -> Headers:
    """Of every answer."""
    return (*_ALWAYS, (b"content-security-policy", policy.encode()), *(_TLS if settings.tls_cert else ()))


class Headed:
    """An application whose answers get those headers that they have not."""

    def __init__(self, app: ASGIApp, own: Headers) -> None:
        self.app, self.own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", ())}
                message["headers"] = [*message.get("headers", ()), *(one for one in self.own if one[0] not in there)]
            await send(message)

        await self.app(scope, receive, told)


def shared(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application as pages of `cors_origins` may ask it; itself where there are none."""
    if not settings.cors_origins:
        return app
    allowed = CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "POST"),
        allow_headers=ASKED,
        expose_headers=TOLD,
    )
    return Headed(allowed, headers(settings))
