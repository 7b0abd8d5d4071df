"""Outcomes in PostgreSQL: table `outcomes` beside `predictions`, a row per id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import psycopg

from features.clock import micros, rfc3339
from model.predictions.entry import Prediction
from model.predictions.outcome import Outcome, Settled, joined, unique

_TEXT = 'text COLLATE "C"'
COLUMNS = {
    "outcome_id": _TEXT,
    "prediction_id": _TEXT,
    "key": _TEXT,
    "at": "timestamptz",
    "outcome": "boolean",
    "observed_at": "timestamptz",
    "received_at": "timestamptz",
    "client": "text",
}
"""The fields of an Outcome. Beside them `number`: outcomes in the order in which they were committed."""
_TIMES = ("at", "observed_at", "received_at")
_LISTED = ", ".join(COLUMNS)
_PART = 5_000
"""Predictions whose outcomes are asked for at once."""


def make(connection: psycopg.Connection, schema: str) -> None:
    """Make what is missing of the table; `schema` is quoted, and there."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    run, table = connection.execute, f"{schema}.outcomes"
    run(
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}, number bigint GENERATED ALWAYS AS IDENTITY UNIQUE, "
        "PRIMARY KEY (outcome_id))"
    )
    for name, kind in COLUMNS.items():
        run(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}")
    run(f"CREATE INDEX IF NOT EXISTS outcomes_prediction_id ON {table} (prediction_id) WHERE key IS NULL")
    run(f"CREATE INDEX IF NOT EXISTS outcomes_key_at ON {table} (key, at) WHERE key IS NOT NULL")
    run(f"CREATE INDEX IF NOT EXISTS outcomes_received_at ON {table} (received_at)")


def insert(connection: psycopg.Connection, schema: str, told: Iterable[Outcome]) -> None:
    """Add outcomes at the end of the running transaction: until it commits other writers wait, so that numbers are in
    the order of commits. An id that is there already stays as it is, unless this was received before it."""
    rows = [_row(one) for one in unique(told).values()]
    if not rows:
        return
    run, table = connection.execute, f"{schema}.outcomes"
    run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [table])
    asked = ", ".join(f"%s::{kind.partition(' ')[0]}[]" for kind in COLUMNS.values())
    first = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)
    run(
        f"INSERT INTO {table} AS there ({_LISTED}) SELECT * FROM unnest({asked}) AS told ({_LISTED}) "
        f"ORDER BY told.received_at ON CONFLICT (outcome_id) DO UPDATE SET {first} "
        "WHERE EXCLUDED.received_at < there.received_at",
        [list(column) for column in zip(*rows, strict=True)],
    )


def known(connection: psycopg.Connection, schema: str, ids: Sequence[str]) -> set[str]:
    """Those that are there."""
    sql = f"SELECT outcome_id FROM {schema}.outcomes WHERE outcome_id = ANY(%s)"
    return {row[0] for row in connection.execute(sql, [list(ids)])}


def select(connection: psycopg.Connection, schema: str, rest: str, bound: Sequence[Any]) -> Iterator[Outcome]:
    """The outcomes that the rest of a query asks for."""
    with connection.transaction(), connection.cursor(name="outcomes") as cursor:
        cursor.itersize = _PART
        cursor.execute(f"SELECT {_LISTED} FROM {schema}.outcomes {rest}", bound)
        for row in cursor:
            yield _outcome(row)


def behind(connection: psycopg.Connection, schema: str, number: int, most: int) -> list[tuple[int, Outcome]]:
    """At most so many outcomes behind that number, each with its own, in the order of their commits."""
    sql = f"SELECT number, {_LISTED} FROM {schema}.outcomes WHERE number > %s ORDER BY number LIMIT %s"
    return [(row[0], _outcome(row[1:])) for row in connection.execute(sql, [number, most])]


def settled(connection: psycopg.Connection, schema: str, found: Iterable[Prediction]) -> Iterator[Settled]:
    """Predictions, each with the outcome that holds now: the rule of `outcome.settle` as SQL. An outcome by key is
    about the prediction in whose span its time lies: until the key's next one was answered."""
    columns = ", ".join(f"last.{name}" for name in COLUMNS)
    sql = f"""
        WITH asked AS (
            SELECT prediction_id COLLATE "C", key COLLATE "C"
            FROM unnest(%s::text[], %s::text[]) AS given (prediction_id, key)
        ), keys AS (
            SELECT DISTINCT key FROM asked WHERE EXISTS (SELECT FROM {schema}.outcomes WHERE outcomes.key = asked.key)
        ), spans AS (
            SELECT prediction_id, key, answered_at, lead(answered_at, 1, 'infinity') OVER (
                PARTITION BY key ORDER BY answered_at, length(prediction_id), prediction_id
            ) AS until
            FROM {schema}.predictions WHERE key IN (SELECT key FROM keys)
        )
        SELECT asked.prediction_id, {columns}
        FROM asked LEFT JOIN spans USING (prediction_id)
        CROSS JOIN LATERAL (
            SELECT * FROM {schema}.outcomes WHERE key IS NULL AND prediction_id = asked.prediction_id
            UNION ALL
            SELECT * FROM {schema}.outcomes WHERE key = spans.key AND at >= spans.answered_at AND at < spans.until
            ORDER BY observed_at DESC, received_at DESC, outcome_id DESC LIMIT 1
        ) AS last"""
    rest = iter(found)
    while part := list(islice(rest, _PART)):
        bound = [[one.prediction_id for one in part], [one.key for one in part]]
        holds = {row[0]: _outcome(row[1:]) for row in connection.execute(sql, bound)}
        for one in part:
            yield joined(one, holds.get(one.prediction_id))


def about(connection: psycopg.Connection, schema: str, told: Iterable[Outcome]) -> dict[str, int]:
    """When the prediction was answered that each is about, by outcome id; of those about one in the log."""
    sql = f"""
        SELECT told.outcome_id, coalesce(own.answered_at, last.answered_at)
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) AS told (outcome_id, prediction_id, key, at)
        LEFT JOIN {schema}.predictions AS own ON own.prediction_id = told.prediction_id COLLATE "C"
        LEFT JOIN LATERAL (
            SELECT answered_at FROM {schema}.predictions
            WHERE key = told.key COLLATE "C" AND answered_at <= told.at ORDER BY answered_at DESC LIMIT 1
        ) AS last ON true
        WHERE own.answered_at IS NOT NULL OR last.answered_at IS NOT NULL"""
    found, rest = dict[str, int](), iter(told)
    while part := list(islice(rest, _PART)):
        ats = [None if one.at is None else rfc3339(one.at) for one in part]
        bound = [[one.outcome_id for one in part], [one.prediction_id for one in part], [one.key for one in part], ats]
        found |= {outcome_id: micros(moment) for outcome_id, moment in connection.execute(sql, bound)}
    return found


def _row(one: Outcome) -> tuple[Any, ...]:
    times = {name: None if (moment := getattr(one, name)) is None else rfc3339(moment) for name in _TIMES}
    return tuple(times.get(name, getattr(one, name)) for name in COLUMNS)


def _outcome(row: Sequence[Any]) -> Outcome:
    stored = dict(zip(COLUMNS, row, strict=True))
    for name in _TIMES:
        stored[name] = None if stored[name] is None else micros(stored[name])
    return Outcome(**stored)
