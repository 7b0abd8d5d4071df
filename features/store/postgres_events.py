"""The event store in PostgreSQL: one schema per use case, written and read in bulk by ADBC.

batches     (number, manifest)                             a row is the commit
events      (event_id, key, ts, ingested_at, batch, ...)   index on (key, ts): training sets and on-read alike
records     likewise
quarantine  (id, row, original, reasons, batch)
resolved    (id, batch)                                    earlier quarantined rows that a batch took back
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from adbc_driver_manager.dbapi import Connection

from features.contract import SYSTEM, columns
from features.etl.stage import Stage
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store import arrow
from features.store.base import (
    Appended,
    Batch,
    Lookup,
    Materialized,
    NoRecord,
    Spine,
    StoreError,
    Transform,
    watermark,
)
from features.store.plain import typed
from features.store.postgres import TEXT, connected, copy, layout, run, table
from features.store.questions import changed_sql, relevant_sql
from features.store.separate import Separated, fresh_bad_sql, fresh_sql, manifest, quoted, separate, stateful
from settings import redacted

EVENTS, RECORDS = "events", "records"


class PostgresEvents:
    """Event store of one use case in a PostgreSQL database (15 or later).

    Args:
        url: postgresql://USER@HOST/DATABASE; name: the use case's, whose schema is "holdfast_NAME".
        features: whose aggregates are asked for; sources: the tables, `events` and `records`, either or both.

    Every method raises Unreachable where the server is away, and StoreError where `migrate` has not been run.
    """

    def __init__(self, url: str, name: str, features: FeatureSet, sources: Mapping[str, Source]) -> None:
        self.url, self.schema, self.features, self.sources = url, f"holdfast_{name}", features, sources

    def migrate(self) -> str:
        """Make what is missing of the schema; again, it changes nothing. Answers what there is then, in words.

        Raises:
            StoreError: if a stored column has another type than the contract's field of today.
        """
        with connected(self.url, write=True) as connection:
            self._lock(connection, "migrate", wait=True)
            run(connection, f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
            run(connection, f'SET search_path = "{self.schema}"')
            run(connection, "CREATE TABLE IF NOT EXISTS batches (number bigint PRIMARY KEY, manifest text NOT NULL)")
            run(
                connection,
                f"CREATE TABLE IF NOT EXISTS quarantine (id {TEXT} PRIMARY KEY, row bigint NOT NULL, "
                "original bytea NOT NULL, reasons text[] NOT NULL, batch bigint NOT NULL)",
            )
            run(connection, f"CREATE TABLE IF NOT EXISTS resolved (id {TEXT} NOT NULL, batch bigint NOT NULL)")
            run(connection, "CREATE INDEX IF NOT EXISTS resolved_id ON resolved (id)")
            for name, source in self.sources.items():
                self._migrate(connection, name, source)
        return f"{redacted(self.url)}, schema {self.schema}: batches, {', '.join(self.sources)}, quarantine, resolved"

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""
        with self._connect() as connection:
            return self._batches(connection)

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch, in one transaction; rows already stored are not stored again.

        A row whose id is stored with another content is quarantined, as `separate` says.

        Raises:
            StoreError: if another process is ingesting into the same use case.
        """
        with self._connect(write=True) as connection:
            self._lock(connection, "ingest")
            batches = self._batches(connection)
            self._hand_over(connection, stage)
            separated = separate(stage)
            moved = stage.text.watermark != watermark(batches, stage.name, stage.text.origin)
            if not (separated.new or separated.new_bad or separated.resolved or moved):
                return separated.appended(stage, None)
            number = len(batches) + 1
            self._commit(connection, stage, separated, number)
        return separated.appended(stage, number)

    def keys(self, before: int, low: str = "", high: str | None = None) -> np.ndarray[Any, Any]:
        """Sorted keys (str) of all who have an event visible at `before`, or a record where there are no events; only
        those in [low, high)."""
        limit = "" if high is None else " AND key < $2"
        sql = f"SELECT DISTINCT key FROM {self._known(before)} AND key >= $1{limit} ORDER BY key"
        with self._connect() as connection:
            found = table(connection, sql, (low,) if high is None else (low, high))
        return np.array(found["key"].to_pylist(), dtype=np.str_)

    def ranges(self, before: int, size: int) -> list[str]:
        """Where parts of `size` keys begin: the first is "", the next is the key after the first `size`, and so on."""
        every = f"SELECT DISTINCT key FROM {self._known(before)}"
        numbered = f"SELECT key, row_number() OVER (ORDER BY key) - 1 AS n FROM ({every}) k"
        sql = f"SELECT key FROM ({numbered}) m WHERE n > 0 AND n % {int(size)} = 0 ORDER BY n"
        with self._connect() as connection:
            return ["", *table(connection, sql)["key"].to_pylist()]

    def changed(self, since: Materialized, t: int) -> np.ndarray[Any, Any]:
        """Sorted keys whose aggregates at t may be others than they were materialized."""
        with self._connect() as connection:
            found = table(connection, changed_sql(self.features, since, t))
        return np.array(found["key"].to_pylist(), dtype=np.str_)

    def relevant(self, t: int, horizon: int) -> list[Batch]:
        """The batches with a part in an example at t: a row visible at t, or an event in [t, t + horizon)."""
        with self._connect() as connection:
            numbers = set(table(connection, relevant_sql(t, horizon, self.sources))["batch"].to_pylist())
            return [batch for batch in self._batches(connection) if batch.number in numbers]

    def aggregate(self, spine: Spine, *, cut: int | None = None, upto: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; an empty Lookup of known rows where there are no events.

        Args:
            cut: hide every event at or after this time (microseconds): what a leakage check compares with.
            upto: hide every batch after this number: what was answered when it was the last one.
        """
        if not self.features.sql:
            return Lookup({}, np.ones(len(spine), dtype=np.bool_), spine.t)
        with self._connect() as connection:
            self._spine(connection, spine)
            if len(spine):
                hidden = ("" if cut is None else f" AND ts < {int(cut)}") + _until(upto)
                keys = spine.key.tolist()
                between = f"key BETWEEN {_literal(min(keys))} AND {_literal(max(keys))}"
                own = f'SELECT * FROM "{self.schema}".events WHERE {between}{hidden}'
                run(connection, f"CREATE TEMP VIEW events AS {own}")  # a part of the keys reads only its own events
            found = table(connection, f"SELECT * FROM ({self.features.sql}) f ORDER BY row_id")
        return arrow.lookup(self.features.aggregates, found, spine.t)

    def transform(self, spine: Spine, function: Transform, *, records: bool) -> Arrays:
        """`function` over every row of the spine, in order, in this process."""
        return function(spine.key, self.aggregate(spine), self.records(spine) if records else {})

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon), int64 of n; this is what a label is made of."""
        sql = (
            "SELECT s.row_id, COUNT(e.ts) AS n FROM spine s LEFT JOIN events e "
            f"ON e.key = s.key AND e.ts >= s.t AND e.ts < s.t + {int(horizon)} GROUP BY s.row_id ORDER BY s.row_id"
        )
        with self._connect() as connection:
            self._spine(connection, spine)
            return np.asarray(table(connection, sql)["n"].to_numpy(), dtype=np.int64)

    def span(self) -> tuple[int, int]:
        """Times of the first and the last event, microseconds.

        Raises:
            StoreError: if there is no event yet.
        """
        with self._connect() as connection:
            found = table(connection, "SELECT min(ts) AS first, max(ts) AS last FROM events").to_pylist()[0]
        if found["first"] is None:
            raise StoreError(f"{redacted(self.url)} holds no events of {self.schema} yet: run `holdfast ingest` first")
        return int(found["first"]), int(found["last"])

    def records(self, spine: Spine, *, upto: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t: one array per field of the record contract;
        `upto` hides later batches, as `aggregate` does.

        Raises:
            NoRecord: telling every row without one.
        """
        own = [column for column in columns(self.sources[RECORDS].contract) if column.kind not in SYSTEM]
        names = "".join(f', r."{column.name}"' for column in own)
        sql = (
            f"SELECT DISTINCT ON (s.row_id) s.row_id, r.key{names} FROM spine s LEFT JOIN records r ON r.key = s.key "
            f"AND r.ts <= s.t AND r.ingested_at <= s.t{_until(upto, 'r.')} "
            "ORDER BY s.row_id, r.ts DESC, r.batch DESC, r.event_id DESC"
        )
        with self._connect() as connection:
            self._spine(connection, spine)
            found = table(connection, sql)
        absent = found["key"].is_null().to_numpy()
        if absent.any():
            raise NoRecord(spine, absent)
        return {column.name: typed(column.kind, column.nullable, arrow.masked(found[column.name])) for column in own}

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch, as columns of plain values, for an online store."""
        names = [name for name, _ in layout(self.sources[EVENTS]) if name != "batch"]
        with self._connect() as connection:
            found = table(connection, f"SELECT {quoted(names)} FROM events WHERE batch = $1", (batch,))
        return {name: found[name].to_pylist() for name in names}

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows that wait in quarantine: id, batch, table, row, reasons, original (bytes)."""
        sql = (
            "SELECT q.id, q.batch, q.row, q.reasons, q.original FROM quarantine q "
            "WHERE NOT EXISTS (SELECT FROM resolved r WHERE r.id = q.id) ORDER BY q.batch, q.row"
        )
        with self._connect() as connection:
            rows: list[dict[str, Any]] = table(connection, sql).to_pylist()
            tables = {batch.number: batch.table for batch in self._batches(connection)}
        return [{**row, "original": row["original"] or b"", "table": tables[row["batch"]]} for row in rows]

    def content(self) -> str:
        """sha256 over the contents of all batches, 64 hex: changes whenever a row is added."""
        return hashlib.sha256(" ".join(batch.content for batch in self.batches()).encode()).hexdigest()

    def clear(self) -> None:
        """Drop the whole schema of the use case."""
        with connected(self.url, write=True) as connection:
            run(connection, f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')

    @contextmanager
    def _connect(self, *, write: bool = False) -> Iterator[Connection]:
        with connected(self.url, self.schema, write=write) as connection:
            yield connection

    def _lock(self, connection: Connection, what: str, *, wait: bool = False) -> None:
        """One writer at a time, until the transaction ends; a second one is refused, naming the first."""
        key = int.from_bytes(hashlib.sha256(f"holdfast {self.schema} events".encode()).digest()[:8], "big", signed=True)
        if wait:
            run(connection, f"SELECT pg_advisory_xact_lock({key})")
            return
        if table(connection, f"SELECT pg_try_advisory_xact_lock({key}) AS had")["had"].to_pylist()[0]:
            return
        holder = table(
            connection,
            "SELECT pid::text AS pid FROM pg_locks WHERE locktype = 'advisory' AND granted "
            f"AND ((classid::bigint << 32) | objid::bigint) = {key}",
        )["pid"].to_pylist()
        raise StoreError(
            f"{what} into {redacted(self.url)}, {self.schema}: server process {', '.join(holder) or '?'} is doing it; "
            "try again when it is done"
        )

    def _migrate(self, connection: Connection, name: str, source: Source) -> None:
        own = layout(source)
        unique = "event_id" if name == EVENTS else "event_id, batch"  # a state may come back
        needed = ", ".join(f'"{column}" {kind}{" NOT NULL" if n < 5 else ""}' for n, (column, kind) in enumerate(own))
        run(connection, f"CREATE TABLE IF NOT EXISTS {name} ({needed}, PRIMARY KEY ({unique}))")
        run(connection, f"CREATE INDEX IF NOT EXISTS {name}_key_ts ON {name} (key, ts)")
        run(connection, f"CREATE INDEX IF NOT EXISTS {name}_batch ON {name} USING brin (batch)")
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
        )
        there = {
            row["column_name"]: row["data_type"] for row in table(connection, sql, (self.schema, name)).to_pylist()
        }
        for column, kind in own:
            if column not in there:  # a field that the contract has gained: missing in the rows of before
                run(connection, f'ALTER TABLE {name} ADD COLUMN "{column}" {kind}')
            elif there[column] != kind.removesuffix(' COLLATE "C"'):
                raise StoreError(
                    f'{self.schema}.{name}: column "{column}" holds {there[column]}, and the contract of today needs '
                    f"{kind}; give the field another name, or move the old table away and ingest again"
                )

    def _batches(self, connection: Connection) -> list[Batch]:
        sql = "SELECT manifest FROM batches ORDER BY number"
        return [Batch.of(json.loads(text)) for text in table(connection, sql)["manifest"].to_pylist()]

    def _hand_over(self, connection: Connection, stage: Stage) -> None:
        """Put what is stored of the staged rows into the stage, for `separate`."""
        names = quoted([name for name, _ in stage.stored()])
        run(connection, f"CREATE TEMP TABLE staged (id {TEXT})")
        which = "key" if stateful(stage) else "event_id"
        copy(connection, "staged", stage.connection.sql(f"SELECT DISTINCT {which} AS id FROM good").to_arrow_reader())
        if stateful(stage):
            last = f"SELECT key, max(batch) AS batch FROM {stage.name} JOIN staged ON id = key GROUP BY key"
            stored = f"SELECT {names} FROM {stage.name} JOIN ({last}) l USING (key, batch)"
        else:
            stored = f"SELECT {names} FROM {stage.name} JOIN staged ON id = event_id"
        stage.connection.register("stored", table(connection, stored))
        run(connection, f"CREATE TEMP TABLE judged (id {TEXT})")
        copy(connection, "judged", stage.connection.sql("SELECT id FROM judged").to_arrow_reader())
        stage.connection.register("quarantine", table(connection, "SELECT id FROM quarantine JOIN judged USING (id)"))
        waiting = (
            "SELECT id FROM quarantine q JOIN judged USING (id) "
            "WHERE NOT EXISTS (SELECT FROM resolved r WHERE r.id = q.id)"
        )
        stage.connection.register("waiting", table(connection, waiting))

    def _commit(self, connection: Connection, stage: Stage, separated: Separated, number: int) -> None:
        ask = stage.connection.sql
        copy(connection, stage.name, ask(fresh_sql(stage, number)).to_arrow_reader(), self.schema)
        copy(connection, "quarantine", ask(fresh_bad_sql(number)).to_arrow_reader(), self.schema)
        resolved = f"SELECT id, {number}::BIGINT AS batch FROM resolved"
        copy(connection, "resolved", ask(resolved).to_arrow_reader(), self.schema)
        batch = manifest(stage, number, separated)
        run(connection, "INSERT INTO batches VALUES ($1, $2)", (number, json.dumps(batch.as_dict())))

    def _known(self, t: int) -> str:
        name, limit = (EVENTS, "<") if EVENTS in self.sources else (RECORDS, "<=")
        return f"{name} WHERE ts {limit} {int(t)} AND ingested_at <= {int(t)}"

    @staticmethod
    def _spine(connection: Connection, spine: Spine) -> None:
        run(connection, f"CREATE TEMP TABLE spine (row_id bigint, key {TEXT}, t bigint)")
        keys = pa.array(spine.key.tolist(), pa.string())
        copy(connection, "spine", pa.table({"row_id": np.arange(len(spine)), "key": keys, "t": spine.t}))
        run(connection, "ANALYZE spine")


def _until(upto: int | None, of: str = "") -> str:
    return "" if upto is None else f" AND {of}batch <= {int(upto)}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
