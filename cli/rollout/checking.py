"""What is looked at in a running service, one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import usecases
from cli.console import many
from cli.parity import requests
from cli.rollout.asking import Answered, AskError, Service
from model import golden, store
from model.artefact import read_golden, read_manifest
from serving.examples import value
from settings import Settings
from usecases import UseCase

NEAR = 1e-6
"""How far apart may be what is asked one after the other, of features that depend on the time of the request."""
FAR = 1e-12
"""And what was computed on another numeric baseline."""
KEY = "holdfast-check"
"""Whom predictions are asked about: nobody."""


@dataclass(frozen=True)
class Proof:
    """One thing that was looked at, and what came out. `passed` is None where it could not be looked at."""

    name: str
    passed: bool | None
    said: str


@dataclass(frozen=True)
class Live:
    """What /v1/models says: the use case as it is here, and what the server told of its model."""

    usecase: UseCase
    told: dict[str, Any]


def proofs(asked: Service, grpc: bool, model: str | None, rows: int, settings: Settings) -> Iterator[Proof]:
    """One after the other, until something is wrong that the next one needs.

    Args:
        grpc: whether to ask over gRPC too. model: the tag that has to be served. rows: most golden rows that are asked.
    """
    try:
        yield _lives(asked)
        ready = _ready(asked)
        yield ready
        if not ready.passed:
            return
        live = _live(asked, settings)
        yield _served(live, model)
        yield _gated(live)
    except AskError as error:
        yield Proof("answer", False, str(error))
        return
    yield _told("prediction", lambda: _prediction(asked, live, grpc))
    yield _told("golden rows", lambda: _golden(asked, live, grpc, rows, settings))


def _told(name: str, look: Callable[[], Proof]) -> Proof:
    try:
        return look()
    except AskError as error:
        return Proof(name, False, str(error))


def _lives(asked: Service) -> Proof:
    status = asked.get("/livez").status_code
    return Proof("livez", status == 200, f"/livez answers {status}")


def _ready(asked: Service) -> Proof:
    answer = asked.get("/readyz")
    if answer.status_code != 200:
        return Proof("readyz", False, f"/readyz answers {answer.status_code}: {answer.text[:500]}")
    told = answer.json()
    degraded = f", degraded: {'; '.join(told['problems'])}" if told["degraded"] else ""
    return Proof("readyz", True, f"/readyz answers 200 for {told['model']}{degraded}")


def _live(asked: Service, settings: Settings) -> Live:
    answer = asked.get("/v1/models")
    if answer.status_code != 200:
        raise AskError(f"/v1/models answers {answer.status_code}: {answer.text[:500]}")
    (told,) = answer.json()["models"]
    return Live(usecases.load(told["usecase"], settings.usecases), told)


def _served(live: Live, model: str | None) -> Proof:
    name, theirs, ours = live.told["name"], live.told["fingerprint"], live.usecase.features.fingerprint
    if model not in (None, name):
        return Proof("model", False, f"{name} is served, not {model}")
    if theirs != ours:
        return Proof("model", False, f"{name} has features {theirs[:16]}; the code of this command has {ours[:16]}")
    return Proof("model", True, f"{name} is served, of features {theirs[:16]}, which are those of the code here")


def _gated(live: Live) -> Proof:
    told = live.told["golden"]
    how = "to the last bit" if told["exact"] else f"within {golden.ULPS} ulp"
    said = f"{told['rows'] - told['differing']} of {told['rows']} golden rows agreed {how} when the server started"
    return Proof("gate", told["rows"] > 0 and not told["differing"], said)


def _prediction(asked: Service, live: Live, grpc: bool) -> Proof:
    """One row over both, about nobody: that changes nothing for anybody, and needs no row of the online store."""
    usecase = live.usecase
    row: dict[str, Any] = {usecase.key: KEY}
    if fields := usecase.features.fields:
        row["attributes"] = {name: value(column) for name, column in fields.items()}
    (http,) = asked.over_http(usecase, [row])
    if not grpc:
        return Proof("prediction", True, f"HTTP says {http.decision}, {http.probability!r}; gRPC was not asked")
    (rpc,) = asked.over_grpc(usecase, [row])
    if http == rpc:
        return Proof("prediction", True, f"HTTP and gRPC say {http.decision}, {http.probability.hex()}: the same bits")
    said = f"HTTP says {http.decision}, {http.probability!r}, and gRPC {rpc.decision}, {rpc.probability!r}"
    if usecase.features.timed and http.decision == rpc.decision and abs(http.probability - rpc.probability) <= NEAR:
        return Proof("prediction", True, f"{said}: asked at two times, which the features depend on")
    return Proof("prediction", False, said)


def _golden(asked: Service, live: Live, grpc: bool, most: int, settings: Settings) -> Proof:
    """The golden rows asked from here, where a request can say all that is in them."""
    usecase, name = live.usecase, live.told["name"]
    if usecase.features.aggregates or usecase.features.timed:
        what = "aggregates" if usecase.features.aggregates else "the time of the request"
        return Proof("golden rows", None, f"no request carries {what}; what counts is what the server's gate found")
    directory = _directory(name, settings)
    if directory is None:
        return Proof("golden rows", None, f"{name} is neither in the store here nor in HOLDFAST_MODELS")
    if read_manifest(directory).content_digest != live.told["manifest"]["content_digest"]:
        return Proof("golden rows", False, f"{directory} holds another model {name} than the server")
    kept = read_golden(directory)[:most]
    if not kept:
        return Proof("golden rows", None, "none were asked for")
    keys = np.array([f"{KEY}-{row}" for row in range(len(kept))])
    rows = list(requests(usecase, keys, golden.restore(kept, usecase.features)))
    expected = [Answered(float.fromhex(row["probability"]), usecase.decisions[row["positive"]]) for row in kept]
    exact, ways = live.told["golden"]["exact"], {"HTTP": asked.over_http, **({"gRPC": asked.over_grpc} if grpc else {})}
    for way, ask in ways.items():
        for number, (wanted, found) in enumerate(zip(expected, ask(usecase, rows), strict=True)):
            far = abs(wanted.probability - found.probability)
            if wanted.decision != found.decision or far > (0 if exact else FAR):
                said = f"{wanted.decision}, {wanted.probability!r} for row {number}, {way} says {found.decision}, "
                return Proof("golden rows", False, f"training recorded {said}{found.probability!r}")
    how = "0 differing bits" if exact else "the same but for the last digits, on another numeric baseline"
    return Proof("golden rows", True, f"{many(len(kept), 'row')} asked again over {' and '.join(ways)}: {how}")


def _directory(tag: str, settings: Settings) -> Path | None:
    """Where the artefact is."""
    if store.there(tag):
        return store.path(tag)
    name, _, version = tag.partition(":")
    beside = None if settings.models is None else settings.models / name / version
    return beside if beside is not None and beside.is_dir() else None
