"""A ledger in a file of SQLite, on one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from features.store.base import StoreError
from monitoring.ledger.tables import NAMES, TABLES, Connection, Tables

FILE = "ledger.sqlite"
_PATIENCE = 30.0
"""Seconds that a commit waits for another one's end."""


class SQLiteLedger(Tables):
    """The ledger in a directory, made when it is first written. A commit is on the disk when it returns."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        super().__init__("", str(self.path))

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """For statements that change nothing; None where there are no tables yet."""
        if not self.path.exists():
            yield None
            return
        with self._connected() as connection:
            run = _runner(connection)
            there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            yield run if run(there, [NAMES[-1]]) else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that nobody else's overlaps; tables are made where there are none."""
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in TABLES.format(schema="", blob="blob").split(";"):
                    connection.execute(statement)
                yield _runner(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise StoreError(
                f"{self.path.parent} cannot be the directory of the ledger: {why}; set HOLDFAST_MONITOR_URL "
                "to file:///DIRECTORY, a directory that is there or can be made, or to postgresql://USER@HOST/DATABASE"
            ) from error
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None, timeout=_PATIENCE)) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: {error}") from error


def _runner(connection: sqlite3.Connection) -> Connection:
    def run(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return connection.execute(sql, values).fetchall()

    return run
