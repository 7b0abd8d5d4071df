"""What the tests of batch/ share: a run over a workspace, a club with members that cannot be scored, a database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import usecases
from batch import run as module
from batch.plan import Run, ask
from batch.run import Outcome
from batch.score import Scoring
from batch.sink import Sink
from benchmarks.servers import Server, postgresql
from cli.workspace import Workspace
from features import clock
from features.clock import DAY
from features.etl.ingest import ingest
from features.store.parquet import ParquetStore
from model import store as model_store
from model.artefact import read_manifest
from training.train import train
from usecases import UseCase

OWN = Path(__file__).parent / "usecases"
START = clock.parse("2025-01-01T00:00:00Z")
AS_OF = START + 200 * DAY


@dataclass(frozen=True)
class Club:
    """A use case with its store and its model."""

    usecase: UseCase
    events: ParquetStore
    directory: Path

    @property
    def scoring(self) -> Scoring:
        """Its model, to score with."""
        return Scoring.of("club", self.directory, OWN)

    def ask(self, rows_per_part: int = 100, t: int = AS_OF) -> Run:
        """The run over everyone."""
        return ask("club", self.events, t, read_manifest(self.directory), rows_per_part)

    def score(self, sink: Sink, *, rows_per_part: int = 100, **how: Any) -> Outcome:
        """Score everyone."""
        return module.score(self.usecase, self.events, sink, self.ask(rows_per_part), self.scoring, **how)

    def take(self, table: str, header: str, rows: Sequence[tuple[object, ...]], *, now: int = AS_OF) -> None:
        """Ingest rows as history."""
        path = self.events.root.parent / f"{table}.csv"
        path.write_text("".join(f"{','.join(map(str, row))}\n" for row in [(header,), *rows]))
        outcome = ingest(self.events, table, path, now=now, backfill=True)
        assert outcome.new == len(rows)

    def join(self, member: str, age: int, discount: float) -> None:
        """One more member, who has come once."""
        self.take("events", "member_id,came_at,paid", [(member, clock.rfc3339(START), "5.00")])
        self.take("records", "member_id,age,discount", [(member, age, discount)])


def scored(workspace: Workspace, sink: Sink, rows_per_part: int, **how: Any) -> Outcome:
    """Score everyone of a workspace by its champion."""
    tag = workspace.champion()
    assert tag is not None
    directory = model_store.path(tag)
    run = ask(workspace.usecase.name, workspace.events, workspace.as_of, read_manifest(directory), rows_per_part)
    scoring = Scoring.of(workspace.usecase.name, directory)
    return module.score(workspace.usecase, workspace.events, sink, run, scoring, **how)


@pytest.fixture(scope="session")
def club_model(tmp_path_factory: pytest.TempPathFactory) -> Club:
    """A club of 300 members who can all be scored, and its model."""
    home = tmp_path_factory.mktemp("club")
    usecase = usecases.load("club", OWN)
    club = Club(usecase, ParquetStore(home / "store", usecase.features, usecase.sources), Path())
    random = np.random.default_rng(3)
    members = [(f"m{n:03d}", int(random.integers(18, 80)), round(float(random.uniform(0, 0.5)), 3)) for n in range(300)]
    visits = []
    for member, *_ in members:
        day, last = float(random.uniform(0, 30)), float(random.uniform(30, 300))
        while day < min(last, 200):
            visits.append((member, clock.rfc3339(START + int(day * DAY)), f"{random.uniform(1, 50):.2f}"))
            day += float(random.exponential(8))
    club.take("events", "member_id,came_at,paid", visits)
    club.take("records", "member_id,age,discount", members)
    trained = train(usecase, club.events, as_of=AS_OF, cache=home / "training")
    return Club(usecase, club.events, model_store.path(trained.manifest.tag))


@pytest.fixture
def club(club_model: Club, tmp_path: Path) -> Club:
    """The same club, with a store of the test's own."""

    shutil.copytree(club_model.events.root, tmp_path / "store")
    usecase = club_model.usecase
    return Club(usecase, ParquetStore(tmp_path / "store", usecase.features, usecase.sources), club_model.directory)


@pytest.fixture(scope="session")
def database() -> Iterator[Server]:
    """A PostgreSQL server."""
    with postgresql() as server:
        yield server
