"""Registries for tests: in a file and in PostgreSQL, empty, and opened by any process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.servers import Server
from model.registry import Entry, Registry, open_registry
from model.registry.postgres import SCHEMA

A, B, C, D = (f"toy:2020010{number}-aaaaaaaa" for number in (1, 2, 3, 4))


@dataclass(frozen=True)
class Place:
    """Where a registry is; any process may open it."""

    url: str | None
    directory: Path

    def open(self, who: str = "ann", **more: Any) -> Registry:
        """A registry of its own."""
        return open_registry(self.url, self.directory, who, "sha256:1", **more)

    def damage(self, sql: str) -> None:
        """Change the database as only its owner can, past the trigger."""
        assert self.url is not None
        with psycopg.connect(self.url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(sql.format(SCHEMA))


def in_file(directory: Path) -> Place:
    """An empty one in a file."""
    return Place(None, directory / "holdfast")


def in_postgresql(server: Server, directory: Path) -> Place:
    """An empty one in a database."""
    with psycopg.connect(server.url) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return Place(server.url, directory)


def promote(registry: Registry, *tags: str) -> None:
    """One after the other."""
    for tag in tags:
        registry.promote("toy", tag, why="better", proof="64 golden rows agree")


def rollback(registry: Registry) -> str:
    """To what was before."""
    tag = registry.previous("toy")
    registry.rollback("toy", tag, why="worse", proof="64 golden rows agree")
    return tag


def entry(time: str, action: Any, tag: str, pod: str = "p", **more: Any) -> Entry:
    """An entry of the past."""
    alias = "champion" if action in ("promote", "rollback") else ""
    made = Entry(time, "ann", action, "toy", alias, None, tag, "", "", pod=pod)
    return replace(made, **more)


def past(registry: Registry, *entries: Entry) -> None:
    """Entries of the past."""
    registry.journal.append(lambda _: entries)
