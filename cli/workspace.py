"""A use case at work: its settings, stores and model, and the steps that make what is missing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import settings as holdfast_settings
import usecases
from features import clock
from features.etl.fetch import fetch
from features.etl.ingest import ingest, summary
from features.store import open_events, open_online
from features.store.base import EventStore, OnlineStore, StoreError
from features.store.materialize import Outcome, load, materialize, there, writing
from model import gate
from model import store as model_store
from model.artefact import ArtefactError
from model.fetching import Models
from model.gate import GateRefused
from model.registry import CHAMPION, Registry, open_registry
from settings import Settings, redacted
from training.progress import Step
from usecases import UseCase

if TYPE_CHECKING:
    from training.fit import Boosting

ROOT = Path(__file__).parent.parent
Engine = Literal["duckdb", "spark"] | None
"""What answers wide questions; None is what the events' URL says: DuckDB over Parquet, or the database itself."""


@dataclass(frozen=True)
class Workspace:
    """One use case under one set of settings."""

    settings: Settings
    usecase: UseCase
    spark: str | None = None
    """The Spark master that answers wide questions; None leaves them to the event store."""

    @staticmethod
    def open(name: str | None = None, *, engine: Engine = None, master: str | None = None) -> Workspace:
        """The use case of that name, or of HOLDFAST_USECASE; `engine` answers its wide questions.

        Raises:
            SettingsError, UseCaseError: if it cannot be had.
            StoreError: if the engine does not go with the master or with the event store.
        """
        settings = holdfast_settings.load()
        usecase = usecases.load(name or settings.usecase, settings.usecases)
        if master is not None and engine != "spark":
            raise StoreError(f"--master {master} is Spark's: say --engine spark too")
        if engine == "duckdb" and settings.events_url is not None and not settings.events_url.startswith("file:"):
            raise StoreError(
                f"HOLDFAST_EVENTS_URL={redacted(settings.events_url)} answers for itself, without DuckDB: leave "
                "--engine out, or say --engine spark"
            )
        return Workspace(settings, usecase, (master or "local[*]") if engine == "spark" else None)

    @property
    def home(self) -> Path:
        """Directory of the use case's data."""
        return self.settings.home / self.usecase.name

    @property
    def cache(self) -> Path:
        """Directory of training sets."""
        return self.home / "training"

    @cached_property
    def now(self) -> int:
        """The data's clock, microseconds; it stands still while a command runs."""
        return self.usecase.now(self.settings.now)

    @cached_property
    def as_of(self) -> int:
        """Now, snapped to the cadence of materialization where there is something to materialize."""
        return clock.floor(self.now, self.usecase.cadence) if self.usecase.features.events else self.now

    @cached_property
    def events(self) -> EventStore:
        """The event store, where `spark` is set with Spark to answer wide questions."""
        store = open_events(
            self.settings.events_url,
            self.home,
            self.usecase.features,
            self.usecase.sources,
            name=self.usecase.name,
        )
        if self.spark is None:
            return store
        from features.store.spark import SparkStore, session  # late: an extra, and Java

        return SparkStore(store, self.usecase.features, session(self.spark), self.home / "spark")

    def trees(self) -> Boosting:
        """What fits trees: this process, or Spark's executors together where it answers wide questions."""
        if self.spark is None:
            from training.fit import boosted  # late, with scikit-learn

            return boosted
        from features.store.spark import SparkStore
        from training.distributed import boosted as together

        assert isinstance(self.events, SparkStore)  # noqa: S101  # it was opened with a master
        return partial(together, self.events)

    @cached_property
    def registry(self) -> Registry:
        """Aliases and the journal."""
        return registry(self.settings)

    @cached_property
    def models(self) -> Models:
        """Where artefacts are: in the store, where those that it lacks are brought to."""
        return Models(self.settings.models, self.settings.archive_url, lambda tag: self.registry.content(tag))

    def online(self) -> OnlineStore:
        """The online store, open for writing."""
        return open_online(
            self.settings.online_url,
            self.home,
            self.usecase.features,
            name=self.usecase.name,
            events_url=self.settings.events_url,
            timeout=self.settings.online_timeout_ms / 1000,
            pool=self.settings.online_pool,
        )

    def prepare(self, *, sample: bool = False) -> list[tuple[str, str]]:
        """Fetch and ingest the sample data where there are no events yet; what was done, step and proof.

        Args:
            sample: also into a store that is not the laptop's own files. What runs on a schedule never asks for that:
                a team's empty database is filled by nobody but the team.

        Raises:
            StoreError: if there are none, and no sample either. FetchError: if the sample cannot be had.
        """
        batches = self.events.batches()
        if batches:
            rows = sum(batch.rows for batch in batches)
            if not rows:
                raise StoreError(f"{self.usecase.name} has no accepted row yet: `holdfast quarantine list` shows why")
            return [("ingest", f"{rows:,} rows, already there")]
        found, url = self.usecase.sample, self.settings.events_url
        if found is None or not (sample or url is None or url.startswith("file:")):
            what = "no sample" if found is None else f"{redacted(url or '')} is not filled with the sample by itself"
            raise StoreError(f"{self.usecase.name} has no events, and {what}: run `holdfast ingest FILE --backfill`")
        path = fetch(found, self.settings.home / "data")
        table = next(iter(self.usecase.sources))
        outcome = ingest(self.events, table, path, now=self.now, backfill=True)
        self.load_online()
        return [("data", f"{found.title}; {path} has the pinned sha256"), ("ingest", summary(path.name, outcome))]

    def load_online(self, *, patience: float = 0.0) -> int:
        """Let the online store take over batches it has not seen, once nobody else writes, for which it waits
        `patience` seconds; its last batch."""
        with closing(self.online()) as online:
            if self.usecase.features.events is None:
                return 0
            with writing(online, patience):
                return load(self.events, online)

    def materialize(
        self,
        *,
        full: bool = False,
        fresh: int | None = None,
        patience: float = 0.0,
        progress: Step = lambda *_: None,
    ) -> Outcome:
        """Bring the online rows to `as_of`: of everyone, or only of those who changed.

        Args:
            fresh: leave rows as they are, if there are any, that are no older than so many microseconds.
            patience: seconds to wait for another process that is writing.
        """
        with closing(self.online()) as online:
            if self.usecase.features.events is None:
                return Outcome(0, False, online.as_of())
            before = None if fresh is None else there(online)
            if fresh is not None and before is not None and before.rows and self.now - before.as_of <= fresh:
                return Outcome(0, False, before)
            return materialize(
                self.events,
                online,
                self.as_of,
                full=full,
                patience=patience,
                progress=lambda done, total: progress("materialize", done, total),
            )

    def champion(self) -> str | None:
        """Tag of the champion, if it can be had and passes the gate here."""
        tag = self.registry.alias(self.usecase.name, CHAMPION)
        return tag if tag is not None and self.passes(tag) else None

    def passes(self, tag: str) -> bool:
        """Whether the gate lets that model pass with the code of today."""
        try:
            gate.load(self.models.path(tag), self.usecase.features)
        except (GateRefused, ArtefactError, model_store.ModelNotFound):
            return False
        return True

    def model(self, progress: Step) -> tuple[str, list[str]]:
        """A model that passes: the champion, else the newest one, else a new one; and what training proved."""
        from training.train import train

        for tag in [self.champion(), *reversed(model_store.tags(self.usecase.name))]:
            if tag is not None and self.passes(tag):
                return tag, []
        trained = train(self.usecase, self.events, as_of=self.now, cache=self.cache, progress=progress)
        return trained.manifest.tag, trained.proof


def registry(settings: Settings) -> Registry:
    """Aliases and the journal, under these settings."""
    directory = model_store.home() / "holdfast"
    return open_registry(settings.registry_url, directory, settings.user, settings.image, model_store.there)
