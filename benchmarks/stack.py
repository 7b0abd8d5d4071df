"""`python -m benchmarks.stack`: what BentoML's stack costs a request, by where in it a constant is answered.

CPU us per request of the server's processes at 16 connections; the places in turn, five rounds, medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.asking import post
from benchmarks.contenders import BIN, PEERS
from benchmarks.generator import generator
from benchmarks.plan import Phase, Plan
from benchmarks.processes import Process, cores, pinned, started
from cli.console import Out, table
from cli.server import free_port

PLACES = {
    "default": "behind BentoML's middleware, as it comes",
    "no-access-log": "likewise, without its access log",
    "no-tracing": "likewise, without tracing",
    "configured": "likewise, without both",
    "in-front": "in front of BentoML, as Holdfast answers",
}
ROUNDS, SECONDS = 5, 2.0


@contextmanager
def running(place: str, directory: Path) -> Iterator[tuple[Process, int]]:
    """A server that answers there, and its port."""
    directory.mkdir()
    port = free_port()
    command = [str(BIN / "bentoml"), "serve", "stack:Stack", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--working-dir", str(PEERS)]
    environ = {"WHERE": place, "BENTOML_DO_NOT_TRACK": "True"}
    with started(command, directory, environ, f"http://127.0.0.1:{port}/readyz") as process:
        yield process, port


def measure(process: Process, port: int, core: int | None) -> float:
    """CPU us per request."""
    plan = Plan(port, [post("/v1/predict", {})], [Phase(connections=16, seconds=SECONDS)])
    with generator(plan, core) as load:
        before = process.cpu()
        result = load.run(0)
        return (process.cpu() - before) / result.requests * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    out = Out(parser.parse_args().json)
    server_core, load_core = cores()
    with TemporaryDirectory(prefix="holdfast-bench-") as root, ExitStack() as stack:
        with pinned(server_core):
            servers = {place: stack.enter_context(running(place, Path(root) / place)) for place in PLACES}
        rounds = [{place: measure(*server, load_core) for place, server in servers.items()} for _ in range(ROUNDS)]
    found = {place: median(one[place] for one in rounds) for place in PLACES}
    rows = [[PLACES[place], f"{cost:,.0f}", f"{cost / found['in-front']:.1f}x"] for place, cost in found.items()]
    out.say(table(rows, ["a constant is answered", "CPU us/request", "of in front"]))
    out.result(found)


if __name__ == "__main__":
    main()
