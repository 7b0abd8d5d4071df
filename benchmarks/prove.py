"""`make prove`: every bar of the project, each shown by a command on a fresh home, and a table of what was measured.

`--quick` leaves out what takes longer than a minute. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import bars

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Bar:
    """One bar: what must hold, and how it is measured; `measure` answers (what was measured, whether it holds)."""

    name: str
    wanted: str
    measure: Callable[[], tuple[str, bool]]
    quick: bool = True


@contextmanager
def fresh() -> Iterator[dict[str, str]]:
    """An environment with a home of its own: no data, no model."""
    with tempfile.TemporaryDirectory(prefix="holdfast-prove-") as home:
        own = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        (Path(home) / "bentoml").mkdir()
        yield {**own, "HOME": home, "HOLDFAST_HOME": f"{home}/var", "BENTOML_HOME": f"{home}/bentoml"}


def holdfast(environ: dict[str, str], *words: str, python: str = sys.executable) -> Any:
    """The JSON object of one command, run by that environment's Python."""
    done = subprocess.run(  # noqa: S603  # our own command
        [python, "-m", "cli.main", *words, "--json"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"holdfast {' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def evaluate(name: str, **bars: float) -> tuple[str, bool]:
    """Cross-validated metrics against bars: `ece` and `log_loss` at most, the others at least."""
    with fresh() as environ:
        own = holdfast(environ, "evaluate", name)["model"]
    holds = all(own[k] <= bar if k in ("ece", "log_loss") else own[k] >= bar for k, bar in bars.items())
    return ", ".join(f"{key} {own[key]:.4f}" for key in bars), holds


def parity(name: str, *, everywhere: bool = False) -> tuple[str, bool]:
    """Every customer by every path, from nothing; `everywhere` is on PostgreSQL, Redis and Spark too, twice: with the
    events in files, and with everything in PostgreSQL."""
    if everywhere:
        with bars.engines() as (postgresql, redis):
            return _everywhere(name, postgresql, redis)
    with fresh() as environ:
        told = holdfast(environ, "parity", name)
    numbers = sum(told["paths"].values())
    return f"{told['customers']:,} customers, {len(told['paths'])} paths, {numbers:,} numbers, 0 differ", True


def _everywhere(name: str, postgresql: str, redis: str) -> tuple[str, bool]:
    lines = []
    for own, others in (
        ({}, [postgresql, redis, "spark"]),
        ({"HOLDFAST_EVENTS_URL": postgresql, "HOLDFAST_ONLINE_URL": postgresql}, [redis, "spark", "duckdb"]),
    ):
        with fresh() as environ:
            holdfast({**environ, **own}, "migrate", "--usecase", name)
            told = holdfast({**environ, **own}, "parity", name, *(w for other in others for w in ("--with", other)))
        lines.append(f"{len(told['paths'])} paths, {sum(told['paths'].values()):,} numbers")
    return f"{told['customers']:,} customers: {'; '.join(lines)}; 0 differ", True


def run(name: str) -> tuple[str, bool]:
    """From nothing to an answer, and again; seconds of each."""
    with fresh() as environ:
        seconds = []
        for _ in range(2):
            started = time.monotonic()
            told = holdfast({**environ, "HOLDFAST_USECASE": name}, "run", "--no-stay", "--port", "3995")
            seconds.append(time.monotonic() - started)
    steps = ", ".join(f"{step} {taken:.1f}" for step, taken in told["seconds"].items())
    answered = 0 < told["answer"]["probability"] < 1
    return f"{seconds[0]:.0f} s, again {seconds[1]:.0f} s ({steps})", answered


def same_digest(name: str, *words: str, second: str = sys.executable) -> tuple[str, bool]:
    """Two trainings in two homes, with other hash seeds and numbers of threads; the second by another Python."""
    digests = []
    for seed, threads, python in (("1", "1", sys.executable), ("2", "2", second)):
        with fresh() as environ:
            own = {**environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
            told = holdfast(own, "train", name, *words, python=python)
            digests.append(told["manifest"]["content_digest"])
    return " and ".join(digest[:16] for digest in digests), len(set(digests)) == 1


def clean() -> tuple[str, bool]:
    """The same from a second environment, which the jobs' lock alone makes, with and without a search."""
    with tempfile.TemporaryDirectory(prefix="holdfast-prove-") as directory:
        python, uv = f"{directory}/bin/python", str(Path(sys.executable).with_name("uv"))
        for command in (
            [sys.executable, "-m", "venv", directory],
            [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", "requirements/jobs.txt"],
        ):
            subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603  # our own environment
        asked = (("telco",), ("telco", "--trials", "10"), ("telco", "--algorithm", "logistic"), ("cdnow",))
        outcomes = [same_digest(*words, second=python) for words in asked]
    return "; ".join(told.partition(" and ")[0] for told, _ in outcomes), all(same for _, same in outcomes)


def searched() -> tuple[str, bool]:
    """Searches on the sample data, in a home of their own."""
    with fresh() as environ:
        return bars.searched(environ)


def demo_drift() -> tuple[str, bool]:
    """The whole loop, from a home that `run` made: drift, outcomes, and what appears by itself."""
    with fresh() as environ:
        holdfast({**environ, "HOLDFAST_USECASE": "telco"}, "run", "--no-stay", "--port", "3990")
        return bars.demo_drift(holdfast(environ, "demo-drift"))


def million_rows() -> tuple[str, bool]:
    """A million orders, one in a hundred of them bad: seconds, and whether every row is accounted for."""
    with fresh() as environ, tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "orders.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file, delimiter=" ")
            rows.writerow(["customer_id", "date", "number_of_cds", "dollar_value"])
            for i in range(1_000_000):
                day = f"1997{i % 12 + 1:02d}{i % 28 + 1:02d}"
                rows.writerow([i % 50_000, day, "x" if i % 100 == 0 else i % 9 + 1, f"{i % 200}.{i % 100:02d}"])
        started = time.monotonic()
        told = holdfast(environ, "ingest", str(path), "--backfill")
        taken = time.monotonic() - started
    whole = told["read"] == 1_000_000 == told["new"] + told["known"] + told["quarantined"]
    return f"{taken:.0f} s; {told['new']:,} new, {told['quarantined']:,} quarantined", (
        whole and told["quarantined"] == 10_000
    )


EVERY = "files,postgresql,redis"
BARS = [
    Bar("run cdnow", "from nothing to an answer", lambda: run("cdnow")),
    Bar("run telco", "from nothing to an answer", lambda: run("telco"), quick=False),
    Bar(
        "evaluate cdnow",
        "ROC-AUC >= .80, log loss <= .350, ECE <= .025",
        lambda: evaluate("cdnow", roc_auc=0.80, log_loss=0.350, ece=0.025),
    ),
    Bar(
        "evaluate telco",
        "ROC-AUC >= .838, PR-AUC >= .65, log loss <= .420, ECE <= .035",
        lambda: evaluate("telco", roc_auc=0.838, pr_auc=0.65, log_loss=0.420, ece=0.035),
    ),
    Bar("parity cdnow", "0 differing bits on every engine", lambda: parity("cdnow", everywhere=True), quick=False),
    Bar("parity telco", "0 differing bits on every engine", lambda: parity("telco", everywhere=True), quick=False),
    Bar("content digest", "same inputs, same digest", lambda: same_digest("telco")),
    Bar("content digest, searched", "same inputs, same digest", lambda: same_digest("telco", "--trials", "10")),
    Bar("content digest, clean", "the same from a second environment", clean, quick=False),
    Bar("search, 50 trials", "no worse than the defaults outside the interval", searched, quick=False),
    Bar("gate", "<= 9 % of refitted, >= 95 % of damaged refused", bars.gate, quick=False),
    Bar("twenty at once", "no line lost, no model torn, one champion", bars.crowd, quick=False),
    Bar("rollback", "< 5 s of CPU, 0 bits differ, served next", bars.rollback),
    Bar("rollout", "0 failed but the killed worker's own", bars.rollout, quick=False),
    Bar("ingest 1M rows", "good + quarantined = input", million_rows, quick=False),
    Bar("properties", "all examples on every engine", bars.thorough, quick=False),
    Bar("killed, a few", "run again, nothing differs", lambda: bars.strikes("kill", "files,redis", 2, bars.DATA)),
    Bar("killed", "50 times each, nothing differs", lambda: bars.strikes("kill", EVERY, 50, bars.DATA), quick=False),
    Bar("models killed, a few", "nothing half-made, run again", lambda: bars.strikes("kill", "files", 2, bars.MODELS)),
    Bar(
        "models killed",
        "50 times each, nothing half-made, run again",
        lambda: bars.strikes("kill", "files,postgresql,s3", 50, bars.MODELS),
        quick=False,
    ),
    Bar("monitor killed, a few", "each answer counted once", lambda: bars.counted(5, "files")),
    Bar("monitor killed", "50 times, each answer counted once", lambda: bars.counted(50), quick=False),
    Bar("server restarted", "nothing lost", lambda: bars.strikes("restart", "postgresql,redis", 10), quick=False),
    Bar("ledger, a tenth", "counters = the clients' books", lambda: bars.ledger(20_000)),
    Bar("ledger", "counters = the clients' books", lambda: bars.ledger(200_000), quick=False),
    Bar("log's server away", "nothing lost, or counted", bars.away, quick=False),
    Bar("OpenAPI document", "every check of schemathesis, >= 5,000 cases", bars.document, quick=False),
    Bar("hostile, a tenth", "0 answers of 5xx, 0 crashes, flat memory", lambda: bars.hostile(10_000)),
    Bar("hostile", "0 answers of 5xx, 0 crashes, flat memory", lambda: bars.hostile(100_000), quick=False),
    Bar("overload", "accepted keep their deadline, the rest 429/503", bars.overload, quick=False),
    Bar(
        "serving",
        "<= .8x MLServer, <= .35x article, p99 <= 3x lean, columns >= .5 of bare, burst <= 1.2x",
        bars.serving,
        quick=False,
    ),
    Bar("Open Inference Protocol", "<= 1.3x of /v1 and typed gRPC, raw tensors >= .7 of bare", bars.oip, quick=False),
    Bar("skew", "0 differ over all logged requests; a bit is named", bars.skew, quick=False),
    Bar("verdicts", "false alarms, first windows, delays, cost", bars.verdicts, quick=False),
    Bar("drift, end to end", "page, metrics, alarms and the request, by themselves", demo_drift),
    Bar("aggregates, wide", "<= 1.3x the bare SQL, <= 1 GiB", bars.wide, quick=False),
    Bar("online reads", "p99 of one row <= 1 ms", bars.online, quick=False),
    Bar("batch scoring", ">= 0.7 of a bare loop, memory flat", bars.batch, quick=False),
    Bar("one more day", "<= 10 %, retrain <= 35 %, metrics inside", bars.retrain, quick=False),
]


def main() -> None:
    """Measure every bar and print the table."""
    from cli.console import Out, table

    parser = argparse.ArgumentParser(prog="python -m benchmarks.prove", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what takes less than a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out = Out(asked.json)
    rows, results = [], []
    for bar in BARS:
        if asked.quick and not bar.quick:
            continue
        started = time.monotonic()
        measured, holds = bar.measure()
        rows.append([bar.name, bar.wanted, measured, "holds" if holds else "MISSED"])
        results.append({"bar": bar.name, "wanted": bar.wanted, "measured": measured, "holds": holds})
        out.say(f"{bar.name}: {rows[-1][-1]} ({time.monotonic() - started:.0f} s)")
    missed = sum(not result["holds"] for result in results)
    out.say("\n" + table(rows, ["bar", "wanted", "measured", ""]))
    out.say(f"\n{len(rows) - missed} passed, {missed} failed")
    out.result({"bars": results})
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
