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
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa

from features import aggregates as agg
from features.contract import SYSTEM, columns
from features.etl.rules import sql_type
from features.etl.stage import Stage
from features.featureset import FeatureSet
from features.rows import Arrays
from features.source import Source
from features.store.base import Appended, Batch, Lookup, Materialized, NoRecord, Spine, StoreError, Transform, watermark
from features.store.extent import Extent
from features.store.lock import exclusive
from features.store.plain import typed
from features.store.questions import changed_sql, relevant_sql
from features.store.separate import Separated, fresh_bad_sql, fresh_sql, manifest, quoted, separate, stateful

EVENTS, RECORDS = "events", "records"
DRAFT = ".draft"
"""Where a batch is written, until one rename commits it; there is one writer."""
SORTED = 1_000_000
"""Keys that are told apart and sorted at a time."""


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
        self._manifests: dict[Path, Batch] = {}  # read once: a batch never changes
        self._extents: dict[int, Extent] = {}

    def migrate(self) -> str:
        """Nothing: files are read by the contract of today, whatever they were written by."""
        return f"{self.root}: files, made when rows come in"

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""
        return [self._manifest(path) for path in sorted(self.directory.glob("[0-9]*"))]

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch, atomically; rows already stored are not stored again.

        A row whose id is stored with another content is quarantined: a correction is a new event. Rows with neither
        id nor time are the state of their key: stored again where it differs from the last one, also on the way back.

        Raises:
            StoreError: if another process is ingesting into the same use case.
        """
        with exclusive(self.root / ".lock", f"ingest into {self.root}"):
            shutil.rmtree(self.directory / DRAFT, ignore_errors=True)  # of a process that was killed
            run, names = stage.connection.execute, quoted([name for name, _ in stage.stored()])
            latest = " QUALIFY batch = max(batch) OVER (PARTITION BY key)" if stateful(stage) else ""
            every = _union(self._files(stage.name), [*stage.stored(), ("batch", "BIGINT")])
            run(f"CREATE TEMP VIEW stored AS SELECT {names} FROM ({every}){latest}")
            self._quarantine_view(stage.connection)
            separated = separate(stage)
            moved = stage.text.watermark != watermark(self.batches(), stage.name, stage.text.origin)
            something = separated.new or separated.new_bad or separated.resolved or moved
            return separated.appended(stage, self._commit(stage, separated) if something else None)

    def keys(self, before: int, low: str = "", high: str | None = None) -> np.ndarray[Any, Any]:
        """Sorted keys (str) of all who have an event visible at `before`, or a record where there are no events; only
        those in [low, high)."""
        with self._connect(only=lambda batch: self._visible(batch, before) is not False) as connection:
            sql = f"SELECT DISTINCT key FROM {self._known()} AND key >= $low AND ($high IS NULL OR key < $high)"
            bound = {"t": before, "low": low, "high": high}
            found = connection.execute(f"{sql} ORDER BY key", bound).fetchnumpy()["key"]
        return np.asarray(found, dtype=np.str_)

    def ranges(self, before: int, size: int) -> list[str]:
        """Where parts of `size` keys begin: the first is "", the next is the key after the first `size`, and so on."""
        starts, seen, low = [""], 0, ""
        with self._connect() as connection:
            sql = (
                "SELECT count(*), list(key ORDER BY n) FILTER (WHERE n > 0 AND n % $size = 0) FROM (SELECT key, "
                f"row_number() OVER (ORDER BY key) - 1 + $seen AS n FROM (SELECT DISTINCT key FROM {self._known()} "
                "AND key >= $low AND ($high IS NULL OR key < $high)))"
            )
            for high in [*self._cuts(connection, before), None]:
                bound = {"t": before, "size": size, "seen": seen, "low": low, "high": high}
                count, found = connection.execute(sql, bound).fetchall()[0]
                seen, low, starts = seen + count, high or "", [*starts, *(found or [])]
        return starts

    def _cuts(self, connection: duckdb.DuckDBPyConnection, before: int) -> list[str]:
        """Keys with about `SORTED` others between them, so that sorting what is between takes the same memory whatever
        the number of all; roughly, from a sample."""
        keys = f"SELECT key FROM {self._known()}"
        [(many,)] = connection.execute(f"SELECT approx_count_distinct(key) FROM ({keys})", {"t": before}).fetchall()
        parts = many // SORTED
        if not parts:
            return []
        sample = f"SELECT key FROM ({keys}) USING SAMPLE reservoir({100 * parts} ROWS)"
        drawn = sorted(key for (key,) in connection.execute(sample, {"t": before}).fetchall())
        return sorted(set(drawn[len(drawn) // (parts + 1) :: max(1, len(drawn) // (parts + 1))]))

    def changed(self, since: Materialized, t: int) -> np.ndarray[Any, Any]:
        """Sorted keys whose aggregates at t may be others than they were materialized."""
        with self._connect() as connection:
            found = connection.execute(changed_sql(self.features, since, t)).fetchnumpy()["key"]
        return np.asarray(found, dtype=np.str_)

    def relevant(self, t: int, horizon: int) -> list[Batch]:
        """The batches with a part in an example at t: a row visible at t, or an event in [t, t + horizon)."""
        batches = [batch for batch in self.batches() if batch.rows and batch.table in self.sources]
        told = {batch.number: self._part(batch, t, horizon) for batch in batches}
        unsure = [number for number, part in told.items() if part is None]
        if unsure:
            with self._connect(only=lambda batch: told.get(batch.number, False) is None) as connection:
                sql = relevant_sql(t, horizon, self.sources)
                found = {number for (number,) in connection.execute(sql).fetchall()}
            told |= {number: number in found for number in unsure}
        return [batch for batch in batches if told[batch.number]]

    def _part(self, batch: Batch, t: int, horizon: int) -> bool | None:
        answers = {self._visible(batch, t), batch.table == EVENTS and self._extent(batch).within(t, t + horizon)}
        return True if True in answers else None if None in answers else False

    def _visible(self, batch: Batch, t: int) -> bool | None:
        """Whether a row is visible at t; None where only the rows tell. A record at t is, an event at t is not."""
        return self._extent(batch).visible(t + (batch.table == RECORDS), t)

    @staticmethod
    def _until(upto: int | None) -> Callable[[Batch], bool]:
        return lambda batch: upto is None or batch.number <= upto

    def _extent(self, batch: Batch) -> Extent:
        if batch.number not in self._extents:
            self._extents[batch.number] = Extent.of(self.directory / f"{batch.number:06d}" / "rows.parquet")
        return self._extents[batch.number]

    def _known(self) -> str:
        table, limit = (EVENTS, "ts < $t") if EVENTS in self.sources else (RECORDS, "ts <= $t")
        return f"{table} WHERE {limit} AND ingested_at <= $t"

    def aggregate(self, spine: Spine, *, cut: int | None = None, upto: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; an empty Lookup of known rows where there are no events.

        Args:
            cut: hide every event at or after this time (microseconds): what a leakage check compares with.
            upto: hide every batch after this number: what was answered when it was the last one.
        """
        if not self.features.sql:
            return Lookup({}, np.ones(len(spine), dtype=np.bool_), spine.t)
        last = int(spine.t.max(initial=np.iinfo(np.int64).min))
        seen = self._until(upto)
        with self._connect(cut, only=lambda one: seen(one) and self._visible(one, last) is not False) as connection:
            connection.register("spine", _table(spine))
            raw = connection.execute(f"SELECT * FROM ({self.features.sql}) ORDER BY row_id").fetchnumpy()
        return Lookup(agg.convert(self.features.aggregates, raw), np.asarray(raw["known"]) > 0, spine.t)

    def transform(self, spine: Spine, function: Transform, *, records: bool) -> Arrays:
        """`function` over every row of the spine, in order, in this process."""
        return function(spine.key, self.aggregate(spine), self.records(spine) if records else {})

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon), int64 of n; this is what a label is made of."""
        if not len(spine):
            return np.zeros(0, dtype=np.int64)
        start, end = int(spine.t.min()), int(spine.t.max()) + horizon
        with self._connect(only=lambda batch: self._extent(batch).within(start, end) is not False) as connection:
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
        extents = [self._extent(batch) for batch in self.batches() if batch.table == EVENTS and batch.rows]
        if not extents:
            raise StoreError(f"{self.root} holds no events yet: run `holdfast ingest FILE` first")
        return min(extent.first for extent in extents), max(extent.last for extent in extents)

    def records(self, spine: Spine, *, upto: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t: one array per field of the record contract;
        `upto` hides later batches, as `aggregate` does.

        Raises:
            NoRecord: telling every row without one.
        """
        contract = self.sources[RECORDS].contract
        own = [column for column in columns(contract) if column.kind not in SYSTEM]
        with self._connect(only=self._until(upto)) as connection:
            connection.register("spine", _table(spine))
            names = ", ".join(f'r."{column.name}"' for column in own)
            rows = connection.execute(
                f"SELECT s.row_id, r.key, {names} FROM spine s LEFT JOIN records r ON r.key = s.key AND r.ts <= s.t "
                "AND r.ingested_at <= s.t QUALIFY row_number() OVER (PARTITION BY s.row_id ORDER BY r.ts DESC, "
                "r.batch DESC, r.event_id DESC) = 1 ORDER BY s.row_id"
            ).fetchnumpy()
        absent = np.ma.getmaskarray(np.ma.asarray(rows["key"]))
        if absent.any():
            raise NoRecord(spine, absent)
        return {column.name: typed(column.kind, column.nullable, rows[column.name]) for column in own}

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch, as columns of plain values, for an online store."""
        path = self.directory / f"{batch:06d}" / "rows.parquet"
        names = ["event_id", "key", "ts", "ingested_at", *(name for name, _ in self._layout(EVENTS)[4:])]
        if self._manifest(path.parent).table != EVENTS or not path.exists():
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

    def _commit(self, stage: Stage, separated: Separated) -> int:
        number = len(self.batches()) + 1
        final, draft = self.directory / f"{number:06d}", self.directory / DRAFT
        draft.mkdir(parents=True)
        run = stage.connection.execute
        run(f"COPY ({fresh_sql(stage, number)}) TO '{draft / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
        if separated.new_bad:
            run(f"COPY ({fresh_bad_sql(number)}) TO '{draft / 'quarantine.parquet'}'")
        run(f"COPY resolved TO '{draft / 'resolved.parquet'}'")
        batch = manifest(stage, number, separated)
        (draft / "manifest.json").write_text(json.dumps(batch.as_dict(), indent=2) + "\n")
        for path in draft.iterdir():
            _sync(path)
        _sync(draft)
        draft.rename(final)
        _sync(self.directory)
        return number

    def _files(self, table: str, only: Callable[[Batch], bool] = lambda _: True) -> list[Path]:
        kept = [batch for batch in self.batches() if batch.table == table and batch.rows and only(batch)]
        return [self.directory / f"{batch.number:06d}" / "rows.parquet" for batch in kept]

    def _layout(self, table: str) -> list[tuple[str, str]]:
        own = [(c.name, sql_type(c)) for c in columns(self.sources[table].contract) if c.kind not in SYSTEM]
        return [("event_id", "VARCHAR"), ("key", "VARCHAR"), ("ts", "BIGINT"), ("ingested_at", "BIGINT"), *own]

    def _connect(
        self, cut: int | None = None, only: Callable[[Batch], bool] = lambda _: True
    ) -> duckdb.DuckDBPyConnection:
        """The tables as views, of all batches or only of some, which spares opening the others' files."""
        spill = Path(tempfile.gettempdir()) / f"holdfast-{uuid4().hex}"  # made when needed, gone with the connection
        connection = duckdb.connect(config={"temp_directory": str(spill)})
        for table in self.sources:
            sql = _union(self._files(table, only), [*self._layout(table), ("batch", "BIGINT")])
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

    def _manifest(self, directory: Path) -> Batch:
        if directory not in self._manifests:
            self._manifests[directory] = Batch.of(json.loads((directory / "manifest.json").read_text()))
        return self._manifests[directory]


def _union(files: list[Path], layout: list[tuple[str, str]]) -> str:
    """The rows of these files; a column that a file was written without is NULL there."""
    empty = "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in layout) + " WHERE false"
    if not files:
        return empty
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    stored = f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"SELECT {quoted([name for name, _ in layout])} FROM ({empty} UNION ALL BY NAME {stored})"


def _table(spine: Spine) -> pa.Table:
    return pa.table({"row_id": np.arange(len(spine)), "key": pa.array(spine.key.tolist(), pa.string()), "t": spine.t})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
