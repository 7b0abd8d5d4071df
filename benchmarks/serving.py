"""`python -m benchmarks.serving`: the real service against what users would pick instead, interleaved in rounds.

One worker each, the server on one core and the load on another. CPU is that of all of a server's processes. Nothing is
compared unless every answer was a good one and a sample of them held the right numbers.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Any

from benchmarks import plot
from benchmarks.contenders import CONTENDERS, Contender, Running
from benchmarks.generator import generator
from benchmarks.plan import GOOD, Phase, Plan, Result
from benchmarks.processes import cores, pinned
from benchmarks.workload import ROWS, Workload, prepare
from cli.console import Out, table

ROUNDS, SECONDS = 5, 3.0
LONE = Phase(connections=1, seconds=5, pause=0.01)
BURST = Phase(connections=64, seconds=5)
AFTER = 9
"""How often a lone client is looked at after a burst, 5 s each."""


@dataclass(frozen=True)
class Case:
    """A way of asking: rows a request, clients at a time."""

    name: str
    ask: str
    rows: int
    clients: int


CASES = (
    Case("1 row, 1 client", "one", 1, 1),
    Case("1 row, 16 clients", "one", 1, 16),
    Case("64 rows", "rows", 64, 4),
    Case("1,000 rows", "rows", 1_000, 2),
    Case("1,000 rows as columns", "columns", 1_000, 2),
    Case("gRPC, 1 row, 16 clients", "grpc", 1, 16),
)


@dataclass(frozen=True)
class Figures:
    """One measurement, or the medians of several."""

    cpu_us: float
    per_second: float
    p50: float
    p99: float
    rows_per_cpu_second: float


class Bench:
    """The servers, all up at the same time, and what is measured of them."""

    def __init__(self, workload: Workload, seconds: float) -> None:
        self.workload, self.seconds = workload, seconds
        self.server_core, self.load_core = cores()
        self.running: dict[str, Running] = {}

    def start(self, stack: ExitStack, contender: Contender, root: Path, cache: Path) -> None:
        """Have the contender up until the stack closes."""
        directory = root / contender.name
        directory.mkdir()
        with pinned(self.server_core):
            self.running[contender.name] = stack.enter_context(contender.start(self.workload, directory, cache))

    def measure(self, contender: Contender, case: Case) -> Figures:
        """One run of a case."""
        running, phase = self.running[contender.name], Phase(connections=case.clients, seconds=self.seconds)
        with generator(self.plan(contender, case, [phase]), self.load_core) as load:
            before = running.process.cpu()
            result = load.run(0)
            spent = running.process.cpu() - before
        good(contender.name, result)
        return Figures(
            cpu_us=spent / result.requests * 1e6,
            per_second=result.requests / result.seconds,
            p50=result.latency_ms["p50"],
            p99=result.latency_ms["p99"],
            rows_per_cpu_second=result.requests * case.rows / spent,
        )

    def burst(self, contender: Contender, after: int) -> dict[str, Any]:
        """p50 in ms of a lone client, before a burst and in each of the `after` times 5 s behind it."""
        with generator(self.plan(contender, CASES[0], [LONE, BURST]), self.load_core) as load:
            before = load.run(0)
            good(contender.name, load.run(1))
            later = [load.run(0) for _ in range(after)]
        for one in (before, *later):
            good(contender.name, one)
        p50 = [one.latency_ms["p50"] for one in later]
        return {"before": before.latency_ms["p50"], "after": p50, "ratio": max(p50) / before.latency_ms["p50"]}

    def bare(self, rows: int) -> float:
        """Rows a CPU second of `inplace_predict` alone, called on so many at a time, on the server's core."""
        booster, matrix = self.workload.booster(), self.workload.rows[:rows]
        with pinned(self.server_core):
            start, calls = thread_time(), 0
            while thread_time() - start < self.seconds / 3:
                booster.inplace_predict(matrix)
                calls += 1
            return calls * rows / (thread_time() - start)

    def plan(self, contender: Contender, case: Case, phases: list[Phase]) -> Plan:
        """The case's requests to that contender, over all rows of the workload."""
        running, ask = self.running[contender.name], contender.ask(case.ask)
        assert ask is not None  # noqa: S101  # only what it can be asked is measured
        starts = range(0, ROWS - case.rows + 1, case.rows)
        requests = [ask(self.workload, slice(start, start + case.rows)) for start in starts]
        grpc = bool(requests[0].method)
        port, warm = running.grpc if grpc else running.http, max(20, 500 // case.rows)
        return Plan(port, requests, phases, "grpc" if grpc else "http", warm=warm)


def good(name: str, result: Result) -> None:
    """Every answer was a good one.

    Raises:
        RuntimeError: with what was not.
    """
    if result.wrong or not result.checked or set(result.answers) - set(GOOD):
        raise RuntimeError(f"{name}: {result.wrong} wrong of {result.checked} checked, answers {result.answers}")


def medians(figures: Sequence[Figures]) -> Figures:
    """Of each figure its own."""
    return Figures(**{name: median(getattr(one, name) for one in figures) for name in asdict(figures[0])})


def rounds(bench: Bench, contenders: Sequence[Contender], count: int, out: Out) -> dict[str, Any]:
    """Every case of every contender, in turn, `count` times over: medians, and the median of the rounds' ratios."""
    seen: dict[tuple[str, str], list[Figures]] = {}
    bare: dict[int, list[float]] = {}
    for number in range(count):
        for case in CASES:
            bare.setdefault(case.rows, []).append(bench.bare(case.rows))
            for contender in contenders:
                if contender.ask(case.ask) is not None:
                    seen.setdefault((case.name, contender.name), []).append(bench.measure(contender, case))
        out.say(f"round {number + 1} of {count}; load average {os.getloadavg()[0]:.1f}")
    found: dict[str, Any] = {"bare": {str(rows): median(speeds) for rows, speeds in bare.items()}, "cases": {}}
    for (case_name, name), figures in seen.items():
        ours = seen.get((case_name, "holdfast"))
        told: dict[str, Any] = asdict(medians(figures))
        if ours:
            told["ratio"] = median(own.cpu_us / one.cpu_us for own, one in zip(ours, figures, strict=True))
        rows = next(case.rows for case in CASES if case.name == case_name)
        told["of_bare"] = told["rows_per_cpu_second"] / found["bare"][str(rows)]
        found["cases"].setdefault(case_name, {})[name] = told
    return found


def main() -> None:
    """Compare, print tables and ratios, and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a second each, a short look after the burst")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="only these servers")
    parser.add_argument("--no-burst", action="store_true", help="leave out the burst, a minute for each server")
    parser.add_argument("--plot", type=Path, help="directory for serving.svg")
    asked = parser.parse_args()
    out = Out(asked.json)
    contenders = [one for one in CONTENDERS if asked.only is None or one.name in asked.only]
    cache = Path(os.environ.get("HOLDFAST_HOME", "var")).absolute() / "benchmarks"
    with TemporaryDirectory(prefix="holdfast-bench-") as directory, ExitStack() as stack:
        root = Path(directory)
        bench = Bench(prepare(root / "ours"), 1.0 if asked.quick else SECONDS)
        for contender in contenders:
            bench.start(stack, contender, root, cache)
            out.say(f"{contender.name} is up: {contender.about}")
        memory = {name: [running.process.memory()] for name, running in bench.running.items()}
        found = rounds(bench, contenders, 1 if asked.quick else ROUNDS, out)
        bursts = [] if asked.no_burst else [one for one in contenders if one.name != "floor"]
        found["burst"] = {one.name: bench.burst(one, 1 if asked.quick else AFTER) for one in bursts}
        for name, running in bench.running.items():
            memory[name].append(running.process.memory())
    found["memory_mb"] = memory
    report(found, out)
    if asked.plot:
        out.say(f"\n{plot.serving(found, asked.plot)}")
    out.result(found)


def report(found: dict[str, Any], out: Out) -> None:
    """The tables; the last column is our CPU per request over that server's."""
    for case, by_name in found["cases"].items():
        rows = [
            [
                name,
                f"{one['cpu_us']:,.0f}",
                f"{one['per_second']:,.0f}",
                f"{one['p50']:.2f}",
                f"{one['p99']:.2f}",
                f"{one['rows_per_cpu_second']:,.0f}",
                f"{one['of_bare']:.2f}",
                f"{one['ratio']:.2f}x" if "ratio" in one else "",
            ]
            for name, one in by_name.items()
        ]
        header = [case, "CPU us/request", "requests/s", "p50 ms", "p99 ms", "rows/CPU s", "of bare", "ours/this"]
        out.say("\n" + table(rows, header))
    lone = [
        [name, f"{one['before']:.2f}", f"{one['after'][0]:.2f}", f"{one['after'][-1]:.2f}", f"{one['ratio']:.2f}x"]
        for name, one in found["burst"].items()
    ]
    if lone:
        out.say("\n" + table(lone, ["a lone client, p50 ms", "before a burst", "just after", "last", "worst/before"]))
    memory = [[name, f"{before:,.0f}", f"{after:,.0f}"] for name, (before, after) in found["memory_mb"].items()]
    out.say("\n" + table(memory, ["resident MiB", "at first", "in the end"]))
    speeds = ", ".join(f"{int(rows):,} at a time {speed:,.0f}" for rows, speed in found["bare"].items())
    out.say(f"\ninplace_predict alone, rows a CPU second: {speeds}")


if __name__ == "__main__":
    main()
