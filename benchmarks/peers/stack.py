"""A constant answered at several places of BentoML's stack; WHERE says which (see benchmarks/stack.py)."""

import os
from typing import Any

import bentoml

WHERE = os.environ["WHERE"]
BODY = b'{"probability":0.5}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
CONFIG: dict[str, Any] = {}
if WHERE in ("no-access-log", "configured"):
    CONFIG["logging"] = {"access": {"enabled": False}}
if WHERE in ("no-tracing", "configured"):
    CONFIG["tracing"] = {"excluded_urls": ".*"}


class Constant:
    """ASGI middleware that answers /v1/predict itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http" or scope["path"] != "/v1/predict":
            await self.app(scope, receive, send)
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


class Fronted(bentoml.Service):
    """Answers in front of BentoML."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application."""
        return Constant(super().to_asgi(is_main))


SERVICE = Fronted if WHERE == "in-front" else bentoml.Service


@bentoml.service(service_class=SERVICE, workers=1, traffic={"timeout": 30}, metrics={"enabled": False}, **CONFIG)
class Stack:
    """One method, as a service must have one."""

    @bentoml.api
    def nothing(self, number: int) -> int:
        """The number."""
        return number


if WHERE != "in-front":
    Stack.add_asgi_middleware(Constant)
