"""`python -m benchmarks.features`: aggregates by the one SQL text, against pandas doing the same by hand, and at scale
against the bare SQL in DuckDB."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import duckdb
import numpy as np
import pandas as pd
import typer

from benchmarks import wide
from benchmarks.paired import DAYS, START, compare, orders
from cli.console import Json, Out, table
from features.clock import DAY
from features.rows import Arrays
from features.store.base import Spine
from features.store.parquet import ParquetStore
from features.store.sqlite import SQLiteStore
from settings import HoldfastError

CUSTOMERS, KEYS, PAIRS = 20_000, 200, 7
TIMES = [START + days * DAY for days in (270, 360, 450)]


def by_pandas(events: pd.DataFrame, spine: pd.DataFrame) -> Arrays:
    """The same aggregates, as one would write them: join, keep what was known, one groupby per window."""
    joined = spine.merge(events, on="key")
    seen = joined[(joined.ts < joined.t) & (joined.ingested_at <= joined.t)]
    rows = spine.row_id.to_numpy()
    found: dict[str, Any] = {}
    for window, suffix in ((None, ""), (30, "_30d"), (90, "_90d"), (180, "_180d")):
        part = seen if window is None else seen[seen.ts > seen.t - window * DAY]
        groups = part.groupby("row_id")
        sums = groups[["spend", "cds"]].sum().reindex(rows, fill_value=0)
        found[f"orders{suffix}"] = groups.size().reindex(rows, fill_value=0)
        if window != 30:
            found["total_spend" if window is None else f"spend{suffix}"] = sums.spend
        if window in (None, 90):
            found["total_cds" if window is None else f"cds{suffix}"] = sums.cds
    groups = seen.groupby("row_id")
    found["largest_order"] = groups.spend.max().reindex(rows)
    found["first_order_at"], found["last_order_at"] = groups.ts.min().reindex(rows), groups.ts.max().reindex(rows)
    return {name: series.to_numpy() for name, series in found.items()}


def by_pandas_for(events: pd.DataFrame, key: str, t: int) -> Arrays:
    """One key: keep its rows, then the same."""
    spine = pd.DataFrame({"row_id": [0], "key": [key], "t": [t]})
    return by_pandas(events[events.key == key], spine)


def agree(ours: Arrays, theirs: Arrays) -> None:
    """Both give the same numbers.

    Raises:
        HoldfastError: naming an aggregate that differs.
    """
    for name, values in ours.items():
        if not np.array_equal(values.astype(np.float64), theirs[name].astype(np.float64), equal_nan=True):
            raise HoldfastError(f"{name} differs between Holdfast and pandas: nothing to compare the speed of")


def _events(store: ParquetStore) -> pd.DataFrame:
    pattern = store.directory / "*" / "rows.parquet"
    with duckdb.connect() as connection:
        found: pd.DataFrame = connection.execute("SELECT * FROM read_parquet(?)", [str(pattern)]).df()
    return found


def main(as_json: Annotated[bool, Json] = False) -> None:
    """Compare, and print ratios."""
    out = Out(as_json)
    with orders(CUSTOMERS) as store, TemporaryDirectory() as directory:
        events = _events(store)
        keys = [store.keys(t) for t in TIMES]
        spine = Spine(
            np.concatenate(keys), np.concatenate([np.full(len(k), t) for k, t in zip(keys, TIMES, strict=True)])
        )
        frame = pd.DataFrame({"row_id": np.arange(len(spine)), "key": spine.key.astype(object), "t": spine.t})
        out.say(f"{len(events):,} orders of {CUSTOMERS:,} customers, {len(spine):,} spine rows, {PAIRS} pairs")
        agree(store.aggregate(spine).aggregates, by_pandas(events, frame))
        many = compare(lambda: store.aggregate(spine), lambda: by_pandas(events, frame), PAIRS)

        online = SQLiteStore(Path(directory) / "online.sqlite", store.features)
        online.load(1, store.events(1))
        asked, t = spine.key[:: len(spine) // KEYS][:KEYS].tolist(), START + DAYS * DAY
        for key in asked[:20]:
            agree(online.compute([key], t).aggregates, by_pandas_for(events, key, t))
        turn = iter(asked * PAIRS * 4)
        other = iter(asked * PAIRS * 4)
        single = compare(
            lambda: online.compute([next(turn)], t), lambda: by_pandas_for(events, next(other), t), PAIRS, calls=20
        )
        online.close()
    rate = len(spine) / many.ours, len(spine) / many.theirs
    rows = [
        ["point in time, rows per CPU second", f"{rate[0]:,.0f}", f"{rate[1]:,.0f}", f"{many.ratio:.2f}x"],
        [
            "on read, CPU ms per key",
            f"{single.ours * 1e3:.2f}",
            f"{single.theirs * 1e3:.2f}",
            f"{single.ratio:.1f}x",
        ],
    ]
    out.say(table(rows, ["", "Holdfast", "pandas", "faster"]))
    large = wide.measure(out.say)
    out.say(table(wide.rows(large), wide.HEADER))
    sizes = {"events": len(events), "customers": CUSTOMERS, "spine_rows": len(spine), "pairs": PAIRS}
    measured = {"point_in_time": asdict(many), "on_read": asdict(single), "wide": [asdict(one) for one in large]}
    out.result({"sizes": sizes, **measured})


if __name__ == "__main__":
    typer.run(main)
