"""`python -m benchmarks.overload`: five times what the service can do, for a minute, and what becomes of everybody.

Requests carry many rows each, so that one core can send that much. Latency counts from when a request was due, not from
when the generator got round to it.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import asking
from benchmarks.contenders import holdfast
from benchmarks.generator import generator
from benchmarks.plan import Phase, Plan, Result
from benchmarks.processes import Process, cores, pinned
from benchmarks.workload import ROWS, prepare
from cli.console import Out
from settings import Settings

TIMES, CLIENTS, CONNECTIONS = 5, 8, 512
BACK = 0.9
"""Of the throughput before, from which on the service is back at full speed."""


@contextmanager
def memory(process: Process) -> Iterator[list[float]]:
    """Resident MiB, once a second while the block runs."""
    seen, over = [process.memory()], threading.Event()

    def look() -> None:
        while not over.wait(1):
            seen.append(process.memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def per_second(result: Result) -> list[int]:
    """Good answers in each whole second."""
    return result.timeline[: int(result.seconds)]


def measure(seconds: float, rows: int, out: Out) -> dict[str, Any]:
    """Capacity, overload, and the time after it."""
    server_core, load_core = cores()
    with TemporaryDirectory(prefix="holdfast-bench-") as directory:
        root = Path(directory)
        workload = prepare(root / "ours")
        slices = [slice(start, start + rows) for start in range(0, ROWS - rows + 1, rows)]
        requests = [asking.columns(workload, part) for part in slices]
        closed = Phase(connections=CLIENTS, seconds=8)
        with pinned(server_core):
            service = holdfast(workload, root, root)
        with service as running:
            with generator(Plan(running.http, requests, [closed]), load_core) as load:
                capacity = float(median(per_second(load.run(0))[1:]))
            out.say(f"capacity {capacity * rows:,.0f} rows/s in requests of {rows}")
            deadline = Settings().max_latency_ms / 1000
            flood = Phase(connections=CONNECTIONS, seconds=seconds, rate=TIMES * capacity, deadline=deadline)
            with generator(Plan(running.http, requests, [closed, flood], warm=0), load_core) as load:
                with memory(running.process) as resident:
                    flooded = load.run(1)
                after = per_second(load.run(0))
    return told(flooded, capacity, rows, seconds, resident, after)


def told(
    flooded: Result, capacity: float, rows: int, seconds: float, resident: list[float], after: list[int]
) -> dict[str, Any]:
    """The figures."""
    accepted = flooded.answers.get("200", 0)
    settled = resident[min(10, len(resident) // 2)]
    return {
        "capacity_rows": capacity * rows,
        "offered_rows": TIMES * capacity * rows,
        "seconds": seconds,
        "took": flooded.seconds,
        "answers": flooded.answers,
        "accepted_rows": accepted / flooded.seconds * rows,
        "in_time": flooded.in_time / accepted if accepted else 0.0,
        "latency_ms": flooded.latency_ms,
        "refused_ms": flooded.refused_ms,
        "without_retry_after": flooded.without_retry_after,
        "wrong": flooded.wrong,
        "checked": flooded.checked,
        "memory_mb": {"before": resident[0], "settled": settled, "most": max(resident), "end": resident[-1]},
        "after": [count / capacity for count in after],
        "back_after": next((number for number, count in enumerate(after) if count >= BACK * capacity), None),
    }


def holds(found: dict[str, Any]) -> dict[str, bool]:
    """Each bar."""
    others = set(found["answers"]) - {"200", "429", "503"}
    return {
        "accepted requests keep their deadline": found["in_time"] == 1.0 and not found["wrong"],
        "the rest is 429 or 503 with Retry-After": not others and not found["without_retry_after"],
        "memory flat": found["memory_mb"]["most"] <= 1.1 * found["memory_mb"]["settled"],
        "full speed within 2 s": found["back_after"] is not None and found["back_after"] <= 2,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 s instead of a minute")
    parser.add_argument("--rows", type=int, default=400, help="rows a request")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out = Out(asked.json)
    found = measure(10.0 if asked.quick else 60.0, asked.rows, out)
    found["holds"] = holds(found)
    memory_mb = ", ".join(f"{name} {value:,.0f}" for name, value in found["memory_mb"].items())
    latency, refused = found["latency_ms"], found["refused_ms"]
    out.say(
        f"offered {found['offered_rows']:,.0f} rows/s for {found['seconds']:.0f} s; "
        f"scored {found['accepted_rows']:,.0f} rows/s; {found['answers']}\n"
        f"accepted: {found['in_time']:.2%} in time, p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms, "
        f"{found['wrong']} wrong of {found['checked']} checked\n"
        f"refused: p50 {refused.get('p50', 0):.0f} ms, p99 {refused.get('p99', 0):.0f} ms, "
        f"{found['without_retry_after']} without Retry-After\n"
        f"resident MiB: {memory_mb}\n"
        f"throughput after, of before, second by second: {', '.join(f'{share:.2f}' for share in found['after'])}"
    )
    for bar, held in found["holds"].items():
        out.say(f"{bar}: {'holds' if held else 'MISSED'}")
    out.result(found)


if __name__ == "__main__":
    main()
