"""`python -m benchmarks.explanations`: what a row's explanation costs beside its prediction, and who notices.

A model of 200 trees of depth 6 on 20 numbers, the server on one core and the load on another. First one kind of request
after the other; then predictions at a steady rate, alone and while clients ask why as fast as they are answered.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from benchmarks import asking
from benchmarks.contenders import Running, holdfast
from benchmarks.generator import generator
from benchmarks.plan import Phase, Plan, Request, Result
from benchmarks.processes import cores, pinned
from benchmarks.usecases.twenty import NAMES
from benchmarks.workload import Workload, prepare
from cli.console import Out, table

RATE, SECONDS, GREEDY, PAUSE, MANY = 200.0, 10.0, 4, 0.25, 100


def requests(load: Workload, rows: int, *, explain: bool) -> list[Request]:
    """Requests of so many rows each: one row, or a bulk request."""
    named = [dict(zip(NAMES, numbers, strict=True)) for numbers in load.rows.tolist()]
    given = [{"customer_id": f"c{place}", "attributes": numbers} for place, numbers in enumerate(named)]
    right = load.probability.tolist()
    made = []
    for start in range(0, len(given), rows):
        expected: dict[str, Any] = {"expected": tuple(right[start : start + rows]), "bits": 64}
        if rows == 1:
            path = "/v1/explain" if explain else "/v1/predict"
            made.append(asking.post(path, given[start], where=("probability",), **expected))
        else:
            body = {"rows": given[start : start + rows], "explain": explain}
            where = ("predictions", "*", "probability")
            made.append(asking.post("/v1/predict/bulk", body, where=where, **expected))
    return made


def cost(running: Running, sent: list[Request], clients: int, core: int | None) -> tuple[float, Result]:
    """CPU us of the server for each of these requests, all kinds of work included."""
    with generator(Plan(running.http, sent, [Phase(connections=clients, seconds=5.0)], warm=20), core) as load:
        before = running.process.cpu()
        result = load.run(0)
        return (running.process.cpu() - before) / result.requests * 1e6, result


def beside(running: Running, load: Workload, core: int | None) -> tuple[Result, Result, Result]:
    """Predictions at a steady rate: alone, and beside explanations; and what became of these."""
    steady = Phase(connections=64, seconds=SECONDS, rate=RATE)
    greedy = Phase(connections=GREEDY, seconds=SECONDS + 2, pause=PAUSE)
    with (
        generator(Plan(running.http, requests(load, 1, explain=False), [steady]), core) as predictions,
        generator(Plan(running.http, requests(load, MANY, explain=True), [greedy], warm=0), core) as explanations,
    ):
        alone = predictions.run(0)
        others: list[Result] = []
        thread = Thread(target=lambda: others.append(explanations.run(0)))
        thread.start()
        together = predictions.run(0)
        thread.join()
    return alone, together, others[0]


def measure(out: Out) -> dict[str, Any]:
    """All of it."""
    server_core, load_core = cores()
    with TemporaryDirectory(prefix="holdfast-bench-") as directory:
        root = Path(directory)
        load = prepare(root / "ours")
        with pinned(server_core):
            service = holdfast(load, root, root)
            with service as running:
                found: dict[str, Any] = {}
                for rows, clients in ((1, 1), (1, 16), (MANY, 1)):
                    for explain in (False, True):
                        cpu, result = cost(running, requests(load, rows, explain=explain), clients, load_core)
                        name = f"{'explained' if explain else 'predicted'}, {rows} row(s), {clients} client(s)"
                        found[name] = {"us": cpu / rows, "p50_ms": result.latency_ms["p50"], "wrong": result.wrong}
                alone, together, others = beside(running, load, load_core)
    out.say(
        table(
            [[name, f"{row['us']:,.0f}", f"{row['p50_ms']:.2f}", str(row["wrong"])] for name, row in found.items()],
            ["", "CPU us a row", "p50 ms", "wrong"],
        )
    )
    for name, result in (("predictions alone", alone), ("predictions beside", together), ("explanations", others)):
        found[name] = {"answers": result.answers, "latency_ms": result.latency_ms, "wrong": result.wrong}
        out.say(
            f"{name}: {result.answers}, p50 {result.latency_ms['p50']:.2f} ms, p99 {result.latency_ms['p99']:.2f} ms"
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explanations", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    out = Out(parser.parse_args().json)
    out.result(measure(out))


if __name__ == "__main__":
    main()
