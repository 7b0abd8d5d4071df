"""The point-in-time training set: for every label time, what was known then and what happened after."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import clock
from features.rows import Arrays
from features.store.base import Spine, StoreError
from features.store.parquet import ParquetStore
from model.golden import Inputs
from settings import HoldfastError
from usecases import Absence, UseCase

FORMAT = 1
"""Raised when the same events would give another training set."""


class LeakageError(HoldfastError, ValueError):
    """The training set would know the future; the message says where."""


@dataclass(frozen=True)
class Dataset:
    """n examples: key (str), label time (int64 microseconds), label (bool), raw inputs and features by name.

    `content` is sha256 over keys, labels, features and, where labels have times of their own, those times.
    """

    key: np.ndarray[Any, Any]
    t: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any]
    inputs: Inputs
    features: Arrays
    content: str

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: np.ndarray[Any, Any]) -> Dataset:
        """Some of the examples; `rows` are positions or a mask."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        features = {name: values[rows] for name, values in self.features.items()}
        return Dataset(self.key[rows], self.t[rows], self.label[rows], self.inputs.take(rows), features, self.content)


def label_times(usecase: UseCase, store: ParquetStore, as_of: int) -> list[int]:
    """Times at which labels are known by `as_of`, ascending, snapped to the use case's cadence.

    Raises:
        StoreError: if the history is too short for a single one.
    """
    if not isinstance(usecase.label, Absence):
        return [as_of]
    label, (first, _) = usecase.label, store.span()
    latest = clock.floor(as_of - label.horizon, usecase.cadence)
    times = sorted(range(latest, first + label.first - 1, -clock.floor(label.every, usecase.cadence)))
    if not times:
        raise StoreError(
            f"{usecase.name}: events begin at {clock.rfc3339(first)}, which leaves no label time with "
            f"{label.first // clock.DAY} days before and {label.horizon // clock.DAY} days after it by "
            f"{clock.rfc3339(as_of)}"
        )
    return times


def build(usecase: UseCase, store: ParquetStore, times: list[int], as_of: int, cache: Path) -> tuple[Dataset, bool]:
    """The training set at these label times, and whether it came from `cache`, where it is kept by content.

    Raises:
        LeakageError: if a label time is not yet decided at `as_of`.
    """
    horizon = usecase.label.horizon if isinstance(usecase.label, Absence) else 0
    for t in times:
        if t + horizon > as_of:
            raise LeakageError(
                f"{usecase.name}: the label of {clock.rfc3339(t)} is decided at {clock.rfc3339(t + horizon)}, after "
                f"{clock.rfc3339(as_of)}"
            )
    name = _cache_name(usecase, store, times)
    path = cache / f"{name}.parquet"
    if path.exists():
        return _read(usecase, path), True
    dataset = _compute(usecase, store, times)
    _write(dataset, path)
    return dataset, False


def frame(usecase: UseCase, store: ParquetStore, spine: Spine) -> Inputs:
    """Raw inputs of every spine row as they were known at its t: what training and batch read.

    Raises:
        StoreError: if a row's key has no record that the model needs.
    """
    attributes: dict[str, Any] = {}
    if usecase.features.attributes is not None:
        records = store.records(spine)
        attributes = {name: records[name] for name in usecase.features.fields}
    return Inputs(store.aggregate(spine).aggregates, attributes, spine.t)


def check_cut(store: ParquetStore, dataset: Dataset, t: int) -> int:
    """Recompute the aggregates at label time `t` with every event at or after t hidden; how many rows were compared.

    Raises:
        LeakageError: naming the first aggregate that knew something later.
    """
    rows = np.flatnonzero(dataset.t == t)
    again = store.aggregate(Spine(dataset.key[rows], dataset.t[rows]), cut=t)
    for name, values in again.aggregates.items():
        seen = dataset.inputs.aggregates[name][rows]
        differ = ~((seen == values) | ((seen != seen) & (values != values)))
        if differ.any():
            row = int(np.flatnonzero(differ)[0])
            raise LeakageError(
                f"aggregate {name!r} of {dataset.key[rows][row]!r} at {clock.rfc3339(t)} is {seen[row]}, but "
                f"{values[row]} without the events from then on: it knows the future"
            )
    return len(rows)


def _compute(usecase: UseCase, store: ParquetStore, times: list[int]) -> Dataset:
    keys = [store.keys(t) for t in times]
    key = np.concatenate(keys)
    t = np.concatenate([np.full(len(part), time, dtype=np.int64) for part, time in zip(keys, times, strict=True)])
    spine = Spine(key, t)
    if isinstance(usecase.label, Absence):
        label = store.active(spine, usecase.label.horizon) == 0
    else:
        label = store.records(spine)[usecase.label.column].astype(np.bool_)
    return _dataset(usecase, key, t, label, frame(usecase, store, spine))


def _dataset(usecase: UseCase, key: Any, t: Any, label: Any, inputs: Inputs) -> Dataset:
    features = usecase.features.evaluate(inputs.aggregates, inputs.attributes, inputs.request_time)
    hashed = hashlib.sha256(usecase.features.fingerprint.encode())
    timed = isinstance(usecase.label, Absence)
    own = [features[name] for name in usecase.features.inputs]
    for values in [key, label, *([t] if timed else []), *own]:
        hashed.update("\0".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes())
    return Dataset(key, t, label, inputs, features, hashed.hexdigest())


def _cache_name(usecase: UseCase, store: ParquetStore, times: list[int]) -> str:
    parts = [FORMAT, usecase.features.fingerprint, repr(usecase.label), store.content(), times]
    if not isinstance(usecase.label, Absence) and not usecase.features.timed:
        parts[-1] = []  # one label time, now: the records decide, not the hour
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(dataset: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"key": dataset.key, "t": dataset.t, "label": dataset.label}
    columns |= {f"a.{name}": values for name, values in dataset.inputs.aggregates.items()}
    columns |= {f"r.{name}": values for name, values in dataset.inputs.attributes.items()}
    table = pa.table({n: pa.array(v.tolist() if v.dtype.kind == "U" else v) for n, v in columns.items()})
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft)
    draft.rename(path)


def _read(usecase: UseCase, path: Path) -> Dataset:
    table = pq.read_table(path)
    columns = {name: _array(table.column(name)) for name in table.column_names}
    aggregates = {name[2:]: values for name, values in columns.items() if name.startswith("a.")}
    attributes = {name[2:]: values for name, values in columns.items() if name.startswith("r.")}
    inputs = Inputs(aggregates, attributes, columns["t"])
    return _dataset(usecase, columns["key"], columns["t"], columns["label"], inputs)


def _array(column: Any) -> np.ndarray[Any, Any]:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    return np.asarray(column.to_numpy())
