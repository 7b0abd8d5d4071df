"""`python -m benchmarks.online`: how fast each online store answers and takes rows, on real servers of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from benchmarks import servers
from benchmarks.paired import DAYS, START, orders
from cli.console import Json, Out, table
from features.clock import DAY
from features.store import open_online
from features.store.base import Lookup, OnlineStore, Rows, Spine
from features.store.materialize import SIZE
from features.store.parquet import ParquetStore

MANY = 100
T = START + DAYS * DAY


@dataclass(frozen=True)
class Read:
    """Milliseconds of one call over so many calls."""

    p50: float
    p99: float
    calls: int


@dataclass(frozen=True)
class Figures:
    """Of one store: rows and events taken per second, and the time of reading and computing one key and many."""

    rows_per_second: float
    events_per_second: float
    read_one: Read
    read_many: Read
    compute_one: Read
    compute_many: Read


def main(
    entities: Annotated[int, typer.Option(help="Keys that are materialized.")] = 100_000,
    calls: Annotated[int, typer.Option(help="Reads of one key; a tenth as many of a hundred keys.")] = 5_000,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Write everyone, read some, and print milliseconds."""
    out = Out(as_json)
    with orders(entities) as events, ExitStack() as stack:
        urls = {
            "SQLite": None,
            "PostgreSQL": stack.enter_context(servers.postgresql()).url,
            "Redis": stack.enter_context(servers.redis(persistent=False)).url,
        }
        keys = events.keys(T)
        out.say(f"{len(keys):,} keys, {10 * entities:,} events, {len(events.features.aggregates)} aggregates")
        rows = events.aggregate(Spine.at(keys, T))
        found = {}
        for name, url in urls.items():
            home = Path(stack.enter_context(TemporaryDirectory()))
            with closing(open_online(url, home, events.features, name="bench", timeout=5)) as online:
                online.migrate()
                found[name] = measure(events, online, keys.tolist(), rows, calls)
    lines = [
        [
            name,
            *(f"{read.p50:.2f} / {read.p99:.2f}" for read in (f.read_one, f.read_many, f.compute_one, f.compute_many)),
            f"{f.rows_per_second:,.0f}",
            f"{f.events_per_second:,.0f}",
        ]
        for name, f in found.items()
    ]
    header = ["p50 / p99, ms", "1 row", f"{MANY} rows", "on-read, 1 key", f"{MANY} keys", "rows/s", "events/s"]
    out.say(table(lines, header))
    out.result({name: asdict(figures) for name, figures in found.items()})


def measure(events: ParquetStore, online: OnlineStore, keys: list[str], rows: Lookup, calls: int) -> Figures:
    """Load and materialize everyone, then read keys at random."""
    batch = events.events(1)
    loading = _seconds(lambda: online.load(1, batch))
    writing = _seconds(lambda: online.materialize(_parts(keys, rows), T, 1, full=True))
    random = np.random.default_rng(0)

    def some(number: int) -> list[str]:
        return [keys[place] for place in random.integers(0, len(keys), number)]

    return Figures(
        len(keys) / writing,
        len(batch["key"]) / loading,
        _read(online.read, lambda: some(1), calls),
        _read(online.read, lambda: some(MANY), calls // 10),
        _read(lambda asked: online.compute(asked, T), lambda: some(1), calls),
        _read(lambda asked: online.compute(asked, T), lambda: some(MANY), calls // 10),
    )


def _parts(keys: list[str], rows: Lookup) -> Iterator[Rows]:
    for start in range(0, len(keys), SIZE):
        yield np.array(keys[start : start + SIZE]), rows.take(np.arange(start, min(start + SIZE, len(keys))))


def _read(call: Callable[[list[str]], Lookup], choose: Callable[[], list[str]], calls: int) -> Read:
    taken = []
    for number in range(calls + 50):
        asked = choose()
        seconds = _seconds(partial(call, asked))
        if number >= 50:  # connections and prepared statements are there by then
            taken.append(seconds * 1_000)
    return Read(float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), calls)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
