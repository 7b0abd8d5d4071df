"""Where an online store can be: one interface over SQLite files and real servers, for suites that hold for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.servers import Server
from features.featureset import FeatureSet
from features.source import Source
from features.store import open_events, open_online
from features.store.base import OnlineStore
from tests.features.toys import Visit

KINDS = ("sqlite", "postgresql", "beside", "redis")
"""`beside`: PostgreSQL that shares its database with the event store, whose events it reads."""
_NUMBER = count()


@dataclass
class Place:
    """An online store of a name of its own, that can be opened any number of times."""

    kind: str
    home: Path
    server: Server | None
    name: str = field(default_factory=lambda: f"toy_{next(_NUMBER)}")

    @property
    def url(self) -> str | None:
        """The store's address."""
        return self.server.url if self.server else None

    def open(self, features: FeatureSet, *, read_only: bool = False) -> OnlineStore:
        """Open it, ready for use."""
        beside = self.url if self.kind == "beside" else None
        if beside and not read_only:
            open_events(beside, self.home, features, {"events": Source(Visit)}, name=self.name).migrate()
        store = open_online(
            self.url, self.home, features, name=self.name, read_only=read_only, events_url=beside, timeout=5, pool=4
        )
        if not read_only:
            store.migrate()
        return store

    def load(self, store: OnlineStore, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Let the store have these events: `beside`, as the event store would."""
        store.load(batch, events)
        if self.kind == "beside":
            names, marks = ", ".join([*events, "batch"]), ", ".join(["%s"] * (len(events) + 1))
            with psycopg.connect(str(self.url)) as connection:
                rows = [(*row, batch) for row in zip(*events.values(), strict=True)]
                insert = f'INSERT INTO "holdfast_{self.name}".events ({names}) VALUES ({marks})'
                connection.cursor().executemany(insert, rows)
                insert = f'INSERT INTO "holdfast_{self.name}".batches (number, manifest) VALUES (%s, %s)'
                connection.execute(insert, [batch, json.dumps({})])


def place(kind: str, home: Path, request: pytest.FixtureRequest) -> Place:
    """A place of that kind; its server is started when the first test asks for it."""
    fixture = {"postgresql": "postgresql", "beside": "postgresql", "redis": "redis"}.get(kind)
    return Place(kind, home, request.getfixturevalue(fixture) if fixture else None)
