"""`python -m benchmarks.roads`: what a thousand predictions cost by each road, from the nightly command to one request.

One model (200 trees of depth 6 on 20 numbers) and everything on. CPU ms of whatever answers: the server's processes, or
the whole command, its start included. The roads in turn, three rounds, medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import asking
from benchmarks.contenders import Asking, Running, holdfast
from benchmarks.generator import generator
from benchmarks.plan import Phase, Plan
from benchmarks.processes import cores, pinned
from benchmarks.workload import EXAMPLES, ROWS, Workload, prepare
from cli.console import Out, table

ROUNDS, SECONDS = 3, 3.0


def served(ask: Asking, size: int, connections: int, *, grpc: bool = False) -> Callable[..., tuple[float, float]]:
    """Measures a road through the server: CPU ms of a thousand predictions, and the median latency in ms."""

    def measure(load: Workload, server: Running, core: int | None) -> tuple[float, float]:
        requests = [ask(load, slice(first, first + size)) for first in range(0, ROWS, size)]
        plan = Plan(
            server.grpc if grpc else server.http,
            requests,
            [Phase(connections=connections, seconds=SECONDS)],
            protocol="grpc" if grpc else "http",
        )
        with generator(plan, core) as generated:
            before = server.process.cpu()
            result = generated.run(0)
            used = server.process.cpu() - before
        if result.wrong or set(result.answers) - {"200", "OK"}:
            raise RuntimeError(f"{result.wrong} wrong answers, {result.answers}")
        return used / (result.requests * size) * 1e6, result.latency_ms["p50"]

    return measure


def scored(load: Workload) -> float:
    """CPU ms of a thousand predictions of `holdfast score`, start-up included."""
    with TemporaryDirectory() as out:
        command = [str(Path(sys.executable).with_name("holdfast")), "score", "twenty", "--out", out]
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, env={**os.environ, **load.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) / EXAMPLES * 1e6


ROADS: dict[str, Callable[..., tuple[float, float]]] = {
    "HTTP, 1 row, 1 client": served(asking.one, 1, 1),
    "HTTP, 1 row, 16 clients": served(asking.one, 1, 16),
    "gRPC, 1 row, 16 clients": served(asking.typed, 1, 16, grpc=True),
    "HTTP bulk, 50 rows, 4 clients": served(asking.rows, 50, 4),
    "HTTP bulk, 1,000 rows as columns, 1 client": served(asking.columns, 1_000, 1),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roads", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    out = Out(parser.parse_args().json)
    server_core, load_core = cores()
    with TemporaryDirectory(prefix="holdfast-bench-") as root:
        load = prepare(Path(root) / "home")
        (Path(root) / "server").mkdir()
        with pinned(server_core):
            batch = [scored(load) for _ in range(ROUNDS)]
        with ExitStack() as stack:
            with pinned(server_core):
                server = stack.enter_context(holdfast(load, Path(root) / "server", Path(root)))
            rounds = [{road: ask(load, server, load_core) for road, ask in ROADS.items()} for _ in range(ROUNDS)]
    found = {road: [median(one[road][i] for one in rounds) for i in (0, 1)] for road in ROADS}
    rows = [[f"holdfast score, {EXAMPLES:,} customers", f"{median(batch):,.0f}", ""]]
    rows += [[road, f"{cost:,.0f}", f"{latency:.1f}"] for road, (cost, latency) in found.items()]
    out.say(table(rows, ["road", "CPU ms per 1,000", "p50, ms"]))
    out.result({"batch": median(batch), **found})


if __name__ == "__main__":
    main()
