"""The event store on a laptop: numbered batches of Parquet, read with DuckDB.

HOME/USECASE/batches/000001/manifest.json    a directory appears whole, by one rename: the commit
                           /rows.parquet     event_id, key, ts, ingested_at, then the contract's fields
                           /quarantine.parquet
                           /resolved.parquet ids of earlier quarantined rows that this batch took back
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from features import aggregates as agg
from features.clock import rfc3339, wall
from features.contract import SYSTEM, column_of, columns
from features.etl.rules import sql_type
from features.etl.stage import Stage
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store.base import Appended, Batch, Lookup, Materialized, Spine, StoreError, Transform
from features.store.lock import exclusive
from features.store.questions import changed_sql, relevant_sql

EVENTS, RECORDS = "events", "records"


class ParquetStore:
    """Event store of one use case in a directory.

    Args:
        root: the use case's directory; made when the first batch is committed.
        features: whose aggregates are asked for.
        sources: the tables, `events` and `records`, either or both.
    """

    def __init__(self, root: Path, features: FeatureSet, sources: Mapping[str, Source]) -> None:
        self.root, self.features, self.sources = root, features, sources
        self.directory = root / "batches"

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""
        return [self._manifest(path) for path in sorted(self.directory.glob("[0-9]*/manifest.json"))]

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch, atomically; rows already stored are not stored again.

        A row whose id is stored with another content is quarantined: a correction is a new event. Rows with neither
        id nor time are the state of their key: stored again where it differs from the last one, also on the way back.

        Raises:
            StoreError: if another process is ingesting into the same use case.
        """
        with exclusive(self.root / ".lock", f"ingest into {self.root}"):
            self._separate(stage)
            run = stage.connection.execute
            new, known = _one(run("SELECT count(*) FROM fresh")), _one(run("SELECT count(*) FROM good"))
            bad, new_bad = _one(run("SELECT count(*) FROM bad")), _one(run("SELECT count(*) FROM fresh_bad"))
            resolved = _one(run("SELECT count(*) FROM resolved"))
            number = self._commit(stage, new, new_bad) if new or new_bad or resolved else None
        return Appended(number, stage.read, new, known - new, bad)

    def keys(self, before: int, low: str = "", high: str | None = None) -> np.ndarray[Any, Any]:
        """Sorted keys (str) of all who have an event visible at `before`, or a record where there are no events; only
        those in [low, high)."""
        with self._connect() as connection:
            sql = f"SELECT DISTINCT key FROM {self._known()} AND key >= $low AND ($high IS NULL OR key < $high)"
            bound = {"t": before, "low": low, "high": high}
            found = connection.execute(f"{sql} ORDER BY key", bound).fetchnumpy()["key"]
        return np.asarray(found, dtype=np.str_)

    def ranges(self, before: int, size: int) -> list[str]:
        """Where parts of `size` keys begin: the first is "", the next is the key after the first `size`, and so on."""
        with self._connect() as connection:
            sql = (
                f"SELECT key, row_number() OVER (ORDER BY key) - 1 AS n FROM (SELECT DISTINCT key FROM {self._known()})"
            )
            starts = connection.execute(
                f"SELECT key FROM ({sql}) WHERE n > 0 AND n % $size = 0 ORDER BY n", {"t": before, "size": size}
            )
            return ["", *(key for (key,) in starts.fetchall())]

    def changed(self, since: Materialized, t: int) -> np.ndarray[Any, Any]:
        """Sorted keys whose aggregates at t may be others than they were materialized."""
        with self._connect() as connection:
            found = connection.execute(changed_sql(self.features, since, t)).fetchnumpy()["key"]
        return np.asarray(found, dtype=np.str_)

    def relevant(self, t: int, horizon: int) -> list[Batch]:
        """The batches of events that have a part in an example at t: visible at t, or in [t, t + horizon)."""
        with self._connect() as connection:
            sql = relevant_sql(t, horizon)
            numbers = {number for (number,) in connection.execute(sql).fetchall()}
        return [batch for batch in self.batches() if batch.number in numbers]

    def _known(self) -> str:
        table, limit = (EVENTS, "ts < $t") if EVENTS in self.sources else (RECORDS, "ts <= $t")
        return f"{table} WHERE {limit} AND ingested_at <= $t"

    def aggregate(self, spine: Spine, *, cut: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; an empty Lookup of known rows where there are no events.

        Args:
            cut: hide every event at or after this time (microseconds): what a leakage check compares with.
        """
        if not self.features.sql:
            return Lookup({}, np.ones(len(spine), dtype=np.bool_), spine.t)
        with self._connect(cut) as connection:
            connection.register("spine", _table(spine))
            raw = connection.execute(f"SELECT * FROM ({self.features.sql}) ORDER BY row_id").fetchnumpy()
        return Lookup(agg.convert(self.features.aggregates, raw), np.asarray(raw["known"]) > 0, spine.t)

    def transform(self, spine: Spine, function: Transform, *, records: bool) -> Arrays:
        """`function` over every row of the spine, in order, in this process."""
        return function(spine.key, self.aggregate(spine), self.records(spine) if records else {})

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon), int64 of n; this is what a label is made of."""
        with self._connect() as connection:
            connection.register("spine", _table(spine))
            sql = (
                "SELECT s.row_id, COUNT(e.ts) AS n FROM spine s LEFT JOIN events e "
                "ON e.key = s.key AND e.ts >= s.t AND e.ts < s.t + $horizon GROUP BY s.row_id ORDER BY s.row_id"
            )
            return np.asarray(connection.execute(sql, {"horizon": horizon}).fetchnumpy()["n"], dtype=np.int64)

    def span(self) -> tuple[int, int]:
        """Times of the first and the last event, microseconds.

        Raises:
            StoreError: if there is no event yet.
        """
        with self._connect() as connection:
            first, last = connection.execute("SELECT min(ts), max(ts) FROM events").fetchone() or (None, None)
        if first is None:
            raise StoreError(f"{self.root} holds no events yet: run `holdfast ingest FILE` first")
        return int(first), int(last)

    def records(self, spine: Spine) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t: one array per field of the record contract.

        Raises:
            StoreError: naming a key without a record.
        """
        contract = self.sources[RECORDS].contract
        own = [column for column in columns(contract) if column.kind not in SYSTEM]
        with self._connect() as connection:
            connection.register("spine", _table(spine))
            names = ", ".join(f'r."{column.name}"' for column in own)
            rows = connection.execute(
                f"SELECT s.row_id, r.key, {names} FROM spine s LEFT JOIN records r ON r.key = s.key AND r.ts <= s.t "
                "AND r.ingested_at <= s.t QUALIFY row_number() OVER (PARTITION BY s.row_id ORDER BY r.ts DESC, "
                "r.batch DESC, r.event_id DESC) = 1 ORDER BY s.row_id"
            ).fetchnumpy()
        absent = np.ma.getmaskarray(np.ma.asarray(rows["key"]))
        if absent.any():
            key, t = str(spine.key[absent][0]), rfc3339(int(spine.t[absent][0]))
            raise StoreError(
                f"no record of {key!r} was known at {t}: ingest the table of records (`holdfast ingest FILE --table "
                "records`, with --backfill if it is history)"
            )
        return {column.name: _typed(column.kind, column.nullable, rows[column.name]) for column in own}

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch, as columns of plain values, for an online store."""
        path = self.directory / f"{batch:06d}" / "rows.parquet"
        names = ["event_id", "key", "ts", "ingested_at", *(name for name, _ in self._layout(EVENTS)[4:])]
        if self._manifest(path.parent / "manifest.json").table != EVENTS or not path.exists():
            return {name: [] for name in names}
        with duckdb.connect() as connection:
            quoted = ", ".join(f'"{name}"' for name in names)
            layout = self._layout(EVENTS)
            rows = connection.execute(f"SELECT {quoted} FROM ({_union([path], layout)})").fetchall()
        return {name: [row[position] for row in rows] for position, name in enumerate(names)}

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows that wait in quarantine: id, batch, table, row, reasons, original (bytes)."""
        with duckdb.connect() as connection:
            self._quarantine_view(connection)
            names = ("id", "batch", "row", "reasons", "original")
            found = connection.execute(f"SELECT {', '.join(names)} FROM waiting ORDER BY batch, row").fetchall()
        tables = {batch.number: batch.table for batch in self.batches()}
        return [{**dict(zip(names, row, strict=True)), "table": tables[row[1]]} for row in found]

    def content(self) -> str:
        """sha256 over the contents of all batches, 64 hex: changes whenever a row is added."""
        return hashlib.sha256(" ".join(batch.content for batch in self.batches()).encode()).hexdigest()

    def _separate(self, stage: Stage) -> None:
        """Tell new rows from known ones, and move id conflicts to `bad`."""
        run = stage.connection.execute
        files = self._files(stage.name)
        layout = stage.stored()
        timed = column_of(stage.source.contract, "time") is not None
        state = not timed and column_of(stage.source.contract, "id") is None
        latest = " QUALIFY batch = max(batch) OVER (PARTITION BY key)" if state else ""
        every = _union(files, [*layout, ("batch", "BIGINT")])
        run(f"CREATE TEMP VIEW stored AS SELECT {_names(layout)} FROM ({every}){latest}")
        own = [name for name, _ in layout if name not in ("event_id", "ts", "ingested_at")]
        compared = [*own, "ts"] if timed else own
        differs = " OR ".join(f'g."{name}" IS DISTINCT FROM k."{name}"' for name in compared)
        run(
            "CREATE TEMP TABLE conflict AS WITH first AS (SELECT * FROM good QUALIFY row_number() OVER "
            "(PARTITION BY event_id ORDER BY row) = 1) SELECT DISTINCT g.row, g.event_id FROM good g JOIN "
            f"(SELECT {_names(layout)} FROM stored UNION ALL SELECT {_names(layout)} FROM first "
            f"WHERE event_id NOT IN (SELECT event_id FROM stored)) k ON g.event_id = k.event_id WHERE {differs}"
        )
        run(
            "INSERT INTO bad SELECT j.id, c.row, j.original, ['id: ' || chr(39) || c.event_id || chr(39) || "
            "' is already taken by a row with other content; a correction is a new event'] "
            "FROM conflict c JOIN judged j ON j.row = c.row"
        )
        run("DELETE FROM good WHERE row IN (SELECT row FROM conflict)")
        unknown = "event_id NOT IN (SELECT event_id FROM stored)"
        if state:  # all of a key's rows are its new state
            unknown = f"key IN (SELECT key FROM good WHERE {unknown})"
        run(
            f"CREATE TEMP TABLE fresh AS SELECT * FROM good WHERE {unknown} "
            "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY row) = 1"
        )
        self._quarantine_view(stage.connection)
        run("CREATE TEMP TABLE fresh_bad AS SELECT * FROM bad WHERE id NOT IN (SELECT id FROM quarantine)")
        run(
            "CREATE TEMP TABLE resolved AS SELECT id FROM waiting "
            "WHERE id IN (SELECT id FROM judged WHERE row IN (SELECT row FROM good))"
        )

    def _commit(self, stage: Stage, new: int, bad: int) -> int:
        number = len(self.batches()) + 1
        final, draft = self.directory / f"{number:06d}", self.directory / f".draft-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        run, names = stage.connection.execute, _names(stage.stored())
        rows = f"SELECT {names}, {number}::BIGINT AS batch FROM fresh ORDER BY key, ts, event_id"
        content = _one(
            run(
                f"SELECT sha256(string_agg(f::VARCHAR, chr(10) ORDER BY f.event_id)) FROM (SELECT {names} FROM fresh) f"
            )
        )
        run(f"COPY ({rows}) TO '{draft / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
        if bad:
            kept = f"SELECT *, {number}::BIGINT AS batch FROM fresh_bad ORDER BY row"
            run(f"COPY ({kept}) TO '{draft / 'quarantine.parquet'}'")
        run(f"COPY resolved TO '{draft / 'resolved.parquet'}'")
        batch = Batch(
            number=number,
            table=stage.name,
            committed_at=wall(),
            ingested_at="backfill" if stage.backfill else rfc3339(stage.now),
            source=stage.text.origin,
            form=stage.text.form,
            header=stage.text.header,
            rows=new,
            quarantined=bad,
            content=content or "",
            contract=stage.contract,
        )
        (draft / "manifest.json").write_text(json.dumps(batch.as_dict(), indent=2) + "\n")
        for path in draft.iterdir():
            _sync(path)
        _sync(draft)
        draft.rename(final)
        _sync(self.directory)
        return number

    def _files(self, table: str) -> list[Path]:
        return [
            self.directory / f"{b.number:06d}" / "rows.parquet" for b in self.batches() if b.table == table and b.rows
        ]

    def _layout(self, table: str) -> list[tuple[str, str]]:
        own = [(c.name, sql_type(c)) for c in columns(self.sources[table].contract) if c.kind not in SYSTEM]
        return [("event_id", "VARCHAR"), ("key", "VARCHAR"), ("ts", "BIGINT"), ("ingested_at", "BIGINT"), *own]

    def _connect(self, cut: int | None = None) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        for table in self.sources:
            sql = _union(self._files(table), [*self._layout(table), ("batch", "BIGINT")])
            if cut is not None:
                sql = f"SELECT * FROM ({sql}) WHERE ts < {int(cut)}"
            connection.execute(f"CREATE TEMP VIEW {table} AS {sql}")
        return connection

    def _quarantine_view(self, connection: duckdb.DuckDBPyConnection) -> None:
        layout = [
            ("id", "VARCHAR"),
            ("row", "BIGINT"),
            ("original", "BLOB"),
            ("reasons", "VARCHAR[]"),
            ("batch", "BIGINT"),
        ]
        every = _union(sorted(self.directory.glob("[0-9]*/quarantine.parquet")), layout)
        resolved = _union(sorted(self.directory.glob("[0-9]*/resolved.parquet")), [("id", "VARCHAR")])
        connection.execute(f"CREATE TEMP VIEW quarantine AS {every}")
        connection.execute(
            f"CREATE TEMP VIEW waiting AS SELECT * FROM quarantine WHERE id NOT IN (SELECT id FROM ({resolved}))"
        )

    @staticmethod
    def _manifest(path: Path) -> Batch:
        stored = json.loads(path.read_text())
        stored["header"] = tuple(stored["header"])
        return Batch(**{field.name: stored[field.name] for field in fields(Batch) if field.name in stored})


def _union(files: list[Path], layout: list[tuple[str, str]]) -> str:
    """The rows of these files; a column that a file was written without is NULL there."""
    empty = "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in layout) + " WHERE false"
    if not files:
        return empty
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    stored = f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"SELECT {_names(layout)} FROM ({empty} UNION ALL BY NAME {stored})"


def _names(layout: list[tuple[str, str]]) -> str:
    return ", ".join(f'"{name}"' for name, _ in layout)


def _table(spine: Spine) -> pa.Table:
    return pa.table({"row_id": np.arange(len(spine)), "key": pa.array(spine.key.tolist(), pa.string()), "t": spine.t})


def _typed(kind: str, nullable: bool, values: Any) -> np.ndarray[Any, Any]:
    if kind == "category":
        return np.array(["" if value is None else value for value in np.ma.filled(values, None)], dtype=np.str_)
    if kind == "number" or nullable:
        return np.asarray(np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan))
    return np.asarray(values).astype(np.bool_ if kind == "flag" else np.int64)


def _one(result: duckdb.DuckDBPyConnection) -> Any:
    row = result.fetchone()
    return row[0] if row else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
