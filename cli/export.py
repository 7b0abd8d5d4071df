"""Predictions, with their outcomes or without, into one file, JSON lines or Parquet, however many they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import asdict, fields

from features.clock import rfc3339
from model.predictions import Prediction
from model.predictions.entry import exact
from model.predictions.outcome import Outcome
from settings import HoldfastError

PART = 20_000
"""Predictions held at a time."""
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_TIMES = ("answered_at", "request_time", "as_of", "at", "observed_at", "received_at")
_KINDS = dict.fromkeys(_TIMES, pa.timestamp("us", "UTC")) | {"batch": pa.int64(), "outcome": pa.bool_()}
_NESTED = ("attributes", "aggregates", "features")


def export(found: Iterator[Prediction], path: Path, kind: type[Prediction] = Prediction) -> int:
    """Write them, all of one kind, to `path`, whose end says the form; how many they were. What was there before goes
    when all is there.

    In Parquet, columns of the inputs are called `attributes.NAME`, `aggregates.NAME`, `features.NAME`; one that only
    some models have is null, a missing number NaN, in the rows of those that have it.

    Raises:
        HoldfastError: if a column holds text in some rows and numbers in others, or the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as made:
            whole = Path(made) / "whole"
            rows = _lines(found, whole) if path.suffix == ".jsonl" else _parquet(found, whole, _own(kind))
            whole.rename(path)
    except OSError as error:
        raise HoldfastError(f"{path} cannot be written: {error}") from None
    return rows


def document(one: Prediction | Outcome) -> dict[str, Any]:
    """A prediction or an outcome as JSON can hold it, times as RFC 3339."""
    told: dict[str, Any] = asdict(one)
    told |= {name: exact(told[name]) for name in _NESTED if name in told}
    return told | {name: rfc3339(told[name]) for name in _TIMES if told.get(name) is not None}


def _own(kind: type[Prediction]) -> list[tuple[str, Any]]:
    """The columns that every prediction has."""
    named = [(field.name, _KINDS.get(field.name) or _TYPES.get(field.type)) for field in fields(kind)]
    return [(name, type_) for name, type_ in named if type_ is not None]


def _lines(found: Iterator[Prediction], path: Path) -> int:
    rows = 0
    with path.open("wb") as file:
        for one in found:
            file.write(msgspec.json.encode(document(one)) + b"\n")
            rows += 1
    return rows


def _parquet(found: Iterator[Prediction], path: Path, own: list[tuple[str, Any]]) -> int:
    """Parts first, each with the columns it has, for which there are is known at the end."""
    parts: list[Path] = []
    schemas = [pa.schema(own)]
    rows = 0
    try:
        while part := list(islice(found, PART)):
            table = _table(part, own)
            parts.append(path.with_name(f"part-{len(parts)}"))
            pq.write_table(table, parts[-1])
            schemas.append(table.schema)
            rows += len(part)
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise HoldfastError(f"a column is not of one type: {error}; export to .jsonl, or a shorter time") from None
    with pq.ParquetWriter(path, schema) as writer:
        for part_path in parts:
            table = pq.read_table(part_path)
            writer.write_table(pa.concat_tables([schema.empty_table(), table], promote_options="permissive"))
            part_path.unlink()
    return rows


def _table(part: list[Prediction], own: list[tuple[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {name: pa.array([getattr(one, name) for one in part], kind) for name, kind in own}
    for field in _NESTED:
        named = dict.fromkeys(name for one in part for name in getattr(one, field))
        for name in named:
            columns[f"{field}.{name}"] = pa.array([getattr(one, field).get(name) for one in part])
    return pa.table(columns)
