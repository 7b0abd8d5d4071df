"""A database's events as Parquet files, for engines that read files: each batch once, as it never changes."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.featureset import FeatureSet
from features.store import arrow
from features.store.base import Batch, EventStore
from features.store.parquet import EVENTS, ParquetStore


def mirrored(inner: EventStore, root: Path, features: FeatureSet) -> ParquetStore:
    """The events of `inner` as a Parquet store, brought up to date: itself, if it is one, else its copy under `root`.

    A copy of another database's batches is replaced. Records and quarantine stay where they are.
    """
    if isinstance(inner, ParquetStore):
        return inner
    mirror = ParquetStore(root, features, {name: s for name, s in inner.sources.items() if name == EVENTS})
    there = {batch.number: batch for batch in mirror.batches()}
    for batch in inner.batches():
        if batch.table == EVENTS and there.get(batch.number) != batch:
            _write(inner, mirror, batch)
    return mirror


def _write(inner: EventStore, mirror: ParquetStore, batch: Batch) -> None:
    final = mirror.directory / f"{batch.number:06d}"
    draft = mirror.directory / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)
    draft.mkdir(parents=True)
    layout, rows = arrow.layout(inner.sources[EVENTS]), inner.events(batch.number)
    columns = {**rows, "batch": [batch.number] * len(rows["key"])}
    pq.write_table(pa.table([columns[name] for name in layout.names], schema=layout), draft / "rows.parquet")
    (draft / "manifest.json").write_text(json.dumps(batch.as_dict()))
    with suppress(OSError):  # another process has just written the same
        draft.rename(final)
