"""Refusals in PostgreSQL: table `refusals` beside `predictions`, a row per record and reason."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from features.clock import micros, rfc3339
from model.predictions.refusal import Refusals


def make(connection: psycopg.Connection, schema: str) -> None:
    """Make what is missing of the table; `schema` is quoted, and there."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {schema}.refusals (id text, time timestamptz NOT NULL, reason text, "
        "count bigint NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY UNIQUE, PRIMARY KEY (id, reason))"
    )


def _may(connection: psycopg.Connection, schema: str, privilege: str) -> bool:
    """Whether there is such a table, and it may be used. A log from before has none until `holdfast migrate`, and those
    who were given the other tables alone may not use it: answers are to be recorded all the same."""
    asked = "SELECT has_table_privilege(to_regclass(%s), %s)"
    return connection.execute(asked, [f"{schema}.refusals", privilege]).fetchone() == (True,)


def insert(connection: psycopg.Connection, schema: str, told: Iterable[Refusals]) -> None:
    """Add records, where that may be, at the end of the running transaction: until it commits other writers wait, so
    that numbers are in the order of commits. One that is there already is left alone."""
    if not _may(connection, schema, "INSERT"):
        return
    rows = [(one.id, rfc3339(one.time), reason, count) for one in told for reason, count in one.counts.items()]
    table = f"{schema}.refusals"
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [table])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} (id, time, reason, count) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", rows
        )


def behind(connection: psycopg.Connection, schema: str, number: int, most: int) -> list[tuple[int, Refusals]]:
    """At most so many behind that number, each reason alone and with its own number, in the order of their commits."""
    if not _may(connection, schema, "SELECT"):
        return []
    sql = f"SELECT number, id, time, reason, count FROM {schema}.refusals WHERE number > %s ORDER BY number LIMIT %s"
    found = connection.execute(sql, [number, most])
    return [(own, Refusals(id=id_, time=micros(t), counts={why: count})) for own, id_, t, why, count in found]
