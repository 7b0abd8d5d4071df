"""Holdfast's own routes, /v1: predictions as JSON, one row or many, their outcomes, and what is live."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any

from serving import metrics
from serving.answers import encode
from serving.core import Core
from serving.parts import Told
from serving.routing import Answer, Asked, Route
from serving.rows import Rows


class V1:
    """Handlers over a core; `core` is asked for it, and raises NotReady while the service starts."""

    def __init__(self, core: Callable[[], Core]) -> None:
        self.core = core

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("POST", "/v1/predict", self.predict),
            Route("POST", "/v1/predict/bulk", self.bulk),
            Route("POST", "/v1/explain", self.explain),
            Route("POST", "/v1/feedback", self.feedback),
            Route("GET", "/v1/models", self.models),
        ]

    async def predict(self, asked: Asked) -> Answer:
        """One row."""
        told = await self._told(asked, self.core().decoder.one)
        return Answer(encoded(told.answers[0]))

    async def explain(self, asked: Asked) -> Answer:
        """One row, and why."""
        told = await self._told(asked, self.core().decoder.explained)
        return Answer(encoded(told.answers[0]))

    async def bulk(self, asked: Asked) -> Answer:
        """Many rows."""
        told = await self._told(asked, self.core().decoder.many)
        body = encoded({"predictions": told.answers, "errors": told.errors})
        return Answer(body, "partial" if told.errors else "ok")

    async def feedback(self, asked: Asked) -> Answer:
        """What became of those whom predictions were about."""
        feedback = self.core().feedback
        told = await feedback.accept(feedback.read(asked.body), asked.call)
        return Answer(encode(told), "partial" if told["errors"] else "ok")

    async def models(self, _: Asked) -> Answer:
        """What is live."""
        return Answer(json.dumps(self.core().models(), allow_nan=False, separators=(",", ":")).encode())

    async def _told(self, asked: Asked, read: Callable[[bytes], Rows]) -> Told:
        started = perf_counter()
        rows = read(asked.body)
        metrics.stage["decode"](perf_counter() - started)
        return await self.core().predict(rows, asked.call, packed=True)


def encoded(answer: Any) -> bytes:
    """An answer as JSON, timed."""
    started = perf_counter()
    body = encode(answer)
    metrics.stage["encode"](perf_counter() - started)
    return body
