"""The Bento: HTTP and gRPC faces of one use case and one model, `bentoml serve` in the repository's root.

Which model: in a Bento, the one it was built with, or the one that `HOLDFAST_MODEL` names exactly (NAME:VERSION),
where archives carry models and the Bento only the code. From source, `HOLDFAST_MODEL` (also an alias: NAME@ALIAS) or
the champion of `HOLDFAST_USECASE`, resolved once at start.
"""

from __future__ import annotations

import os

import settings as holdfast_settings

holdfast_settings.pin_environment()  # numpy must find it
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # set by BentoML; one worker's metrics need no files

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import bentoml
import yaml
from bentoml import get_current_service  # once: BentoML's own attributes are looked up anew on each use, for 5 us
from bentoml.models import BentoModel

import usecases
from model import store
from model.registry import CHAMPION, open_registry
from serving import connection, logs, ports
from serving.call import Call
from serving.core import Core
from serving.headers import shared
from serving.http import Front
from serving.keys import Keys
from serving.openapi import document
from serving.process import Process
from serving.schema import Schema
from serving.tls import Certificate

log = logging.getLogger("holdfast")


def pinned() -> str | None:
    """The tag this Bento was built with; None where the code runs from source."""
    recipe = Path(__file__).parent.parent / "bento.yaml"
    if not recipe.exists():
        return None
    return str(yaml.safe_load(recipe.read_text())["services"][0]["models"][0]["tag"])


def wanted() -> str:
    """The exact tag to serve or to build with; it is in the store, or in the Bento.

    Raises:
        RegistryError, ModelNotFound: if there is none. SettingsError: if a Bento is to serve an alias.
    """
    own, asked = pinned(), getattr(bentoml.use_arguments(), "model", None) or SETTINGS.model
    if own is None:
        tag = REGISTRY.resolve(asked or f"{SETTINGS.usecase}@{CHAMPION}")
    elif SETTINGS.model is not None and ("@" in SETTINGS.model or ":" not in SETTINGS.model):
        raise holdfast_settings.SettingsError(
            f"HOLDFAST_MODEL={SETTINGS.model!r}: this Bento serves {own}, for which no alias can stand in, as nobody "
            "could tell later what was live; leave it out, or name another model exactly, as NAME:VERSION"
        )
    else:
        tag = SETTINGS.model or own
    store.path(tag)
    return tag


try:
    SETTINGS = holdfast_settings.load()
    KEYS, CERTIFICATE = Keys(SETTINGS), Certificate(SETTINGS)
    REGISTRY = open_registry(SETTINGS.registry_url, store.home() / "holdfast", SETTINGS.user, SETTINGS.image)
    TAG = wanted()
    USECASE = usecases.load(TAG.split(":")[0], SETTINGS.usecases)
    if sys.argv[1:2] == ["serve"]:  # the supervisor; a worker that finds no port would be started again and again
        from serving import supervisor  # workers start without it, and sooner

        ports.check(SETTINGS)
        supervisor.attend()
except holdfast_settings.HoldfastError as error:
    raise SystemExit(f"holdfast: {error}") from None
SCHEMA = Schema(USECASE)

if TYPE_CHECKING:
    from pydantic import BaseModel as Answer
    from pydantic import BaseModel as Answers
    from pydantic import BaseModel as Bulk
    from pydantic import BaseModel as Explain
    from pydantic import BaseModel as Predict

else:
    Predict, Explain, Bulk = SCHEMA.Predict, SCHEMA.Explain, SCHEMA.Bulk
    Answer, Answers = SCHEMA.Answer, SCHEMA.Answers


class Fronted(bentoml.Service[Any]):  # type: ignore[misc]  # untyped
    """BentoML's service with our front before it, so that predictions do not pass BentoML's middleware."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application that BentoML's worker serves."""
        connection.bound(SETTINGS, CERTIFICATE)
        return shared(Front(super().to_asgi(is_main), _core, document, SETTINGS, KEYS), SETTINGS)


@bentoml.service(
    name="holdfast",
    service_class=Fronted,
    workers=1,
    http={"port": 3000},
    ssl=CERTIFICATE.https,
    traffic={"timeout": 30},
    metrics={"enabled": False},  # labels with the raw path
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Holdfast:
    """Predictions of one use case, from one definition of every feature."""

    model = BentoModel(TAG)

    def __init__(self) -> None:
        logs.configure(SETTINGS)
        self.core = Core(USECASE, store.path(TAG), SETTINGS)
        self.runner = self.core.runner
        self.process = Process(self.core, SETTINGS, KEYS, CERTIFICATE)

    @bentoml.on_startup
    async def start(self) -> None:
        """Open gRPC and the metrics port, and journal that this model is served."""
        await self.process.start()
        await asyncio.to_thread(self._journal, "ready")

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Answer what was accepted, seal the log, and journal that this model is served no longer."""
        journalled = asyncio.to_thread(self._journal, "stop")  # PostgreSQL may take seconds, or be away
        await asyncio.gather(self.process.stop(), journalled)

    # The front answers these routes itself, from the same core. Here they make the schema that BentoML's clients read,
    # and are what code in this process calls.

    @bentoml.api(route="/v1/predict", name="predict")
    async def predict(self, asked: Predict, /) -> Answer:
        """The probability and the decision for one row."""
        rows = self.core.decoder.one(asked.model_dump_json().encode())
        told = await self.core.predict(rows, Call.begin("/v1/predict"))
        return Answer.model_validate(told.answers[0], from_attributes=True)

    @bentoml.api(route="/v1/explain", name="explain")
    async def explain(self, asked: Explain, /) -> Answer:
        """The same for one row, and why."""
        rows = self.core.decoder.explained(asked.model_dump_json().encode())
        told = await self.core.predict(rows, Call.begin("/v1/explain"))
        return Answer.model_validate(told.answers[0], from_attributes=True)

    @bentoml.api(route="/v1/predict/bulk", name="predict_bulk")
    async def predict_bulk(self, asked: Bulk, /) -> Answers:
        """The same for many rows; a row that is not accepted does not fail the others."""
        rows = self.core.decoder.many(asked.model_dump_json(exclude_none=True).encode())
        told = await self.core.predict(rows, Call.begin("/v1/predict/bulk"))
        return Answers.model_validate({"predictions": told.answers, "errors": told.errors}, from_attributes=True)

    def _journal(self, action: Literal["ready", "stop"]) -> None:
        if self.core.loaded is None:
            return
        try:
            REGISTRY.deployed(USECASE.name, action, TAG, self.core.loaded.proof)
        except (OSError, holdfast_settings.HoldfastError) as error:
            log.warning("the journal of deployments cannot be written: %s", error)


def _core() -> Core | None:
    return getattr(get_current_service(), "core", None)
