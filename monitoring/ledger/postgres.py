"""A ledger in PostgreSQL, for several machines: tables `monitor_...` beside those of the prediction log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from model.database import Database
from monitoring.ledger.tables import NAMES, TABLES, Connection, Tables
from settings import redacted

_PATIENCE = 60
"""Seconds that a statement may take, with the wait for another commit's end."""


class PostgresLedger(Tables):
    """The ledger of a use case in the schema `holdfast_USECASE`, made when it is first written."""

    def __init__(self, url: str, usecase: str) -> None:
        self._name = f"holdfast_{usecase}"
        super().__init__(f'"{self._name}".monitor_', f"{redacted(url)}, schema {self._name}")
        self._database = Database(
            url,
            self.where,
            f"USAGE on schema {self._name}, and SELECT, INSERT, UPDATE and DELETE on its monitor_ tables",
        )

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """For statements that change nothing; None where there are no tables yet."""
        with self._connected() as connection:
            run = _runner(connection)
            yield run if self._there(run) else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that nobody else's overlaps; tables are made where there are none."""
        with self._connected() as connection, connection.transaction():
            run = _runner(connection)
            run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", [f"{self._name} monitor"])
            if not self._there(run):
                self._make(connection)
            yield run

    def _there(self, run: Connection) -> bool:
        return run("SELECT to_regclass(?)", [f"{self.schema}{NAMES[-1]}"]) != [(None,)]

    def _make(self, connection: psycopg.Connection) -> None:
        there = "SELECT 1 FROM pg_namespace WHERE nspname = %s"  # who may not make schemas may not ask for one
        if connection.execute(there, [self._name]).fetchone() is None:
            connection.execute(f'CREATE SCHEMA "{self._name}"')
        indexed = TABLES.replace("IF NOT EXISTS facts_", "IF NOT EXISTS monitor_facts_")
        indexed = indexed.replace("IF NOT EXISTS seen_", "IF NOT EXISTS monitor_seen_")
        connection.execute(indexed.format(schema=self.schema, blob="bytea"))

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        with self._database.telling(), self._database.connect("holdfast monitor") as connection:
            connection.execute(f"SET statement_timeout = '{_PATIENCE}s'")
            yield connection


def _runner(connection: psycopg.Connection) -> Connection:
    def run(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = connection.execute(sql.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []

    return run
