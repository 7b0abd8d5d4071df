"""Where an event store can be: one interface over files and a real server, for suites that hold for every engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store import open_events
from features.store.base import Appended, Batch, EventStore
from features.store.parquet import ParquetStore
from features.store.postgres import connected, copy, run
from features.store.postgres_events import PostgresEvents
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


def fill(store: EventStore, batches: Sequence[tuple[str, pa.Table]]) -> None:
    """Make these the only batches of the store, each a table's name and its rows, without the road there."""
    told = [
        Batch(n, name, "", "", "", "csv", (), len(rows), 0, f"{n}", "") for n, (name, rows) in enumerate(batches, 1)
    ]
    numbered = [
        rows.append_column("batch", pa.array([batch.number] * batch.rows, pa.int64()))
        for batch, (_, rows) in zip(told, batches, strict=True)
    ]
    if isinstance(store, ParquetStore):
        for batch, rows in zip(told, numbered, strict=True):
            directory = store.directory / f"{batch.number:06d}"
            directory.mkdir(parents=True)
            pq.write_table(rows, directory / "rows.parquet")
            (directory / "manifest.json").write_text(json.dumps(batch.as_dict()))
        return
    assert isinstance(store, PostgresEvents)
    with connected(store.url, store.schema, write=True) as connection:
        for name in ("batches", *store.sources):
            run(connection, f"DELETE FROM {name}")
        for batch, rows in zip(told, numbered, strict=True):
            copy(connection, batch.table, rows, store.schema)
            run(connection, "INSERT INTO batches VALUES ($1, $2)", (batch.number, json.dumps(batch.as_dict())))
