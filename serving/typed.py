"""The typed service of a use case, whose messages come from its contract, by the same core as HTTP."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import asdict

from serving import metrics
from serving.call import Call
from serving.core import Core
from serving.gathering import Gathering
from serving.proto import Protocol


class Typed:
    """Predictions of one use case.

    Attributes:
        name: of the service. files: serialized descriptions.
    """

    def __init__(self, core: Core) -> None:
        self.core, self.protocol = core, Protocol(core.usecase)
        self.name, self.files = self.protocol.service, (self.protocol.file.SerializeToString(),)
        self._gathering = Gathering(core.settings.max_batch_size)

    def methods(self) -> Mapping[str, Callable[[bytes, Call], Awaitable[tuple[bytes, str]]]]:
        """What it answers."""
        return {
            "Predict": self.predict,
            "PredictBulk": self.bulk,
            "GetModel": self.model,
            "Feedback": self.feedback,
        }

    async def predict(self, data: bytes, call: Call) -> tuple[bytes, str]:
        """One row."""
        self.core.runner.admit(1, call.deadline)  # refused before it is read, where it would be refused behind it
        rows = self.core.decoder.single(self.protocol.row(data))
        _staged("decode", call.started)
        await self._gathering.join()
        told = await self.core.predict(rows, call)
        began = time.perf_counter()
        answer = self.protocol.prediction(asdict(told.answers[0]))
        _staged("encode", began)
        return answer, "ok"

    async def bulk(self, data: bytes, call: Call) -> tuple[bytes, str]:
        """Many rows."""
        self.core.runner.admit(1, call.deadline)
        rows = self.core.decoder.accept(*self.protocol.rows(data))
        _staged("decode", call.started)
        told = await self.core.predict(rows, call)
        began = time.perf_counter()
        answer = self.protocol.predictions([asdict(one) for one in told.answers], told.errors)
        _staged("encode", began)
        return answer, "partial" if told.errors else "ok"

    async def model(self, data: bytes, call: Call) -> tuple[bytes, str]:  # noqa: ARG002  # a method has both
        """What answers."""
        self.protocol.nothing(data)
        live = self.core.models()["models"][0]
        return self.protocol.model(live["name"], live["fingerprint"], live["decision"]["threshold"]), "ok"

    async def feedback(self, data: bytes, call: Call) -> tuple[bytes, str]:
        """What became of those whom predictions were about."""
        told = await self.core.feedback.accept(self.protocol.outcomes(data), call)
        return self.protocol.receipt(told), "partial" if told["errors"] else "ok"


def _staged(stage: str, began: float) -> None:
    metrics.stage[stage](time.perf_counter() - began)
