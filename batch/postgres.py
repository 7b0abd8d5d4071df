"""Scores in a table of PostgreSQL, and beside it three small ones:

TABLE             (run_id, key) -> a score; with `explanation`, JSON, from the first run on that explains
TABLE_quarantine  (run_id, key) -> why a row has no score
TABLE_parts       (run_id, part) -> its manifest, written in the transaction that writes its rows: the commit of a part
TABLE_runs        run_id -> its plan, and its totals when everything is there: `finished` is null until then
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
from adbc_driver_manager.dbapi import Connection

from batch import reasons
from batch.plan import Finished, Part, Plan, Run
from batch.sink import SinkError
from features.store import postgres as db
from features.store.base import Unreachable
from settings import redacted

Statement = tuple[str, tuple[str | int, ...]]
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a part is tried again when the server went away; a restart or a failover takes less in all."""
SCORES = {
    "as_of": "timestamptz",
    "known": "boolean",
    "probability": "double precision",
    "decision": "text",
    "threshold": "double precision",
    "model": "text",
    "fingerprint": "text",
    "run_id": "text",
}
REJECTED = {"as_of": "timestamptz", "reason": "text", "run_id": "text"}


@dataclass(frozen=True)
class Postgres:
    """The sink in a table; one that is out of reach is waited for, about half a minute. Make one with `at`."""

    url: str
    schema: str
    table: str
    key: str

    @staticmethod
    def at(address: str, key: str) -> Postgres:
        """From `postgresql://USER@HOST/DATABASE/TABLE`, where the table may be SCHEMA.TABLE; `key` names the column of
        keys.

        Raises:
            SinkError: if the address names no database and table.
        """
        parts = urlsplit(address)
        _, *path = parts.path.split("/")
        named = re.fullmatch(r"(?:([a-z_][a-z0-9_]*)\.)?([a-z_][a-z0-9_]{0,51})", unquote(path[-1]) if path else "")
        if parts.scheme not in ("postgresql", "postgres") or len(path) != 2 or not path[0] or named is None:
            raise SinkError(
                f"--to {redacted(address)}: write postgresql://USER@HOST:PORT/DATABASE/TABLE, or SCHEMA.TABLE; the "
                "table's name is lower_case"
            )
        return Postgres(urlunsplit(parts._replace(path=f"/{path[0]}")), named[1] or "public", named[2], key)

    def unfinished(self) -> list[Run]:
        """Runs that were begun here and not finished, newest as_of last."""
        with db.connected(self.url) as connection:
            there = db.table(connection, "SELECT to_regclass($1)::text AS name", (self.name("runs"),))
            if there["name"].to_pylist() == [None]:
                return []
            sql = (
                f'SELECT plan::text AS plan FROM {self.name("runs")} WHERE finished IS NULL ORDER BY run_id COLLATE "C"'
            )
            return [Plan.model_validate_json(plan).run for plan in db.table(connection, sql)["plan"].to_pylist()]

    @contextmanager
    def hold(self, run: Run) -> Iterator[RunInTable]:
        """The run's rows, in tables that are made if need be. Two processes at once do the work twice and keep it once.

        Raises:
            SinkError: if there is a table of that name with other columns. StoreError: for any error of the server.
        """
        stamps = {
            "": ({self.key: db.TEXT, **SCORES}, self.key),
            "quarantine": ({self.key: db.TEXT, **REJECTED}, self.key),
            "parts": ({"run_id": "text", "part": "bigint", "manifest": "jsonb"}, "part"),
            "runs": ({"run_id": "text", "plan": "jsonb", "finished": "jsonb"}, ""),
        }
        with db.connected(self.url, write=True) as connection:
            self.lock(connection, "tables")
            for beside, (columns, second) in stamps.items():
                listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
                unique = f'run_id, "{second}"' if second else "run_id"
                name = self.name(beside)
                db.run(connection, f"CREATE TABLE IF NOT EXISTS {name} ({listed}, PRIMARY KEY ({unique}))")
                found = db.table(connection, f"SELECT * FROM {name} LIMIT 0").column_names
                explained = not beside and found == [*columns, reasons.COLUMN]
                if found != list(columns) and not explained:
                    raise SinkError(
                        f"table {name} of {redacted(self.url)} has columns {', '.join(found)}, not "
                        f"{', '.join(columns)}: it is another one's; choose another name in --to"
                    )
                if not beside and run.explain and not explained:  # from now on; json, as jsonb writes numbers anew
                    db.run(connection, f"ALTER TABLE {name} ADD COLUMN {reasons.COLUMN} json")
        yield RunInTable(self, run.id)

    def name(self, beside: str = "") -> str:
        """The table, or one of those beside it, for SQL."""
        return f'"{self.schema}"."{self.table}{"_" if beside else ""}{beside}"'

    def lock(self, connection: Connection, what: str) -> None:
        """Wait until no other transaction holds the same lock; held until this one ends."""
        digest = hashlib.sha256(f"holdfast {self.name()} {what}".encode()).digest()
        db.run(connection, f"SELECT pg_advisory_xact_lock({int.from_bytes(digest[:8], 'big', signed=True)})")


