"""The same customers on other engines: a copy of the events there, for as long as they are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np

from batch.score import Scoring
from cli.workspace import Workspace
from features.rows import Arrays
from features.store import POSTGRESQL, open_online
from features.store.base import EventStore, Lookup, OnlineStore, Spine, StoreError
from features.store.materialize import materialize
from model.golden import Inputs
from model.scorer import Scorer, Scores
from settings import redacted

if TYPE_CHECKING:
    from features.store.postgres_events import PostgresEvents

WIDE, NARROW = 10_000, 500
"""Keys asked at once of an event store, and of an online store."""


@dataclass(frozen=True)
class Asked:
    """What is compared: keys, their raw inputs at one time t (microseconds), and the model that scores them."""

    workspace: Workspace
    artefact: Path
    scorer: Scorer
    keys: np.ndarray[Any, Any]
    inputs: Inputs
    t: int


def answers(asked: Asked, engine: str) -> Iterator[tuple[str, int, Scores]]:
    """The scores of every key by each path of an engine: name of the path, first row, scores.

    Args:
        engine: `duckdb` (over a copy of the events, where they are in a database), `spark`, or the address of a
            PostgreSQL or Redis server. Nothing stays there afterwards.

    Raises:
        StoreError: if the engine is out of reach.
    """
    if engine == "spark":
        yield from _spark(asked)
        return
    if engine == "duckdb":
        yield from _duckdb(asked)
        return
    scheme = urlsplit(engine).scheme
    if asked.workspace.usecase.features.events is None:
        return  # nothing is stored online: every input is in the request
    title = "PostgreSQL" if scheme in POSTGRESQL else "Redis"
    with _copy(asked, engine) as (online, name):
        if scheme in POSTGRESQL:
            yield from _wide(asked, title, _events(asked, engine, name))
        yield from _narrow(asked, f"{title} on-read", online, computed=True)
        yield from _narrow(asked, f"{title} materialized", online, computed=False)


def check(engine: str) -> str:
    """The engine, if there is such a one.

    Raises:
        StoreError: naming those that there are.
    """
    if engine not in ("duckdb", "spark") and urlsplit(engine).scheme not in (*POSTGRESQL, "redis", "rediss"):
        raise StoreError(f"no engine {redacted(engine)!r}: there are duckdb, spark, postgresql://..., redis://...")
    return engine


@dataclass(frozen=True)
class Answering:
    """The features and scores of rows, as `EventStore.transform` asks for them, in whatever process."""

    scoring: Scoring

    def __call__(self, _: np.ndarray[Any, Any], found: Lookup, fields: Arrays) -> Arrays:
        """Arrays of n: every feature that is a model input, margin, probability and positive."""
        scorer = self.scoring.load().scorer
        attributes = {name: fields[name] for name in scorer.features.fields}
        scores = scorer.score(found.aggregates, attributes, found.as_of)
        features = {f"f.{name}": scores.features[name] for name in scorer.features.inputs}
        return {**features, "margin": scores.margin, "probability": scores.probability, "positive": scores.positive}


def _duckdb(asked: Asked) -> Iterator[tuple[str, int, Scores]]:
    from features.store.mirror import mirrored

    workspace = asked.workspace
    if workspace.usecase.features.events is None:
        return
    with TemporaryDirectory(prefix="holdfast-parity-") as directory:
        store = mirrored(workspace.events, Path(directory), workspace.usecase.features)
        yield from _wide(asked, "DuckDB", store)


def _spark(asked: Asked) -> Iterator[tuple[str, int, Scores]]:
    """The SQL text by Spark, and the same row functions on its executors."""
    workspace = asked.workspace
    store = Workspace(workspace.settings, workspace.usecase, workspace.spark or "local[*]").events
    answering = Answering(Scoring.of(workspace.usecase.name, asked.artefact, workspace.settings.usecases))
    records = workspace.usecase.features.attributes is not None
    found = store.transform(Spine.at(asked.keys, asked.t), answering, records=records)
    features = {name[2:]: values for name, values in found.items() if name.startswith("f.")}
    matrix = workspace.usecase.features.matrix(features)
    yield "Spark", 0, Scores(features, matrix, found["margin"], found["probability"], found["positive"])


@contextmanager
def _copy(asked: Asked, url: str) -> Iterator[tuple[OnlineStore, str]]:
    workspace, name = asked.workspace, f"parity_{uuid4().hex[:8]}"
    online = open_online(url, workspace.home, workspace.usecase.features, name=name, timeout=60.0)
    with closing(online):
        try:
            online.migrate()
            materialize(workspace.events, online, asked.t)
            yield online, name
        finally:
            online.clear()
            if urlsplit(url).scheme in POSTGRESQL:
                _events(asked, url, name).clear()


def _events(asked: Asked, url: str, name: str) -> PostgresEvents:
    """The event store's own road, over the events that the online store has taken over."""
    from features.store.postgres_events import PostgresEvents

    usecase = asked.workspace.usecase
    return PostgresEvents(url, f"{name}_online", usecase.features, usecase.sources)


def _wide(asked: Asked, path: str, store: EventStore) -> Iterator[tuple[str, int, Scores]]:
    for start in range(0, len(asked.keys), WIDE):
        found = store.aggregate(Spine.at(asked.keys[start : start + WIDE], asked.t))
        yield path, start, _scored(asked, start, found)


def _narrow(asked: Asked, path: str, online: OnlineStore, *, computed: bool) -> Iterator[tuple[str, int, Scores]]:
    for start in range(0, len(asked.keys), NARROW):
        keys = asked.keys[start : start + NARROW].tolist()
        yield path, start, _scored(asked, start, online.compute(keys, asked.t) if computed else online.read(keys))


def _scored(asked: Asked, start: int, found: Lookup) -> Scores:
    rows = np.arange(start, start + len(found.known))
    beside = asked.inputs.take(rows)
    return asked.scorer.score(found.aggregates, beside.attributes, np.full(len(rows), asked.t, dtype=np.int64))
