"""The staging area of one ingest: text in, typed rows and quarantined rows out, all inside DuckDB."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa

from features.contract import SYSTEM, Column, column_of, columns, contract_fingerprint
from features.etl import rules
from features.etl.read import CHUNK, Record, SourceError, Text
from features.source import Source

Progress = Callable[[int], None]


class Stage:
    """Holds relations of one ingest, on disk, gone when it is closed.

    `good(row, event_id, key, ts, ingested_at, <fields>)` are the accepted rows, `bad(id, row, original, reasons)` the
    others: every record read is in exactly one of them. Without an id in the source, the id is the content's digest
    and its ordinal among equal rows, so that the same row has the same id whenever it is read again.

    Args:
        now: the batch's time, microseconds: `ingested_at` of rows whose source does not say when it learnt of them.
        backfill: history: `ingested_at` is the row's own time plus the source's arrival delay; a row without a time of
            its own counts as known from the beginning (time 0).
    """

    def __init__(self, name: str, text: Text, source: Source, *, now: int, backfill: bool, progress: Progress) -> None:
        self.source, self.text, self.name, self.now, self.backfill = source, text, name, now, backfill
        self.columns = columns(source.contract)
        self.fields = tuple(column for column in self.columns if column.kind not in SYSTEM)
        self.contract = contract_fingerprint(source.contract)
        self._directory = tempfile.TemporaryDirectory(prefix="holdfast-stage-")
        self.connection = duckdb.connect(str(Path(self._directory.name) / "stage.duckdb"))
        self.connection.execute("SET TimeZone = 'UTC'")
        try:
            self.read = self._load(progress)
            self._validate()
        except duckdb.Error as error:
            self.close()
            raise SourceError(
                f"{text.origin} cannot be read as its source says: {str(error).splitlines()[0]}"
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was staged."""
        self.connection.close()
        self._directory.cleanup()

    def stored(self) -> list[tuple[str, str]]:
        """Name and SQL type of every column of `good` that the store keeps."""
        own = [(column.name, rules.sql_type(column)) for column in self.fields]
        return [("event_id", "VARCHAR"), ("key", "VARCHAR"), ("ts", "BIGINT"), ("ingested_at", "BIGINT"), *own]

    def _load(self, progress: Progress) -> int:
        names = [column.name for column in self.columns]
        layout = ", ".join(f'"{name}" VARCHAR' for name in names)
        self.connection.execute(f"CREATE TABLE raw (row BIGINT, original BLOB, problem VARCHAR, {layout})")
        header = [self.source.rename.get(name, name) for name in self.text.header]
        repeated = [name for name in names if header.count(name) > 1]
        if repeated:
            raise SourceError(f"{self.text.origin}: two columns of the header mean {repeated[0]!r}; leave one out")
        missing = [name for name in names if name not in header]
        extra = [
            n
            for n, own in zip(header, self.text.header, strict=True)
            if n not in [*names, *self.source.ignore] and own not in self.source.ignore
        ]
        wrong = [f"missing column: {name}" for name in missing] + [f"extra column: {name}" for name in extra]
        position = {name: header.index(name) for name in names if name in header}
        schema = pa.schema(
            [
                ("row", pa.int64()),
                ("original", pa.binary()),
                ("problem", pa.string()),
                *((n, pa.string()) for n in names),
            ]
        )
        total = 0
        for chunk in _chunks(self.text.records):
            problems = ["; ".join([*wrong, *filter(None, [record.problem])]) or None for record in chunk]
            cells = [
                [record.values[position[name]] if name in position and record.values else None for record in chunk]
                for name in names
            ]
            table = pa.table([[r.row for r in chunk], [r.original for r in chunk], problems, *cells], schema=schema)
            self.connection.register("chunk", table)
            self.connection.execute("INSERT INTO raw SELECT * FROM chunk")
            self.connection.unregister("chunk")
            total += len(chunk)
            progress(total)
        return total

    def _validate(self) -> None:
        source, run = self.source, self.connection.execute
        texts = ", ".join(f'{rules.text(column, source)} AS "{column.name}"' for column in self.columns)
        run(f"CREATE TABLE texts AS SELECT row, original, problem, {texts} FROM raw ORDER BY row")
        values = ", ".join(f'{rules.value(column, source)} AS "{column.name}"' for column in self.columns)
        run(f"CREATE TABLE typed AS SELECT row, {values} FROM texts")
        reasons = ", ".join(rules.reason(column, source) for column in self.columns)
        written = rules.quote(json.dumps([self.name, self.text.form, self.text.header]))  # elsewhere it is another row
        shown = "replace({}, chr(0), '\\0')".format  # a reason is text everywhere; PostgreSQL's texts have no NUL
        number = "row_number() OVER (PARTITION BY t.original ORDER BY t.row)"
        run(
            f"CREATE TABLE judged AS SELECT t.row, t.original, CASE WHEN t.problem IS NOT NULL "
            f"THEN string_split({shown('t.problem')}, '; ') "
            f"ELSE [{shown('e')} FOR e IN [{reasons}] IF e IS NOT NULL] END AS reasons, "
            f"md5({written} || md5(t.original)) || '-' || {number} AS id FROM texts t JOIN typed v ON t.row = v.row"
        )
        ident, key, time, arrival = (self._system(kind) for kind in ("id", "key", "time", "arrival"))
        if arrival:
            ingested = f'v."{arrival}"'
        elif self.backfill:  # a record without a time was always so
            ingested = f'v."{time}" + {source.arrival_delay}' if time else "0"
        else:
            ingested = str(self.now)
        ts = f'v."{time}"' if time else ingested
        content = ", ".join(
            f'coalesce(CAST(v."{column.name}" AS VARCHAR), chr(30))' for column in self.columns if column.kind != "id"
        )
        fields = "".join(f', v."{column.name}"' for column in self.fields)
        digest = f"md5(concat_ws(chr(31), {content}))"
        ordinal = f"row_number() OVER (PARTITION BY {digest} ORDER BY v.row)"
        event_id = f'v."{ident}"' if ident else f"{digest} || '-' || {ordinal}"
        run(
            f"CREATE TABLE good AS SELECT v.row, {event_id} AS event_id, "
            f'v."{key}" AS key, CAST({ts} AS BIGINT) AS ts, CAST({ingested} AS BIGINT) AS ingested_at{fields} '
            "FROM typed v JOIN judged j ON v.row = j.row WHERE len(j.reasons) = 0"
        )
        run("CREATE TABLE bad (id VARCHAR, row BIGINT, original BLOB, reasons VARCHAR[])")
        run("INSERT INTO bad SELECT id, row, original, reasons FROM judged WHERE len(reasons) > 0")

    def _system(self, kind: str) -> str | None:
        column: Column | None = column_of(self.source.contract, kind)  # type: ignore[arg-type]  # kinds of SYSTEM
        return column.name if column else None


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(islice(records, CHUNK)):
        yield chunk
