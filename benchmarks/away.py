"""`python -m benchmarks.away`: the prediction log's PostgreSQL is away for a minute while requests go on.

Twice: with room for all that waits meanwhile, and with a spool that is too small. What was answered is recorded once or
counted as dropped, and every request is answered.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg

from benchmarks import asking, servers
from benchmarks.generator import generator
from benchmarks.plan import GOOD, Phase, Plan
from benchmarks.processes import cores
from benchmarks.workload import ROWS, Workload, prepare
from cli.console import Out, table
from cli.server import serve

SECONDS, CLIENTS = 60.0, 4
SPOOLS = {"room for all": 1_000, "too small": 20}
"""MB."""


def told(url: str) -> dict[str, float]:
    """The log's own counters, and how many predictions were answered."""
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r"^holdfast_(log_\w+|predictions_total)\S* (\S+)$", text, re.MULTILINE)
    sums: dict[str, float] = {}
    for name, value in found:
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def measure(workload: Workload, spool: int, seconds: float, log: Path) -> dict[str, Any]:
    """One outage: what was answered, recorded, dropped, and is in the table."""
    with servers.postgresql() as database:
        environ = {"HOLDFAST_PREDICTIONS_URL": database.url, "HOLDFAST_PREDICTIONS_SPOOL_MB": str(spool)}
        with serve({**workload.environ, **environ}, log=log) as server:
            requests = [asking.one(workload, slice(row, row + 1)) for row in range(ROWS)]
            plan = Plan(int(server.url.rpartition(":")[2]), requests, [Phase(CLIENTS, seconds=seconds + 10)], warm=0)
            with generator(plan, cores()[1]) as load:
                load.begin(0)
                while not told(server.url)["log_shipped_total"]:
                    time.sleep(0.1)
                database.stop()
                time.sleep(seconds)
                database.start()
                result = load.finish()
            back = time.monotonic()
            while (counted := told(server.url))["log_spool_bytes"]:
                time.sleep(0.1)
            shipped = time.monotonic() - back
        with psycopg.connect(database.url) as connection:
            sql = "SELECT count(*), count(DISTINCT request_id) FROM holdfast_twenty.predictions"
            rows = connection.execute(sql).fetchone()
    return {
        "requests": result.requests,
        "good": sum(result.answers.get(status, 0) for status in GOOD),
        "p99_ms": round(result.latency_ms["p99"], 1),
        "recorded": int(counted["log_records_total"]),
        "dropped": int(counted["log_dropped_total"]),
        "stored": rows,
        "shipped_after_s": round(shipped, 1),
    }


def main() -> None:
    """Measure both, print, and fail where a prediction is nowhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.away", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long it is away")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out = Out(asked.json)
    with TemporaryDirectory(prefix="holdfast-bench-") as directory:
        root = Path(directory)
        workload = prepare(root / "ours")
        found = {name: measure(workload, spool, asked.seconds, root / "log") for name, spool in SPOOLS.items()}
    names = ["requests", "good", "recorded", "dropped", "stored", "p99_ms", "shipped_after_s"]
    lines = [[name, *(str(one[figure]) for figure in names)] for name, one in found.items()]
    out.say(table(lines, ["spool", *names]))
    whole = all(
        one["requests"] == one["good"] == one["recorded"] + one["dropped"]
        and tuple(one["stored"]) == (one["recorded"], one["recorded"])
        for one in found.values()
    )
    holds = whole and not found["room for all"]["dropped"] and found["too small"]["dropped"] > 0
    out.say("every answer is recorded once or counted as dropped" if holds else "MISSED")
    out.result(found)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
