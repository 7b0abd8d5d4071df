"""The point-in-time training set: for every label time, what was known then and what happened after."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import clock
from features.rows import Arrays
from features.store.base import EventStore, Spine, StoreError
from model.golden import Inputs
from settings import HoldfastError
from usecases import Absence, UseCase

CONTENT = "holdfast.content"
FORMAT = 1
"""Raised when the same events would give another training set."""


class LeakageError(HoldfastError, ValueError):
    """The training set would know the future; the message says where."""


class LabelError(HoldfastError, ValueError):
    """The labels are such that nothing can be learnt or measured; the message says which."""


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


def label_times(usecase: UseCase, store: EventStore, as_of: int) -> list[int]:
    """Times at which labels are known by `as_of`, ascending, snapped to the use case's cadence.

    Known is as far as the events reach: after the cadence in which the last one happened, an absence says nothing.

    Raises:
        StoreError: if the history is too short for a single one.
    """
    if not isinstance(usecase.label, Absence):
        return [as_of]
    label, cadence, (first, _), known = usecase.label, usecase.cadence, store.span(), _reach(usecase, store, as_of)
    latest = clock.floor(known - label.horizon, cadence)
    times = sorted(range(latest, first + label.first - 1, -max(clock.floor(label.every, cadence), cadence)))
    if not times:
        raise StoreError(
            f"{usecase.name}: events begin at {clock.rfc3339(first)}, which leaves no label time with "
            f"{label.first // clock.DAY} days before and {label.horizon // clock.DAY} days after it by "
            f"{clock.rfc3339(known)}: ingest a longer history, or shorten what the label needs"
        )
    return times


def build(usecase: UseCase, store: EventStore, times: list[int], as_of: int, cache: Path) -> tuple[Dataset, bool]:
    """The training set at these label times, and whether it came from `cache`, where it is kept by content.

    One whose label time is now is not kept: it will not be asked for again.

    Raises:
        LeakageError: if a label time is not yet decided at `as_of`, or by the events that are there.
    """
    horizon, known = 0, as_of
    if isinstance(usecase.label, Absence):
        horizon, known = usecase.label.horizon, _reach(usecase, store, as_of)
    for t in times:
        if t + horizon > known:
            raise LeakageError(
                f"{usecase.name}: the label of {clock.rfc3339(t)} is decided at {clock.rfc3339(t + horizon)}, after "
                f"{clock.rfc3339(known)}, as far as is known"
            )
    if not isinstance(usecase.label, Absence):
        return _compute(usecase, store, times), False
    name = _cache_name(usecase, store, times)
    path = cache / f"{name}.parquet"
    if path.exists():
        return _read(usecase, path), True
    dataset = _compute(usecase, store, times)
    _write(dataset, path)
    return dataset, False


def frame(usecase: UseCase, store: EventStore, spine: Spine) -> Inputs:
    """Raw inputs of every spine row as they were known at its t: what training and batch read.

    Raises:
        StoreError: if a row's key has no record that the model needs.
    """
    attributes: dict[str, Any] = {}
    if usecase.features.attributes is not None:
        records = store.records(spine)
        attributes = {name: records[name] for name in usecase.features.fields}
    return Inputs(store.aggregate(spine).aggregates, attributes, spine.t)


def check_cut(store: EventStore, dataset: Dataset, t: int) -> int:
    """Recompute the aggregates at label time `t` with every event at or after t hidden; how many rows were compared,
    which is 0 where there are no aggregates.

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
                f"aggregate {name!r} of {str(dataset.key[rows][row])!r} at {clock.rfc3339(t)} is {seen[row]}, but "
                f"{values[row]} without the events from then on: it knows the future"
            )
    return len(rows) if again.aggregates else 0


def _reach(usecase: UseCase, store: EventStore, as_of: int) -> int:
    """Up to when an absence of events tells something: the end of the last cadence with an event, or `as_of`."""
    return min(as_of, clock.floor(store.span()[1], usecase.cadence) + usecase.cadence)


def _compute(usecase: UseCase, store: EventStore, times: list[int]) -> Dataset:
    keys = [store.keys(t) for t in times]
    if not sum(map(len, keys)):
        raise StoreError(
            f"{usecase.name}: nobody was known at any label time up to {clock.rfc3339(times[-1])}. If the events are "
            "history, they were ingested without --backfill and count as known only since then: remove the use case's "
            "directory under HOLDFAST_HOME and ingest them again with --backfill"
        )
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


def _cache_name(usecase: UseCase, store: EventStore, times: list[int]) -> str:
    parts = [FORMAT, usecase.features.fingerprint, repr(usecase.label), store.content(), times]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(dataset: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"key": dataset.key, "t": dataset.t, "label": dataset.label}
    columns |= {f"a.{name}": values for name, values in dataset.inputs.aggregates.items()}
    columns |= {f"r.{name}": values for name, values in dataset.inputs.attributes.items()}
    table = pa.table({n: pa.array(v.tolist() if v.dtype.kind == "U" else v) for n, v in columns.items()})
    table = table.replace_schema_metadata({CONTENT: dataset.content})
    draft = path.with_suffix(f".{os.getpid()}.draft")
    pq.write_table(table, draft)
    draft.rename(path)


def _read(usecase: UseCase, path: Path) -> Dataset:
    table = pq.read_table(path)
    columns = {name: _array(table.column(name)) for name in table.column_names}
    aggregates = {name[2:]: values for name, values in columns.items() if name.startswith("a.")}
    attributes = {name[2:]: values for name, values in columns.items() if name.startswith("r.")}
    inputs = Inputs(aggregates, attributes, columns["t"])
    dataset = _dataset(usecase, columns["key"], columns["t"], columns["label"], inputs)
    kept = (table.schema.metadata or {}).get(CONTENT.encode(), b"").decode()
    if kept != dataset.content:
        raise StoreError(f"{path} holds {dataset.content[:16]}, not the {kept[:16]} it was written with: delete it")
    return dataset


def _array(column: Any) -> np.ndarray[Any, Any]:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    return np.asarray(column.to_numpy())
