"""What of a stage is new to a store: the rows it has, the ids it has with other content, and quarantine taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from features.clock import rfc3339, wall
from features.contract import column_of
from features.etl.stage import Stage
from features.store.base import Appended, Batch


@dataclass(frozen=True)
class Separated:
    """How many rows are new, known, bad, bad and not yet in quarantine, and taken back out of it.

    In the stage are then `fresh` (as `good`), `fresh_bad` (as `bad`) and `resolved(id)`.
    """

    new: int
    known: int
    bad: int
    new_bad: int
    resolved: int

    def appended(self, stage: Stage, number: int | None) -> Appended:
        """What became of the rows, committed as that batch."""
        return Appended(number, stage.read, self.new, self.known, self.bad)


def stateful(stage: Stage) -> bool:
    """Whether rows are the state of their key: they have neither a time nor an id of their own."""
    contract = stage.source.contract
    return column_of(contract, "time") is None and column_of(contract, "id") is None


def separate(stage: Stage) -> Separated:
    """Tell new rows from known ones, and move id conflicts to `bad`.

    Reads three relations that the store has put into the stage: `stored` with the columns of `stage.stored()`, of at
    least every staged id (of the last state of every staged key, where rows are states); `quarantine(id)` and
    `waiting(id)` of at least every staged record.
    """
    run = stage.connection.execute
    names = quoted([name for name, _ in stage.stored()])
    timed = column_of(stage.source.contract, "time") is not None
    own = [name for name, _ in stage.stored() if name not in ("event_id", "ts", "ingested_at")]
    compared = [*own, "ts"] if timed else own
    differs = " OR ".join(f'g."{name}" IS DISTINCT FROM k."{name}"' for name in compared)
    run(
        "CREATE TEMP TABLE conflict AS WITH first AS (SELECT * FROM good QUALIFY row_number() OVER "
        "(PARTITION BY event_id ORDER BY row) = 1) SELECT DISTINCT g.row, g.event_id FROM good g JOIN "
        f"(SELECT {names} FROM stored UNION ALL SELECT {names} FROM first "
        f"WHERE event_id NOT IN (SELECT event_id FROM stored)) k ON g.event_id = k.event_id WHERE {differs}"
    )
    run(
        "INSERT INTO bad SELECT j.id, c.row, j.original, ['id: ' || chr(39) || c.event_id || chr(39) || "
        "' is already taken by a row with other content; a correction is a new event'] "
        "FROM conflict c JOIN judged j ON j.row = c.row"
    )
    run("DELETE FROM good WHERE row IN (SELECT row FROM conflict)")
    unknown = "event_id NOT IN (SELECT event_id FROM stored)"
    if stateful(stage):  # all of a key's rows are its new state
        unknown = f"key IN (SELECT key FROM good WHERE {unknown})"
    run(
        f"CREATE TEMP TABLE fresh AS SELECT * FROM good WHERE {unknown} "
        "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY row) = 1"
    )
    run("CREATE TEMP TABLE fresh_bad AS SELECT * FROM bad WHERE id NOT IN (SELECT id FROM quarantine)")
    run(
        "CREATE TEMP TABLE resolved AS SELECT id FROM waiting "
        "WHERE id IN (SELECT id FROM judged WHERE row IN (SELECT row FROM good))"
    )
    count = {name: one(run(f"SELECT count(*) FROM {name}")) for name in _COUNTED}
    return Separated(
        count["fresh"], count["good"] - count["fresh"], count["bad"], count["fresh_bad"], count["resolved"]
    )


_COUNTED = ("fresh", "good", "bad", "fresh_bad", "resolved")


def fresh_sql(stage: Stage, number: int) -> str:
    """SQL: the new rows in their stored order, with the number of their batch."""
    own = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in stage.stored())
    return f"SELECT {own}, {number}::BIGINT AS batch FROM fresh ORDER BY key, ts, event_id"


def fresh_bad_sql(number: int) -> str:
    """SQL: the rows that are new to quarantine, in order, with the number of their batch."""
    return f"SELECT *, {number}::BIGINT AS batch FROM fresh_bad ORDER BY row"


def manifest(stage: Stage, number: int, separated: Separated) -> Batch:
    """The manifest of the stage as that batch; its content is a digest over the new rows."""
    names = quoted([name for name, _ in stage.stored()])
    every = f"SELECT {names} FROM fresh"
    content = f"SELECT sha256(string_agg(f::VARCHAR, chr(10) ORDER BY f.event_id)) FROM ({every}) f"
    return Batch(
        number=number,
        table=stage.name,
        committed_at=wall(),
        ingested_at="backfill" if stage.backfill else rfc3339(stage.now),
        source=stage.text.origin,
        form=stage.text.form,
        header=stage.text.header,
        rows=separated.new,
        quarantined=separated.new_bad,
        content=one(stage.connection.execute(content)) or "",
        contract=stage.contract,
        watermark=stage.text.watermark,
    )


def quoted(names: list[str]) -> str:
    """Columns for a SELECT."""
    return ", ".join(f'"{name}"' for name in names)


def one(result: duckdb.DuckDBPyConnection) -> Any:
    """The one value of a question, or None."""
    rows = result.fetchall()  # to the end: an unfinished answer is in the way of the next question
    return rows[0][0] if rows else None
