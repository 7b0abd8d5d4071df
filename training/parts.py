"""The parts of a training set, one for each label time, kept in a directory: a new day leaves the old ones as they are.

A part's file is named by what it was made of and by the sha256 of its own bytes. It is derived data: what is not whole,
or not there, is computed again.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.golden import Inputs

KEPT = 7 * 86_400
"""Seconds after which a part that no training set has used is removed."""


@dataclass(frozen=True)
class Part:
    """The n examples of one label time: key (str, sorted), label (bool), raw inputs, whose request_time is the time."""

    key: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any]
    inputs: Inputs


class Parts:
    """Parts in a directory, which several processes may use at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str) -> Part | None:
        """The part of that name; None where there is none, or none that is whole. A damaged file is removed."""
        for path in self.directory.glob(f"{name}.*.parquet"):
            try:
                content = path.read_bytes()
                os.utime(path)
            except FileNotFoundError:  # removed by another process just now
                continue
            if _digest(content) == path.suffixes[0][1:]:
                return _part(content)
            path.unlink(missing_ok=True)
        return None

    def write(self, name: str, part: Part) -> None:
        """Keep a part; it appears whole or not at all."""
        self.directory.mkdir(parents=True, exist_ok=True)
        columns = {"key": part.key, "label": part.label, "t": part.inputs.request_time}
        columns |= {f"a.{name}": values for name, values in part.inputs.aggregates.items()}
        columns |= {f"r.{name}": values for name, values in part.inputs.attributes.items()}
        written = io.BytesIO()
        pq.write_table(pa.table({name: _arrow(values) for name, values in columns.items()}), written)
        draft = self.directory / f"{uuid4().hex}.draft"
        draft.write_bytes(written.getvalue())
        draft.rename(self.directory / f"{name}.{_digest(written.getvalue())}.parquet")

    def sweep(self) -> None:
        """Remove what has not been used for KEPT seconds, and what a killed process left behind."""
        for path in [*self.directory.glob("*.parquet"), *self.directory.glob("*.draft")]:
            try:
                if path.stat().st_mtime < time.time() - KEPT:
                    path.unlink()
            except FileNotFoundError:
                continue


def _part(content: bytes) -> Part:
    table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    columns = {name: _numpy(table.column(name)) for name in table.column_names}
    aggregates = {name[2:]: values for name, values in columns.items() if name.startswith("a.")}
    attributes = {name[2:]: values for name, values in columns.items() if name.startswith("r.")}
    return Part(columns["key"], columns["label"], Inputs(aggregates, attributes, columns["t"]))


def _arrow(values: np.ndarray[Any, Any]) -> pa.Array:
    """As Arrow; text as the bytes that numpy keeps it in, which costs a twentieth of decoding every row again."""
    if values.dtype.kind != "U":
        return pa.array(values)
    width, flat = values.dtype.itemsize, np.ascontiguousarray(values)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(flat), [None, pa.py_buffer(flat.tobytes())])


def _numpy(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if not pa.types.is_fixed_size_binary(column.type):
        return np.asarray(column.to_numpy())
    chunks = [
        np.frombuffer(chunk.buffers()[1], dtype=f"U{column.type.byte_width // 4}")[chunk.offset :][: len(chunk)]
        for chunk in column.chunks
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.str_)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
