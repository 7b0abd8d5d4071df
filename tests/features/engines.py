"""Where an event store can be: one interface over files and a real server, for suites that hold for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store import open_events
from features.store.base import Appended, EventStore
from tests.features.toys import NOW, feature_set

KINDS = ("parquet", "postgresql")
_NUMBER = count()


@dataclass
class Engine:
    """An event store of a name of its own, that can be opened any number of times, and a directory for files."""

    kind: str
    home: Path
    server: Server | None
    name: str = field(default_factory=lambda: f"sales_{next(_NUMBER)}")

    @property
    def url(self) -> str | None:
        """The store's address."""
        return self.server.url if self.server else None

    def open(
        self,
        sources: Source | Mapping[str, Source],
        *aggregates: Aggregate,
        features: FeatureSet | None = None,
        url: str | None = None,
        migrate: bool = True,
    ) -> EventStore:
        """Open it, ready for use; one source is that of `events`."""
        named = {"events": sources} if isinstance(sources, Source) else sources
        own = features or feature_set(named["events"].contract, *aggregates)
        store = open_events(url or self.url, self.home / "store", own, named, name=self.name)
        if migrate:
            store.migrate()
        return store

    def records(self, source: Source) -> EventStore:
        """Open a store of records alone."""
        return self.open({"records": source}, features=FeatureSet(inputs=("request_time",)))

    def take(
        self,
        store: EventStore,
        content: str | bytes,
        *,
        name: str = "file.csv",
        table: str = "events",
        **how: Any,
    ) -> Appended:
        """Ingest a file of that content."""
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ingest(store, table, path, **{"now": NOW, **how})
