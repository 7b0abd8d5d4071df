"""Comparisons that a busy machine cannot spoil: CPU time, both sides in turn, the median of the pairs' ratios."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from features.clock import DAY, parse
from features.etl.ingest import ingest
from features.store.parquet import ParquetStore
from usecases import load

START = parse("2024-01-01T00:00:00Z")
DAYS = 540


@dataclass(frozen=True)
class Pair:
    """Medians over pairs: CPU seconds of a call of ours and of theirs, and theirs over ours (above 1: ours is less)."""

    ours: float
    theirs: float
    ratio: float


def compare(ours: Callable[[], object], theirs: Callable[[], object], pairs: int, calls: int = 1) -> Pair:
    """Run both in turn, `pairs` times `calls` calls each, after one of each to warm up."""
    ours(), theirs()
    measured = []
    for pair in range(pairs):
        order = (ours, theirs) if pair % 2 == 0 else (theirs, ours)
        seconds = {one: _seconds(one, calls) for one in order}
        measured.append((seconds[ours], seconds[theirs]))
    return Pair(
        median(own for own, _ in measured),
        median(other for _, other in measured),
        median(other / own for own, other in measured),
    )


def _seconds(call: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


@contextmanager
def orders(customers: int, seed: int = 0) -> Iterator[ParquetStore]:
    """A store of generated orders for cdnow's features, about ten a customer over 18 months; gone afterwards."""
    random = np.random.default_rng(seed)
    customer = random.integers(0, customers, customers * 10)
    seconds = random.integers(0, DAYS * 86_400, len(customer))
    cds, cents = random.integers(1, 20, len(customer)), random.integers(100, 20_000, len(customer))
    moments = (np.datetime64("2024-01-01T00:00:00") + seconds.astype("timedelta64[s]")).astype(str)
    usecase = load("cdnow")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        path = Path(directory) / "orders.csv"
        with path.open("w") as file:
            file.write("customer_id date number_of_cds dollar_value\n")
            file.writelines(
                f"c{who} {when} {many} {paid / 100:.2f}\n"
                for who, when, many, paid in zip(customer, moments, cds, cents, strict=True)
            )
        source = usecase.sources["events"]
        sources = {"events": type(source)(**{**source.__dict__, "time_format": None})}
        store = ParquetStore(Path(directory) / "store", usecase.features, sources)
        ingest(store, "events", path, now=START + DAYS * DAY, backfill=True)
        yield store
