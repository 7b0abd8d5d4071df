"""The Bento: HTTP faces of one use case and one model, `bentoml serve` in the repository's root.

Which model: in a Bento, the one it was built with, for ever. From source, `HOLDFAST_MODEL` (NAME:VERSION or
NAME@ALIAS) or the champion of `HOLDFAST_USECASE`, resolved once at start.
"""

from __future__ import annotations

import os

import settings as holdfast_settings

holdfast_settings.pin_environment()  # numpy must find it
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # set by BentoML; one worker's metrics need no files

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import bentoml
import yaml
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from bentoml.models import BentoModel

import usecases
from model import store
from model.registry import CHAMPION, Registry
from serving.core import Core
from serving.edge import Edge, as_json, problem
from serving.errors import RequestError
from serving.openapi import document
from serving.schema import Schema

log = logging.getLogger("holdfast")


def pinned() -> str | None:
    """The tag this Bento was built with; None where the code runs from source."""
    recipe = Path(__file__).parent.parent / "bento.yaml"
    if not recipe.exists():
        return None
    return str(yaml.safe_load(recipe.read_text())["services"][0]["models"][0]["tag"])


def wanted() -> str:
    """The exact tag to serve or to build with; it is in the store.

    Raises:
        RegistryError, ModelNotFound: if there is none.
    """
    asked = getattr(bentoml.use_arguments(), "model", None) or SETTINGS.model or f"{SETTINGS.usecase}@{CHAMPION}"
    tag = pinned() or REGISTRY.resolve(asked)
    store.path(tag)
    return tag


try:
    SETTINGS = holdfast_settings.load()
    REGISTRY = Registry(store.home() / "holdfast", SETTINGS.user, SETTINGS.image)
    TAG = wanted()
    USECASE = usecases.load(TAG.split(":")[0], SETTINGS.usecases)
except holdfast_settings.HoldfastError as error:
    raise SystemExit(f"holdfast: {error}") from None
SCHEMA = Schema(USECASE)

if TYPE_CHECKING:
    from pydantic import BaseModel as Answer
    from pydantic import BaseModel as Answers
    from pydantic import BaseModel as Bulk
    from pydantic import BaseModel as Predict
else:
    Predict, Bulk, Answer, Answers = SCHEMA.Predict, SCHEMA.Bulk, SCHEMA.Answer, SCHEMA.Answers


class PredictRequest(Predict):
    """One row."""

    @classmethod
    def model_validate_json(cls, *_: Any, **__: Any) -> PredictRequest:
        """Nothing is read here: the core reads the body itself, and tells every problem of every row."""
        return cls.model_construct()


class BulkRequest(Bulk):
    """Rows or columns."""

    @classmethod
    def model_validate_json(cls, *_: Any, **__: Any) -> BulkRequest:
        """Nothing is read here: the core reads the body itself, and tells every problem of every row."""
        return cls.model_construct()


@bentoml.service(name="holdfast", workers=1, http={"port": 3000}, traffic={"timeout": 30}, metrics={"enabled": False})
class Holdfast:
    """Predictions of one use case, from one definition of every feature."""

    model = BentoModel(TAG)

    def __init__(self) -> None:
        _share_log()
        self.core = Core(USECASE, store.path(TAG), SETTINGS)
        self.threads = CapacityLimiter(max(1, SETTINGS.online_pool - 1))  # one connection is left for /readyz
        self._journal("ready")

    @bentoml.api(route="/v1/predict", name="predict")
    async def predict(self, _: PredictRequest, /, ctx: bentoml.Context) -> Answer:
        """The probability and the decision for one row."""
        answer: Answer = await self._answer(ctx, self.core.predict, threaded=self.core.online.waits)
        return answer

    @bentoml.api(route="/v1/predict/bulk", name="predict_bulk")
    async def predict_bulk(self, _: BulkRequest, /, ctx: bentoml.Context) -> Answers:
        """The same for many rows; a row that is not accepted does not fail the others."""
        answers: Answers = await self._answer(ctx, self.core.bulk, threaded=True)
        return answers

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Journal that this model is served no longer, and let go of the store."""
        self._journal("stop")
        self.core.close()

    async def _answer(
        self, ctx: bentoml.Context, call: Callable[[bytes, str], dict[str, Any]], *, threaded: bool
    ) -> Any:
        state = ctx.request.state
        try:
            if threaded:  # it computes for long or waits for a server: others are answered meanwhile
                return as_json(await run_sync(call, state.body, state.request_id, limiter=self.threads))
            return as_json(call(state.body, state.request_id))
        except RequestError as error:
            ctx.response.status_code = error.status  # BentoML puts its own over the response's
            return problem(error, state.request_id)

    def _journal(self, action: Literal["ready", "stop"]) -> None:
        if self.core.loaded is None:
            return
        try:
            REGISTRY.deployed(USECASE.name, action, TAG, self.core.loaded.proof)
        except OSError as error:
            log.warning("the journal of deployments cannot be written: %s", error)


def _core() -> Core | None:
    return getattr(bentoml.get_current_service(), "core", None)


@cache
def _openapi() -> dict[str, Any]:
    about = f"{USECASE.title}. Predictions by `{TAG}`, from one definition of every feature."
    return document(SERVICE.openapi_spec.asdict(), TAG, about)


def _share_log() -> None:
    """Let Holdfast's log lines go where BentoML's go, in its form."""
    log.handlers, log.level, log.propagate = logging.getLogger("bentoml").handlers, logging.INFO, False


SERVICE: Any = Holdfast  # the decorator made it a bentoml.Service
SERVICE.add_asgi_middleware(Edge, core=_core, openapi=_openapi, limit=SETTINGS.max_body_bytes)
