"""A generated shop: customers who order at their own pace until they stop, in a store as if ingested batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.clock import DAY, parse, rfc3339
from features.store.base import Batch
from features.store.parquet import ParquetStore
from usecases import UseCase

START = parse("2023-01-01T00:00:00Z")
ROW_GROUP = 122_880
"""As DuckDB writes them, hence as an ingest does."""


@dataclass(frozen=True)
class Orders:
    """n orders by time: position of the customer's key in `keys`, microseconds, CDs, cents."""

    keys: list[str]
    who: np.ndarray[Any, Any]
    ts: np.ndarray[Any, Any]
    cds: np.ndarray[Any, Any]
    spend: np.ndarray[Any, Any]

    def take(self, rows: np.ndarray[Any, Any] | slice) -> Orders:
        """Some of the orders."""
        return Orders(self.keys, self.who[rows], self.ts[rows], self.cds[rows], self.spend[rows])

    def between(self, start: int, end: int) -> Orders:
        """The orders of [start, end), microseconds."""
        return self.take(slice(*np.searchsorted(self.ts, [start, end])))

    def __len__(self) -> int:
        return len(self.ts)


def orders(customers: int, mean: float, days: int, seed: int = 0) -> Orders:
    """About `mean` orders of each customer in `days` days from START: a first one, then a Poisson process until they
    leave, with a rate and a lifetime of their own (after Schmittlein, Morrison and Colombo, 1987)."""
    random = np.random.default_rng(seed)
    first = random.uniform(0, 0.7 * days, customers)
    stays = np.minimum(random.exponential(0.5 * days, customers), days - first)
    expected = random.gamma(1.5, 1, customers) * stays
    more = random.poisson(expected * (mean - 1) / expected.mean())
    who = np.concatenate([np.arange(customers), np.repeat(np.arange(customers), more)])
    later = np.concatenate([np.zeros(customers), random.uniform(0, 1, more.sum())])
    ts = START + ((first[who] + later * stays[who]) * DAY).astype(np.int64)
    order = np.argsort(ts, kind="stable")
    cds = random.integers(1, 20, len(who))
    spend = 100 + random.gamma(2, 3_000, len(who)).astype(np.int64)
    return Orders(sorted(f"c{number}" for number in range(customers)), who[order], ts[order], cds, spend)


def commit(usecase: UseCase, root: Path, batches: Sequence[Orders]) -> ParquetStore:
    """A store under `root` with these as its next batches, each known when its last order had happened.

    The files are what `ingest` would have left; written at once, since what it costs is not the question here.
    """
    store = ParquetStore(root, usecase.features, usecase.sources)
    done = len(list(store.directory.glob("[0-9]*")))
    for number, batch in enumerate(batches, start=done + 1):
        directory = store.directory / f"{number:06d}"
        directory.mkdir(parents=True)
        _write(batch, number, directory / "rows.parquet")
        pq.write_table(pa.table({"id": pa.array([], pa.string())}), directory / "resolved.parquet")
        manifest = Batch(
            number=number,
            table="events",
            committed_at=rfc3339(int(batch.ts[-1])),
            ingested_at=rfc3339(int(batch.ts[-1])),
            source="benchmarks.shop",
            form="csv",
            header=(),
            rows=len(batch),
            quarantined=0,
            content=hashlib.sha256(batch.ts.tobytes() + batch.who.tobytes()).hexdigest(),
            contract="",
        )
        (directory / "manifest.json").write_text(json.dumps(manifest.as_dict()))
    return store


def _write(batch: Orders, number: int, path: Path) -> None:
    order = np.lexsort((batch.ts, batch.who))
    key = pa.DictionaryArray.from_arrays(pa.array(batch.who[order].astype(np.int32)), pa.array(batch.keys))
    row = number * 100_000_000 + np.arange(len(batch))
    columns = {
        "event_id": pa.array(row).cast(pa.string()),
        "key": key.cast(pa.string()),
        "ts": batch.ts[order],
        "ingested_at": np.full(len(batch), batch.ts[-1] + 1),
        "cds": batch.cds[order],
        "spend": batch.spend[order],
        "batch": np.full(len(batch), number, dtype=np.int64),
    }
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=ROW_GROUP)
