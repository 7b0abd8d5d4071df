"""Verdicts over made-up businesses, every one with other seeds: how often they alarm without drift, how soon with it.

    python -m benchmarks.drift [--share .1] [--jobs 2] [--others] [--json]

Shares are told with their 95 % interval (Clopper and Pearson 1934). Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from typing import Any

from scipy import stats

from benchmarks.drift import suite
from benchmarks.drift.scenarios import GROSS, SMALL
from cli.console import table

POPULATIONS = 30
Row = dict[str, Any]


def interval(hits: int, of: int) -> str:
    """The share in per cent, and its interval."""
    found = stats.binomtest(hits, of).proportion_ci(0.95, "exact")
    return f"{hits:,} of {of:,} ({found.low:.2%} to {found.high:.2%})"


def quiet(pool: Executor, share: float) -> list[Row]:
    """No drift: at most 3 alarmed windows in 30,000; with outcomes 1 in 1,000."""
    rows = []
    for case in suite.QUIET:
        each = max(int(1_000 * share), 40)
        found = list(pool.map(partial(suite.quiet, case, each), range(POPULATIONS)))
        alarms, of = sum(hits for hits, _ in found), sum(windows for _, windows in found)
        bar = max(of * (1e-3 if case.outcomes else 1e-4), 1)
        rows.append({"what": case.name, "measured": interval(alarms, of), "bar": f"<= {bar:g}", "holds": alarms <= bar})
    return rows


def first(pool: Executor, share: float) -> list[Row]:
    """Gross shifts: seen in the first window."""
    rows = []
    for scenario in GROSS:
        found = list(pool.map(partial(suite.first, scenario.name, max(int(20 * share), 4)), range(POPULATIONS)))
        hits, of = sum(hit for hit, _ in found), sum(streams for _, streams in found)
        rows.append(
            {
                "what": f"first window: {scenario.name}",
                "measured": interval(hits, of),
                "bar": f">= {scenario.share:.0%}",
                "holds": hits >= scenario.share * of,
            }
        )
    return rows


def delayed(pool: Executor, share: float) -> list[Row]:
    """Small shifts: seen in time."""
    rows = []
    for scenario in SMALL:
        streams = max(int(10 * share), 2)
        found = [
            one for part in pool.map(partial(suite.delays, scenario.name, streams), range(POPULATIONS)) for one in part
        ]
        rows.append(_delay(f"windows until: {scenario.name}", found, scenario.within))
    for loss, most in ((0.17, 1), (0.011, 14)):
        streams = max(int(10 * share), 2)
        both = list(pool.map(partial(suite.concept, loss, max(4 * most, 8), streams), range(POPULATIONS)))
        lost = sum(one for one, _ in both) / len(both)
        found = [one for _, part in both for one in part]
        rows.append(_delay(f"windows of outcomes until: ROC-AUC {lost:.3f} lower", found, most))
    return rows


def _delay(what: str, found: list[int], within: int) -> Row:
    p50, p90 = suite.quantile(found, 0.5), suite.quantile(found, 0.9)
    measured = f"p50 {p50}, p90 {p90} of {len(found)} streams"
    return {"what": what, "measured": measured, "bar": f"p90 <= {within}", "holds": p90 <= within}


def costs(share: float) -> list[Row]:
    """What counting and judging take."""
    found = suite.cost(max(int(10_000_000 * share), 1_000_000))
    scale = 10_000_000 / found["rows"]
    seconds = found["cpu_seconds"] * scale
    told = [
        (f"CPU s for 10M rows of {found['columns']} columns", f"{seconds:.1f}", "<= 10", seconds <= 10),
        ("MiB more for them", f"{found['grown_mib']:.1f}", "<= 20", found["grown_mib"] <= 20),
        ("CPU ms to count and judge a window", f"{found['window_ms']:.1f}", "<= 10", found["window_ms"] <= 10),
        ("bytes a column", f"{found['bytes_a_column']:.0f}", "<= 400", found["bytes_a_column"] <= 400),
    ]
    return [{"what": what, "measured": measured, "bar": bar, "holds": holds} for what, measured, bar, holds in told]


def compared(windows: int) -> list[Row]:
    """Holdfast's verdict and Evidently's defaults on the same windows, without drift and with each gross shift."""
    from benchmarks.drift import others

    rows = []
    for name in (None, *(scenario.name for scenario in GROSS)):
        ours, column, whole = others.compared(name, windows)
        rows.append({"what": name or "no drift"} | {"holdfast": f"{ours} of {windows}"})
        rows[-1] |= {"column": f"{column} of {windows}", "set": f"{whole} of {windows}"}
    return rows


def main() -> None:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the windows and streams of a whole run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--others", action="store_true", help="Evidently's defaults beside ours, in single windows")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with ProcessPoolExecutor(given.jobs) as pool:
        rows = []
        for part in (quiet, first, delayed):
            rows += part(pool, given.share)
            print(f"{part.__name__}: {sum(row['holds'] for row in rows)} of {len(rows)} hold", file=sys.stderr)  # noqa: T201
        rows += costs(given.share)
    beside = compared(max(int(30 * given.share), 6)) if given.others else []
    if given.json:
        print(json.dumps({"rows": rows, "others": beside}))  # noqa: T201
        sys.exit(not all(row["holds"] for row in rows))
    shown = [[row["what"], row["measured"], row["bar"], "holds" if row["holds"] else "MISSED"] for row in rows]
    print(table(shown, ["what", "measured", "bar", ""]))  # noqa: T201
    if beside:
        header = ["alarms in single windows", "Holdfast", "Evidently, any column", "Evidently, data set"]
        print(table([[row["what"], row["holdfast"], row["column"], row["set"]] for row in beside], header))  # noqa: T201
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