@dataclass(frozen=True)
class RunInTable:
    """One run's rows."""

    sink: Postgres
    run_id: str

    @property
    def where(self) -> str:
        """The table; the address has no password."""
        return f"{redacted(self.sink.url)}, table {self.sink.name()}, run_id {self.run_id}"

    def plan(self) -> Plan | None:
        """The plan that is kept here, if the run was ever begun."""
        found = self._asked(f"SELECT plan::text AS document FROM {self.sink.name('runs')} WHERE run_id = $1")
        return Plan.model_validate_json(found[0]) if found else None

    def keep(self, plan: Plan) -> None:
        """Keep the plan."""
        sql = f"INSERT INTO {self.sink.name('runs')} VALUES ($1, $2::text::jsonb) ON CONFLICT DO NOTHING"
        self._written([(sql, (self.run_id, plan.text()))])

    def committed(self) -> list[Part]:
        """The parts that are here, by number: their transactions wrote their rows too."""
        sql = f"SELECT manifest::text AS document FROM {self.sink.name('parts')} WHERE run_id = $1 ORDER BY part"
        return [Part.model_validate_json(manifest) for manifest in self._asked(sql)]

    def commit(self, plan: Plan, part: Part, scores: pa.Table, rejected: pa.Table) -> Part:
        """Replace the part's rows and its manifest, in one transaction."""
        low, high = plan.parts[part.number]
        keys = f'"{self.sink.key}" >= $2' + ("" if high is None else f' AND "{self.sink.key}" < $3')
        bound = (self.run_id, low) if high is None else (self.run_id, low, high)
        scored, quarantine, parts = (self.sink.name(beside) for beside in ("", "quarantine", "parts"))
        work: list[Statement] = [
            (f"DELETE FROM {scored} WHERE run_id = $1 AND {keys}", bound),
            (f"DELETE FROM {quarantine} WHERE run_id = $1 AND {keys}", bound),
            (f"DELETE FROM {parts} WHERE run_id = $1 AND part = $2", (self.run_id, part.number)),
            (f"INSERT INTO {parts} VALUES ($1, $2, $3::text::jsonb)", (self.run_id, part.number, part.text())),
        ]
        if reasons.COLUMN in scores.column_names:
            place = scores.column_names.index(reasons.COLUMN)
            scores = scores.set_column(place, reasons.COLUMN, reasons.text(scores[reasons.COLUMN]))
        self._written(work, {self.sink.table: scores, f"{self.sink.table}_quarantine": rejected})
        return part

    def finish(self, finished: Finished) -> None:
        """Say that everything is here."""
        sql = f"UPDATE {self.sink.name('runs')} SET finished = $2::text::jsonb WHERE run_id = $1"
        self._written([(sql, (self.run_id, finished.text()))])

    def _asked(self, sql: str) -> list[str]:
        with db.connected(self.sink.url) as connection:
            found: list[str] = db.table(connection, sql, (self.run_id,))["document"].to_pylist()
            return found

    def _written(self, work: list[Statement], rows: dict[str, pa.Table] | None = None) -> None:
        """Do it all in one transaction; again, if the server went away, as doing it twice is doing it once."""
        for pause in (*PAUSES, None):
            try:
                with db.connected(self.sink.url, write=True) as connection:
                    self.sink.lock(connection, self.run_id)
                    for sql, bound in work:
                        db.run(connection, sql, bound)
                    for table, part in (rows or {}).items():
                        db.copy(connection, table, _plain(part), self.sink.schema)
                return
            except Unreachable:
                if pause is None:
                    raise
                time.sleep(pause)


def _plain(table: pa.Table) -> pa.Table:
    """Texts instead of dictionaries, which the driver does not take."""
    kinds = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))
