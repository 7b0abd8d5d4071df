"""`holdfast parity`: every customer's features and score by every path, compared to the last bit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.engines import Asked, answers
from cli.served import Refused, ways
from cli.server import OPEN, serve
from cli.workspace import Workspace
from features import clock
from features.contract import columns
from features.store.base import Spine
from model.golden import Inputs
from model.scorer import Scorer, Scores
from serving.core import Core
from serving.errors import NotAccepted
from settings import HoldfastError
from training.dataset import frame
from training.progress import Step
from usecases import UseCase

CHUNK, SERVED_ROWS = 5_000, 500


class ParityError(HoldfastError):
    """Two paths differ; the message names the customer, the feature and both values."""


@dataclass(frozen=True)
class Parity:
    """What was compared: customers, paths, and how many numbers were found equal."""

    usecase: str
    model: str
    as_of: str
    customers: int
    paths: dict[str, int]

    @property
    def line(self) -> str:
        """The proof in one line."""
        return (
            f"{self.usecase} at {self.as_of}, {self.model}: {self.customers:,} customers by {len(self.paths)} paths, "
            f"{sum(self.paths.values()):,} numbers compared, 0 differing bits"
        )


def parity(workspace: Workspace, tag: str, progress: Step, *, http: bool = True, engines: Sequence[str] = ()) -> Parity:
    """Compare training frame, batch pass, on-read, materialized rows, and a server asked in every way.

    Args:
        engines: compare these too: `spark`, or the address of a PostgreSQL or Redis server, where a copy of the events
            is kept for as long as it takes.

    Raises:
        ParityError: at the first difference.
    """
    usecase, t = workspace.usecase, workspace.as_of
    keys = workspace.events.keys(t)
    if not len(keys):
        raise ParityError(f"{usecase.name} has no customers at {clock.rfc3339(t)}: there is nothing to compare")
    inputs = frame(usecase, workspace.events, Spine.at(keys, t))
    with tempfile.TemporaryDirectory(prefix="holdfast-parity-") as temporary:
        online = _online_copy(workspace, Path(temporary))
        core = Core(usecase, workspace.models.path(tag), online.settings, record=False)
        if core.loaded is None:
            raise ParityError("; ".join(core.refused))
        base = inputs.score(core.loaded.scorer)
        compared: dict[str, int] = {"training frame": len(keys) * (1 + len(usecase.features.inputs))}
        rows = list(requests(usecase, keys, inputs))
        check = _Check(usecase, keys, base)
        compared["batch pass"] = _batch(workspace, core.loaded.scorer, keys, t, check, progress)
        for name, read in (("on-read", "on-read"), ("materialized", "materialized")):
            mode = online.settings.model_copy(update={"online_read": read})
            one = Core(usecase, workspace.models.path(tag), mode, record=False)
            compared[name] = _singles(one, rows, t, check, name, progress)
            one.online.close()
        core.online.close()
        for engine in engines:
            asked = Asked(workspace, workspace.models.path(tag), core.loaded.scorer, keys, inputs, t)
            for path, start, scores in answers(asked, engine):
                compared[path] = compared.get(path, 0) + check.scores(path, start, scores)
                progress(path, start + len(scores), len(keys))
        if http:
            compared |= _served(online, tag, rows, check, progress, Path(temporary) / "serve.log")
    return Parity(usecase.name, tag, clock.rfc3339(t), len(keys), compared)


def requests(usecase: UseCase, keys: np.ndarray[Any, Any], inputs: Inputs) -> Iterator[dict[str, Any]]:
    """What a client sends for each key: plain JSON values."""
    fields = columns(usecase.features.attributes) if usecase.features.attributes else ()
    plain = {column.name: inputs.attributes[column.name].tolist() for column in fields}
    for place, key in enumerate(keys.tolist()):
        row: dict[str, Any] = {usecase.key: key}
        if fields:
            given = {column.name: plain[column.name][place] for column in fields}
            row["attributes"] = {
                name: None if value != value or value == "" else value for name, value in given.items()
            }
        yield row


class _Check:
    """Compares with the training frame, bit by bit; a missing number equals a missing number."""

    def __init__(self, usecase: UseCase, keys: np.ndarray[Any, Any], base: Scores) -> None:
        self.usecase, self.keys, self.base = usecase, keys, base

    def scores(self, path: str, start: int, scores: Scores) -> int:
        """Compare features and probabilities of rows `start`, `start + 1`, ...; how many numbers."""
        rows = slice(start, start + len(scores))
        for name in self.usecase.features.inputs:
            self._same(path, name, self.base.features[name][rows], scores.features[name], start)
        self._same(path, "probability", self.base.probability[rows], scores.probability, start)
        return len(scores) * (1 + len(self.usecase.features.inputs))

    def probabilities(self, path: str, start: int, probability: list[float]) -> int:
        """Compare probabilities alone."""
        there = self.base.probability[start : start + len(probability)]
        self._same(path, "probability", there, np.array(probability), start)
        return len(probability)

    def _same(self, path: str, name: str, expected: Any, found: Any, start: int) -> None:
        if expected.dtype.kind == "f" and found.dtype == expected.dtype:
            differ = (expected.view(np.int64) != found.view(np.int64)) & ~(np.isnan(expected) & np.isnan(found))
        else:
            differ = (expected != found) | (expected.dtype.kind != found.dtype.kind)
        if np.any(differ):
            row = int(np.flatnonzero(differ)[0])
            raise ParityError(
                f"customer {str(self.keys[start + row])!r}: {name} is {expected[row].item()!r} in the training frame "
                f"and {found[row].item()!r} by {path}"
            )


def _batch(workspace: Workspace, scorer: Scorer, keys: Any, t: int, check: _Check, progress: Step) -> int:
    compared = 0
    for start in range(0, len(keys), CHUNK):
        part = frame(workspace.usecase, workspace.events, Spine.at(keys[start : start + CHUNK], t))
        compared += check.scores("the batch pass", start, part.score(scorer))
        progress("batch pass", min(start + CHUNK, len(keys)), len(keys))
    return compared


def _singles(core: Core, rows: list[dict[str, Any]], t: int, check: _Check, name: str, progress: Step) -> int:
    compared = 0
    for place, given in enumerate(rows):
        try:
            asked = core.decoder.one(json.dumps(given).encode())
        except NotAccepted as error:
            raise ParityError(
                f"customer {check.keys[place]!r}: the request is not accepted: {error.problems}"
            ) from None
        _, scores = core.compute(asked, t)
        compared += check.scores(name, place, scores)
        if place % 500 == 499 or place == len(rows) - 1:
            progress(name, place + 1, len(rows))
    return compared


def _served(
    online: Workspace, tag: str, rows: list[dict[str, Any]], check: _Check, progress: Step, log: Path
) -> dict[str, int]:
    """A real server, asked in every way there is."""
    environ = {
        **OPEN,
        "HOLDFAST_MODEL": tag,
        "HOLDFAST_USECASE": online.usecase.name,
        "HOLDFAST_NOW": clock.rfc3339(online.as_of),
        "HOLDFAST_ONLINE_URL": online.settings.online_url or "",
        "HOLDFAST_ONLINE_READ": "materialized",
        "HOLDFAST_PREDICTIONS_URL": "none:",
        "HOLDFAST_DRAIN_S": "0",
    }
    compared: dict[str, int] = {}
    with serve(environ, log=log) as server, ways(online.usecase, server) as asks:
        for start in range(0, len(rows), SERVED_ROWS):
            for name, ask in asks.items():
                try:
                    found = ask(rows[start : start + SERVED_ROWS])
                except Refused as error:
                    raise ParityError(f"{name} from row {start}: {error}") from None
                compared[name] = compared.get(name, 0) + check.probabilities(name, start, found)
            progress("HTTP and gRPC", min(start + SERVED_ROWS, len(rows)), len(rows))
    return compared


def _online_copy(workspace: Workspace, directory: Path) -> Workspace:
    """The same use case with an online store of its own, filled from the event store at this as_of."""
    changed = workspace.settings.model_copy(update={"online_url": f"sqlite://{directory / 'online.sqlite'}"})
    online = Workspace(changed, workspace.usecase)
    online.materialize()
    return online
