"""A log in PostgreSQL, read on: by the numbers of its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import set_json_loads

from model.predictions import postgres_outcomes, postgres_refusals
from model.predictions.block import Predictions
from model.predictions.chunk import Chunk
from model.predictions.postgres import COLUMNS, Table, prediction, times

PATIENCE = 30.0
"""Seconds that a reader waits for transactions that may have rows below its limit."""
_PAUSE = 0.01


def numbered(log: Table, cursor: Mapping[str, str], rows: int) -> Iterator[Chunk]:
    """What is in the tables behind a cursor: the last numbers of `predictions`, `outcomes` and `refusals` that were
    read."""
    done = {part: int(cursor.get(part, 0)) for part in ("predictions", "outcomes", "refusals")}
    with log.connected() as connection:
        set_json_loads(msgspec.json.decode, connection)
        limit, trouble = _limit(connection, log)
        more = True
        while more:
            found = _predictions(connection, log, done["predictions"], limit, rows)
            told = postgres_outcomes.behind(connection, log.schema, done["outcomes"], rows)
            refused = postgres_refusals.behind(connection, log.schema, done["refusals"], rows)
            more = rows in (len(found), len(told), len(refused))
            by_model: dict[str, list[Mapping[str, Any]]] = {}
            for number, row in found:
                by_model.setdefault(row["model"], []).append(row)
                done["predictions"] = number
            done["outcomes"] = told[-1][0] if told else done["outcomes"]
            done["refusals"] = refused[-1][0] if refused else done["refusals"]
            blocks = [Predictions(own, prediction) for own in by_model.values()]
            read = {part: str(number) for part, number in done.items() if number != int(cursor.get(part, 0))}
            yield Chunk(
                list(blocks),
                [one for _, one in told],
                read,
                trouble=trouble,
                last=not more,
                unique=True,
                refusals=[one for _, one in refused],
            )
            trouble = []


def _limit(connection: psycopg.Connection, log: Table) -> tuple[int, list[str]]:
    """A number up to which no row will come any more, and why it is 0, if it is.

    A row draws its number before its transaction commits, so one may come below another that is there already. But
    a transaction that draws one holds its lock on the table until it has committed, and is seen to hold it: the highest
    number that is there now is safe as soon as all who hold the lock now have ended. Nobody is kept from writing.
    """
    highest = next(iter(connection.execute(f"SELECT coalesce(max(number), 0) FROM {log.name}")))[0]
    writers, deadline = _writers(connection, log), time.monotonic() + PATIENCE
    while writers and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        writers &= _writers(connection, log)
    if writers:
        return 0, [
            f"{log.where}: {len(writers)} transactions have been writing to predictions for {PATIENCE:.0f} s and more; "
            "predictions are read on when they have ended (pg_stat_activity shows them)"
        ]
    return int(highest), []


def _writers(connection: psycopg.Connection, log: Table) -> set[str]:
    """Transactions that may have drawn numbers."""
    sql = (
        "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted AND mode = 'RowExclusiveLock' "
        "AND relation = %s::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return {str(row[0]) for row in connection.execute(sql, [log.name])}


def _predictions(
    connection: psycopg.Connection, log: Table, after: int, limit: int, rows: int
) -> list[tuple[int, dict[str, Any]]]:
    listed = ", ".join(COLUMNS)
    sql = f"SELECT number, {listed} FROM {log.name} WHERE number > %s AND number <= %s ORDER BY number LIMIT %s"
    found = connection.execute(sql, [after, limit, rows]).fetchall()
    return [(row[0], times(dict(zip(COLUMNS, row[1:], strict=True)))) for row in found]
