"""The point-in-time training set: for every label time, what was known then and what happened after."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from features import clock
from features.featureset import FeatureSet
from features.rows import Arrays
from features.store.base import EventStore, Lookup, Spine, StoreError
from model.golden import Inputs
from settings import HoldfastError
from training.parts import Part, Parts
from usecases import Absence, UseCase

FORMAT = 2
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

    They are the latest such time, and before it the multiples of the label's `every` since the epoch: a new day moves
    the latest one only. Known is as far as the events reach: after the cadence in which the last one happened, an
    absence says nothing.

    Raises:
        StoreError: if the history is too short for a single one.
    """
    if not isinstance(usecase.label, Absence):
        return [as_of]
    label, cadence, (first, _), known = usecase.label, usecase.cadence, store.span(), reach(usecase, store, as_of)
    latest, earliest = clock.floor(known - label.horizon, cadence), first + label.first
    if latest < earliest:
        raise StoreError(
            f"{usecase.name}: events begin at {clock.rfc3339(first)}, which leaves no label time with "
            f"{label.first // clock.DAY} days before and {label.horizon // clock.DAY} days after it by "
            f"{clock.rfc3339(known)}: ingest a longer history, or shorten what the label needs"
        )
    every = max(clock.floor(label.every, cadence), cadence)
    return [*range(clock.floor(earliest - 1, every) + every, latest, every), latest]


def build(usecase: UseCase, store: EventStore, times: list[int], as_of: int, cache: Path) -> tuple[Dataset, int]:
    """The training set at these label times, and how many of them came from `cache`, where each is kept by itself.

    A label time is computed again when a batch came that has a part in it. One that is now is not kept: it will not be
    asked for again.

    Raises:
        LeakageError: if a label time is not yet decided at `as_of`, or by the events that are there.
    """
    horizon, known = 0, as_of
    if isinstance(usecase.label, Absence):
        horizon, known = usecase.label.horizon, reach(usecase, store, as_of)
    for t in times:
        if t + horizon > known:
            raise LeakageError(
                f"{usecase.name}: the label of {clock.rfc3339(t)} is decided at {clock.rfc3339(t + horizon)}, after "
                f"{clock.rfc3339(known)}, as far as is known"
            )
    if not isinstance(usecase.label, Absence):
        return _assemble(usecase, [_compute(usecase, store, t) for t in times]), 0
    kept, parts, found = Parts(cache), [], 0
    for t in times:
        name = _name(usecase, store, t, horizon)
        part = kept.read(name)
        if part is None:
            part, features = _compute(usecase, store, t)
            kept.write(name, part)
        else:
            found += 1
            features = usecase.features.evaluate(
                part.inputs.aggregates, part.inputs.attributes, part.inputs.request_time
            )
        parts.append((part, features))
    kept.sweep()
    return _assemble(usecase, parts), found


def frame(usecase: UseCase, store: EventStore, spine: Spine) -> Inputs:
    """Raw inputs of every spine row as they were known at its t: what other roads are compared with.

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


def reach(usecase: UseCase, store: EventStore, as_of: int) -> int:
    """Up to when an absence of events tells something: the end of the last cadence with an event, or `as_of`."""
    return min(as_of, clock.floor(store.span()[1], usecase.cadence) + usecase.cadence)


def _compute(usecase: UseCase, store: EventStore, t: int) -> tuple[Part, Arrays]:
    """The examples of one label time, everyone who was known then, and their features, made where the store is."""
    spine = Spine.at(store.keys(t), t)
    if isinstance(usecase.label, Absence):
        label = store.active(spine, usecase.label.horizon) == 0
    else:
        label = store.records(spine)[usecase.label.column].astype(np.bool_)
    own = usecase.features
    features = store.transform(spine, partial(_evaluate, own), records=own.attributes is not None)
    aggregates = {aggregate.name: features[aggregate.name] for aggregate in own.aggregates}
    return Part(spine.key, label, Inputs(aggregates, {name: features[name] for name in own.fields}, spine.t)), features


def _evaluate(features: FeatureSet, _: np.ndarray[Any, Any], found: Lookup, records: Arrays) -> Arrays:
    return features.evaluate(found.aggregates, records, found.as_of)


def _assemble(usecase: UseCase, computed: list[tuple[Part, Arrays]]) -> Dataset:
    parts = [part for part, _ in computed]
    key = np.concatenate([part.key for part in parts])
    label = np.concatenate([part.label for part in parts])
    t = np.concatenate([part.inputs.request_time for part in parts])
    if not len(key):
        raise StoreError(
            f"{usecase.name}: nobody was known at any label time. If the events are history, they were ingested "
            "without --backfill and count as known only since then: remove the use case's directory under "
            "HOLDFAST_HOME and ingest them again with --backfill"
        )
    features = {name: np.concatenate([one[name] for _, one in computed]) for name in computed[0][1]}
    aggregates = {aggregate.name: features[aggregate.name] for aggregate in usecase.features.aggregates}
    inputs = Inputs(aggregates, {name: features[name] for name in usecase.features.fields}, t)
    hashed = hashlib.sha256(usecase.features.fingerprint.encode())
    timed = isinstance(usecase.label, Absence)
    own = [features[name] for name in usecase.features.inputs]
    for values in [key, label, *([t] if timed else []), *own]:
        hashed.update("\0".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes())
    return Dataset(key, t, label, inputs, features, hashed.hexdigest())


def _name(usecase: UseCase, store: EventStore, t: int, horizon: int) -> str:
    """Of a part, by everything it is made of: the code, the label and the batches that are seen from t."""
    tables = ("events", "records") if usecase.features.attributes is not None else ("events",)
    batches = [(one.number, one.content) for one in store.relevant(t, horizon) if one.table in tables]
    made_of = [FORMAT, usecase.features.fingerprint, repr(usecase.label), t, batches]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
