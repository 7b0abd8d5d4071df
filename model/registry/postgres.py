"""The journal in PostgreSQL: the same lines in a table that several machines share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from model.database import Database
from model.registry import chain
from model.registry.chain import Head, Verified
from model.registry.entry import Entry
from model.registry.error import Busy, RegistryError
from model.registry.journal import Decide
from settings import redacted

SCHEMA = "holdfast_registry"
_NOTE = f"the row of {SCHEMA}.head"
_PATIENCE = 20
"""Seconds that a statement may take, with the wait for another writer."""
_TABLES = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.journal (number bigint PRIMARY KEY, line text NOT NULL);
CREATE TABLE IF NOT EXISTS {SCHEMA}.head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), number bigint NOT NULL, digest text NOT NULL
);
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the journal is only ever added to'; END $$;
CREATE OR REPLACE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.journal
    FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse();
"""
_LOCK = "hashtextextended(%s, 0)"


class PostgresJournal:
    """The journal in the database at `url`, made when it is first written.

    Table `journal` holds the lines, and `head` the end of the chain; a trigger refuses to change or remove a line.
    """

    def __init__(self, url: str) -> None:
        self.where = f"{redacted(url)}, schema {SCHEMA}"
        self._database = Database(
            url, self.where, f"USAGE on schema {SCHEMA}, SELECT and INSERT on its tables, and UPDATE on head"
        )
        self._lines, self._entries = list[bytes](), list[Entry]()

    def migrate(self) -> str:
        """Make what is missing of the tables; again, it changes nothing. What there is then, in words."""
        with self._connected() as connection, connection.transaction():
            _lock(connection)
            _make(connection)
        return f"{self.where}: journal"

    def entries(self) -> list[Entry]:
        """Every entry, oldest first."""
        with self._connected() as connection:
            self._read(connection)
        return list(self._entries)

    def append(self, decide: Decide, then: Callable[[], None] = lambda: None) -> list[Entry]:
        """Add what `decide` says, for ever."""
        with self._connected() as connection, connection.transaction():
            _lock(connection)
            lines = self._whole(connection)
            chain.sound(lines, self._noted(connection), self.where, _NOTE)
            if lines[: len(self._lines)] != self._lines:  # its owner changed it, and changed it back
                self._lines, self._entries = [], []
            self._take(lines[len(self._lines) :])
            made = chain.extend(lines, decide(list(self._entries)))
            if made and not _there(connection):
                _make(connection)
            for entry, line in made:
                added = f"INSERT INTO {SCHEMA}.journal (number, line) VALUES (%s, %s)"
                connection.execute(added, [entry.number, line.decode()])
            if made:
                head = chain.end([line for _, line in made])
                connection.execute(
                    f"INSERT INTO {SCHEMA}.head (number, digest) VALUES (%s, %s) "
                    "ON CONFLICT (one) DO UPDATE SET number = EXCLUDED.number, digest = EXCLUDED.digest",
                    [made[-1][0].number, head.digest],
                )
            then()
        return [entry for entry, _ in made]

    def verify(self, head: str | None) -> Verified:
        """Look at every byte."""
        with self._connected() as connection:
            noted = self._noted(connection)  # before the lines, of which there may be more by then
            lines = self._whole(connection)
        return chain.check(lines, noted, self.where, _NOTE, head)

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Be the only process, on any machine, that does `what`."""
        doing = f"{SCHEMA} {what}"
        with self._database.telling():
            connection = self._database.connect(_application(what))
        with connection:
            with self._database.telling():
                got = connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})", [doing]).fetchone()
                if got != (True,):
                    raise Busy(f"{what}: {_holder(connection, doing)} is doing it; try again when it is done")
            try:
                yield
            finally:
                with suppress(psycopg.Error):  # the lock goes with the connection, but a little later
                    connection.execute(f"SELECT pg_advisory_unlock({_LOCK})", [doing])

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        with self._database.telling(), self._database.connect("holdfast registry") as connection:
            connection.execute(f"SET statement_timeout = '{_PATIENCE}s'")
            yield connection

    def _read(self, connection: psycopg.Connection) -> None:
        """Read what is new: no line ever changes, and `verify` finds it if one did."""
        self._take([line for _, line in _rows(connection, len(self._lines))])

    def _take(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, len(self._lines) + 1):
            self._entries.append(chain.read(number, line, self.where))
            self._lines.append(line)

    def _whole(self, connection: psycopg.Connection) -> list[bytes]:
        """Every line, read anew."""
        rows = _rows(connection, 0)
        for expected, (number, _) in enumerate(rows, start=1):
            if number != expected:
                raise RegistryError(
                    f"{self.where}: row {number} of journal stands where {expected} should be; {chain.RESTORE}"
                )
        return [line for _, line in rows]

    def _noted(self, connection: psycopg.Connection) -> Head | None:
        if not _there(connection):
            return None
        row = connection.execute(f"SELECT number, digest FROM {SCHEMA}.head").fetchone()
        return None if row is None else Head(*row)


def _lock(connection: psycopg.Connection) -> None:
    """Let nobody else write until the end of the transaction."""
    connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})", [f"{SCHEMA} journal"])


def _there(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.head"]).fetchone() != (None,)


def _make(connection: psycopg.Connection) -> None:
    there = "SELECT 1 FROM pg_namespace WHERE nspname = %s"  # who may not make schemas may not ask for one
    if connection.execute(there, [SCHEMA]).fetchone() is None:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    connection.execute(_TABLES)


def _rows(connection: psycopg.Connection, after: int) -> list[tuple[int, bytes]]:
    if not _there(connection):
        return []
    asked = f"SELECT number, line FROM {SCHEMA}.journal WHERE number > %s ORDER BY number"
    return [(number, line.encode()) for number, line in connection.execute(asked, [after])]


def _application(what: str) -> str:
    """How the server's own views name us; at most 63 bytes."""
    return f"holdfast {what[:20]}, {socket.gethostname()[:24]} {os.getpid()}".encode("ascii", "replace").decode()


def _holder(connection: psycopg.Connection, doing: str) -> str:
    row = connection.execute(
        "SELECT application_name, backend_start FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE granted "
        f"AND locktype = 'advisory' AND (classid::bigint << 32) + objid::bigint = {_LOCK}",
        [doing],
    ).fetchone()
    return f"{row[0]}, connected since {row[1]:%Y-%m-%d %H:%M:%S} UTC," if row else "another process"
