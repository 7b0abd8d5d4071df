"""`python -m benchmarks.wide`: aggregates of very many rows, against the bare SQL in DuckDB; cost and memory by size.

Customers, orders and rows grow together: 100 orders and 10 rows for each customer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks import shop
from benchmarks.paired import compare
from cli.console import Out, table
from features.clock import DAY
from features.store.base import Spine
from features.store.parquet import ParquetStore
from usecases import load

SIZES = (10_000, 30_000, 100_000)
"""Customers; 1, 3 and 10 million orders."""
ORDERS, DAYS, MONTH, PAIRS = 100, 720, 30, 3
TIMES = [shop.START + days * DAY for days in range(270, 271 + 50 * 9, 50)]


@dataclass(frozen=True)
class Wide:
    """One size: CPU seconds of ours and of the bare SQL, theirs over ours, and the peak memory of ours, in MiB."""

    events: int
    rows: int
    ours: float
    bare: float
    ratio: float
    peak: float


def measure(say: Callable[[str], None]) -> list[Wide]:
    """Every size, each in processes of its own."""
    found = []
    for customers in SIZES:
        with TemporaryDirectory(prefix="holdfast-bench-") as directory:
            orders = shop.orders(customers, ORDERS, DAYS)
            months = range(shop.START, shop.START + DAYS * DAY, MONTH * DAY)
            shop.commit(load("cdnow"), Path(directory), [orders.between(m, m + MONTH * DAY) for m in months])
            cost, peak = _child(directory, customers, "cost"), _child(directory, customers, "peak")
        found.append(Wide(len(orders), customers * len(TIMES), **cost, **peak))
        say(f"{len(orders):,} orders of {customers:,} customers: done")
    return found


def cost(store: ParquetStore, spine: Spine) -> dict[str, float]:
    """CPU seconds of `aggregate`, and of its SQL alone over the same files with the spine at hand.

    Raises:
        AssertionError: if the answers differ.
    """
    files = sorted(str(path) for path in store.directory.glob("*/rows.parquet"))
    ready = pa.table({"row_id": np.arange(len(spine)), "key": pa.array(spine.key.tolist()), "t": spine.t})

    def bare() -> dict[str, Any]:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({files})")
            connection.register("spine", ready)
            return connection.execute(store.features.sql).fetchnumpy()

    own, theirs = store.aggregate(spine), bare()
    order = np.argsort(theirs["row_id"])
    for name, values in own.aggregates.items():
        nothing = np.nan if values.dtype.kind == "f" else 0
        np.testing.assert_array_equal(values, np.ma.filled(theirs[name].astype(values.dtype), nothing)[order], name)
    pair = compare(lambda: store.aggregate(spine), bare, PAIRS)
    return {"ours": pair.ours, "bare": pair.theirs, "ratio": 1 / pair.ratio}


def peak(store: ParquetStore, spine: Spine) -> dict[str, float]:
    """The most memory this process had, MiB, after one call: as Linux tells; getrusage counts the parent's too."""
    store.aggregate(spine)
    status = Path("/proc/self/status").read_text()
    return {"peak": int(status.split("VmHWM:")[1].split()[0]) / 1024}


def rows(measured: list[Wide]) -> list[list[str]]:
    """As lines of a table."""
    return [
        [
            f"{one.events:,}",
            f"{one.rows:,}",
            f"{one.ours:.1f}",
            f"{one.bare:.1f}",
            f"{one.ratio:.2f}x",
            f"{one.ours / one.events * 1e6:.2f}",
            f"{one.peak:,.0f}",
        ]
        for one in measured
    ]


HEADER = ["orders", "rows", "Holdfast, CPU s", "bare SQL, CPU s", "ratio", "CPU us per order", "peak MiB"]


def _child(directory: str, customers: int, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.wide", directory, str(customers), what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main() -> None:
    """Without words: measure and print. With three: one measurement for a parent."""
    if len(sys.argv) == 1:
        out = Out(as_json=False)
        out.say(table(rows(measure(out.say)), HEADER))
        return
    directory, customers, what = sys.argv[1:]
    keys = np.array(sorted(f"c{number}" for number in range(int(customers))))
    spine = Spine(np.tile(keys, len(TIMES)), np.repeat(np.array(TIMES, dtype=np.int64), len(keys)))
    usecase = load("cdnow")
    store = ParquetStore(Path(directory), usecase.features, usecase.sources)
    sys.stdout.write(json.dumps({"cost": cost, "peak": peak}[what](store, spine)))


if __name__ == "__main__":
    main()
