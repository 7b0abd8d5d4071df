"""`python -m benchmarks.oip`: what the Open Inference Protocol costs beside /v1 and the typed gRPC service.

One server, the same rows by every way of asking, in rounds; CPU is that of all of its processes.
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import asking
from benchmarks.contenders import Contender, holdfast
from benchmarks.serving import ROUNDS, SECONDS, Bench, Case, Figures, medians
from benchmarks.workload import prepare
from cli.console import Out, table

ONE, MANY = Case("1 row, 16 clients", "one", 1, 16), Case("1,000 rows, 2 clients", "rows", 1_000, 2)
SERVER = Contender("holdfast", "", holdfast, asking.one)
WAYS = (
    Contender("/v1", "JSON, columns where there are many", holdfast, asking.one, rows=asking.columns),
    Contender("OIP JSON", "tensors as JSON", holdfast, asking.oip, rows=asking.oip),
    Contender("OIP binary", "tensors as bytes behind the JSON", holdfast, asking.oip_binary, rows=asking.oip_binary),
    Contender("typed gRPC", "messages of the contract", holdfast, asking.typed),
    Contender("OIP gRPC raw", "raw_input_contents", holdfast, asking.oip_raw, rows=asking.oip_raw),
    Contender("OIP gRPC typed", "contents", holdfast, asking.oip_contents, rows=asking.oip_contents),
)


def measured(bench: Bench, count: int, out: Out) -> dict[str, Any]:
    """Every way in turn, `count` times over: medians, and the medians of the rounds' ratios."""
    seen: dict[tuple[str, str], list[Figures]] = {}
    bare: list[float] = []
    for number in range(count):
        bare.append(bench.bare(MANY.rows))
        for case in (ONE, MANY):
            for way in WAYS:
                if way.ask(case.ask) is not None:
                    seen.setdefault((case.name, way.name), []).append(bench.measure(way, case))
        out.say(f"round {number + 1} of {count}; load average {os.getloadavg()[0]:.1f}")
    found: dict[str, Any] = {"bare": median(bare), "one": {}, "many": {}}
    for way in WAYS:
        beside = "typed gRPC" if "gRPC" in way.name else "/v1"
        own = seen[ONE.name, way.name]
        pairs = zip(own, seen[ONE.name, beside], strict=True)
        found["one"][way.name] = {**asdict(medians(own)), "ratio": median(a.cpu_us / b.cpu_us for a, b in pairs)}
        if many := seen.get((MANY.name, way.name)):
            shares = [one.rows_per_cpu_second / speed for one, speed in zip(many, bare, strict=True)]
            found["many"][way.name] = {**asdict(medians(many)), "of_bare": median(shares)}
    return found


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oip", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a second each")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out = Out(asked.json)
    with TemporaryDirectory(prefix="holdfast-bench-") as directory, ExitStack() as stack:
        root = Path(directory)
        bench = Bench(prepare(root / "ours"), 1.0 if asked.quick else SECONDS)
        bench.start(stack, SERVER, root, root)
        bench.running |= dict.fromkeys((way.name for way in WAYS), bench.running[SERVER.name])
        found = measured(bench, 1 if asked.quick else ROUNDS, out)
    one = [[n, f"{f['cpu_us']:,.0f}", f"{f['p50']:.2f}", f"{f['ratio']:.2f}x"] for n, f in found["one"].items()]
    out.say("\n" + table(one, [ONE.name, "CPU us/request", "p50 ms", "of its like"]))
    many = [[n, f"{f['rows_per_cpu_second']:,.0f}", f"{f['of_bare']:.2f}"] for n, f in found["many"].items()]
    out.say("\n" + table(many, [MANY.name, "rows/CPU s", "of bare"]))
    out.say(f"\ninplace_predict alone: {found['bare']:,.0f} rows a CPU second")
    out.result(found)


if __name__ == "__main__":
    main()
