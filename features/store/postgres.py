"""PostgreSQL in bulk, by ADBC: connections, tables and what its errors mean. The one module that knows that driver."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from adbc_driver_manager.dbapi import Connection

from features.contract import SYSTEM, Column, columns
from features.source import Source
from features.store.base import StoreError, Unreachable, address
from settings import redacted

_GONE = ("08", "53", "57", "58")
"""Classes of SQLSTATE that say the server is away, stopping, or out of something; an empty one never reached it."""
_CANCELED, _FORBIDDEN = "57014", "42501"
_UNMADE = ("42P01", "42703", "3F000")
"""Undefined table, column, schema."""


@contextmanager
def connected(
    url: str, schema: str | None = None, *, write: bool = False, snapshot: bool = False
) -> Iterator[Connection]:
    """A connection for one piece of work: committed at its end if it writes, rolled back otherwise.

    Args:
        schema: searched first for tables, after temporary ones; snapshot: see one state of the database throughout.

    Raises:
        Unreachable: if the server is away, or goes away. StoreError: for any other error of it.
    """
    try:
        with adbc.connect(address(url)) as connection:
            if snapshot:
                run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            run(connection, "SET TIME ZONE 'UTC'")
            run(connection, "SET jit = off")
            if schema is not None:
                run(connection, f'SET search_path = pg_temp, "{schema}"')
            yield connection
            if write:
                _commit(connection, url)
            else:
                with suppress(adbc_driver_manager.Error):  # what was read was read, even if the server has gone since
                    connection.rollback()
    except adbc_driver_manager.Error as error:
        raise told(url, error) from error


def _commit(connection: Connection, url: str) -> None:
    try:
        connection.commit()
    except adbc_driver_manager.Error as error:
        raise Unreachable(
            f"{redacted(url)} went away at the moment of the commit, so whether it took place is not known: run the "
            "command again, which stores nothing twice"
        ) from error


def told(url: str, error: adbc_driver_manager.Error) -> StoreError:
    """A driver's error in our words, without the password."""
    said = " ".join(str(error).replace(url, redacted(url)).split())
    said = said.partition("ERROR: ")[2].partition(" LINE 1:")[0].strip() or said
    where = redacted(url)
    if error.sqlstate in _UNMADE:
        return StoreError(f"{where}: {said}: run `holdfast migrate`, if it is one of Holdfast's own")
    if error.sqlstate == _CANCELED:
        return StoreError(f"{where}: {said}; nothing half done was kept, run the command again")
    if error.sqlstate == _FORBIDDEN:
        return StoreError(f"{where}: {said}; have it granted, or name a schema that this user may write: SCHEMA.TABLE")
    refused = re.search("(?:FATAL:|fe_sendauth:) *(.*)", said)
    if not error.sqlstate and refused and not re.search("starting|shutting|terminat|not yet|too many|remaining", said):
        return StoreError(f"{where} refuses the connection: {refused[1]}")
    if not error.sqlstate or error.sqlstate[:2] in _GONE:
        return Unreachable(f"{where} is out of reach: {said}; nothing half done was kept, try again when it is back")
    return StoreError(f"{where}: {said}; nothing half done was kept")


def run(connection: Connection, sql: str, bound: Sequence[Any] | None = None) -> None:
    """A statement without an answer."""
    with connection.cursor() as cursor:
        cursor.execute(sql, bound)


def table(connection: Connection, sql: str, bound: Sequence[Any] | None = None) -> pa.Table:
    """The answer to a question, as Arrow."""
    with connection.cursor() as cursor:
        cursor.execute(sql, bound)
        with _answering():
            return cursor.fetch_arrow_table()


def parts(connection: Connection, sql: str) -> Iterator[pa.RecordBatch]:
    """The answer to a question, as it comes in."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        with _answering():
            reader = cursor.fetch_record_batch()
        while True:
            try:
                with _answering():
                    part = reader.read_next_batch()
            except StopIteration:
                return
            yield part


@contextmanager
def _answering() -> Iterator[None]:
    """What breaks off while an answer comes in is told by Arrow in errors of its own; here it is the driver's again."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        refused = "ERROR:" in str(error)  # by a server that lives; otherwise the connection is lost
        raise adbc_driver_manager.OperationalError(
            str(error), status_code=adbc_driver_manager.AdbcStatusCode.IO, sqlstate="XX000" if refused else None
        ) from error


def copy(connection: Connection, name: str, rows: pa.Table | pa.RecordBatchReader, schema: str | None = None) -> None:
    """Append rows to a table, in the connection's transaction; to a temporary one where `schema` is None."""
    with connection.cursor() as cursor:
        if schema is None:
            cursor.adbc_ingest(name, rows, mode="append", temporary=True)
        else:
            cursor.adbc_ingest(name, rows, mode="append", db_schema_name=schema)


def layout(source: Source) -> list[tuple[str, str]]:
    """Name and type of every column of a stored table."""
    own = [(column.name, _type(column)) for column in columns(source.contract) if column.kind not in SYSTEM]
    return [("event_id", TEXT), ("key", TEXT), ("ts", "bigint"), ("ingested_at", "bigint"), ("batch", "bigint"), *own]


TEXT = 'text COLLATE "C"'
"""Compared by bytes, as every other engine does."""


def _type(column: Column) -> str:
    return {"number": "double precision", "key": TEXT, "id": TEXT, "category": TEXT}.get(column.kind, "bigint")
