"""Reading a source as text, record by record, keeping the original bytes of each."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from features.source import Source
from settings import HoldfastError

if TYPE_CHECKING:
    import pandas as pd

_UNDECODABLE = re.compile("[\udc80-\udcff]")
CHUNK = 50_000
ISO = "json, iso"
"""Form of records whose times are ISO 8601, as a database wrote them, whatever format files of the source have."""


class SourceError(HoldfastError, ValueError):
    """A whole source cannot be read; the message names it and says what to do."""


@dataclass(frozen=True)
class Record:
    """One record of a source: its number (1-based), original bytes, and values by column, or why it has none."""

    row: int
    original: bytes
    values: list[str | None]
    problem: str | None = None


@dataclass(frozen=True)
class Text:
    """A source as text: its name, how it was written (`csv`, `json` or ISO), its header, its records as they are read.

    `watermark` says how far an incremental source will have been read with them; empty for a file.
    """

    origin: str
    form: str
    header: tuple[str, ...]
    records: Iterator[Record]
    watermark: str = ""


def read(given: Path | pd.DataFrame, source: Source) -> Text:
    """Open a CSV or Parquet file (told by its name: `.parquet`, `.pq`), or a pandas frame.

    Raises:
        SourceError: if there is no such file, it is empty, or its header repeats a name.
    """
    text = _file(given, source) if isinstance(given, Path) else _frame(given)
    repeated = {name for name in text.header if text.header.count(name) > 1}
    if repeated:
        raise SourceError(f"{given}: the header names {min(repeated)!r} twice; which one is meant?")
    return text


def _file(path: Path, source: Source) -> Text:
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty: it has not even a header line; nothing was ingested")
    return _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path, source)


def written(form: str, source: Source) -> Source:
    """The source as rows of that form are to be read."""
    return replace(source, time_format=None) if form == ISO else source


def again(form: str, header: tuple[str, ...], originals: Iterable[bytes], source: Source) -> Text:
    """The records of quarantined originals, read anew as they were written."""

    def records() -> Iterator[Record]:
        for row, original in enumerate(originals, start=1):
            if form != "csv":
                yield Record(row, original, list(json.loads(original).values()))
            else:
                line = original.decode(source.encoding, "surrogateescape")
                yield from (Record(row, r.original, r.values, r.problem) for r in _records([line], len(header), source))

    return Text("quarantine", form, header, records())


def _csv(path: Path, source: Source) -> Text:
    encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
        try:
            header = next((names for names in _reader(lines, source) if names), None)
        except (csv.Error, UnicodeError) as error:
            raise SourceError(f"{path}: the header line cannot be read: {error}; nothing was ingested") from None
    if header and source.delimiter == " " and not header[-1]:
        header.pop()  # blanks at the end of the line
    if not header:
        raise SourceError(f"{path} has no header line; nothing was ingested")
    if _UNDECODABLE.search("".join(header)):
        raise SourceError(f"{path}: the header line is not {source.encoding}; nothing was ingested")

    def records() -> Iterator[Record]:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
            rows = _records(lines, len(header), source)
            next(rows)  # the header
            try:
                yield from (replace(record, row=record.row - 1) for record in rows)
            except UnicodeError as error:  # of an encoding in which one bad byte leaves no line to quarantine
                raise SourceError(f"{path} is not {source.encoding}: {error}; nothing was ingested") from None

    return Text(path.name, "csv", tuple(name.strip() for name in header), records())


def _reader(lines: Iterable[str], source: Source) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=source.delimiter, skipinitialspace=True, strict=True)


def _records(lines: Iterable[str], width: int, source: Source) -> Iterator[Record]:
    taken: list[str] = []

    def tee() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = _reader(tee(), source)
    row = 0
    while True:
        taken.clear()
        try:
            values: list[str] = next(reader)
            problem = None
        except StopIteration:
            return
        except csv.Error as error:
            values, problem = [], f"unreadable: {error}"
        if not values and not problem:
            continue  # a blank line is no record
        row += 1
        text = "".join(taken)
        if source.delimiter == " " and len(values) == width + 1 and not values[-1]:
            values.pop()  # blanks at the end of a line
        if problem is None and _UNDECODABLE.search(text):
            problem = f"encoding: the bytes are not {source.encoding}"
        elif problem is None and len(values) != width:
            which = "missing" if len(values) < width else "extra"
            problem = f"{which} column: {len(values)} values where the header has {width}"
        original = text.rstrip("\r\n").encode(source.encoding, "surrogateescape")
        yield Record(row, original, [] if problem else list(values), problem)


def _parquet(path: Path) -> Text:
    connection = duckdb.connect()
    try:
        return _table(path.name, connection, "read_parquet(?)", [str(path)])
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _frame(frame: pd.DataFrame) -> Text:
    """Missing values of any kind (NaN, NaT, None) are missing; everything else is read as its text."""
    texts = frame.select_dtypes(["object", "string"])
    mixed = {str(name): frame[name].map(_storable, na_action="ignore") for name in texts}
    connection = duckdb.connect()
    connection.register("frame", pa.Table.from_pandas(frame.assign(**mixed), preserve_index=False))
    return _table("a frame", connection, "frame", [])


def _storable(value: object) -> str:
    """The value's text; one that is no Unicode (lone surrogates) is marked by a NUL, which every rule refuses."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "\0" + text.encode("utf-8", "backslashreplace").decode()
    return text


def _table(origin: str, connection: duckdb.DuckDBPyConnection, relation: str, bound: list[str]) -> Text:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {relation}", bound)
    header = tuple(column[0] for column in connection.description or [])

    def records() -> Iterator[Record]:
        row = 0
        while chunk := connection.fetchmany(CHUNK):
            for values in chunk:
                row += 1
                yield Record(row, json.dumps(dict(zip(header, values, strict=True))).encode(), list(values))

    return Text(origin, "json", header, records())
