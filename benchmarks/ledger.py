"""`python -m benchmarks.ledger`: what the service has counted is what its clients have seen, by route and outcome.

Good requests and bad ones of every kind, over HTTP and gRPC at the same time; then paths that are not there, of which
/metrics must not grow.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec

from benchmarks import asking
from benchmarks.contenders import Running, holdfast
from benchmarks.generator import generator
from benchmarks.plan import Phase, Plan, Request, Result
from benchmarks.processes import cores, pinned
from benchmarks.usecases.twenty import USECASE
from benchmarks.workload import Workload, prepare
from cli.console import Out, table
from serving.proto import Protocol

REQUESTS, UNKNOWN, CLIENTS, DISTINCT = 200_000, 10_000, 16, 5_000
OF_GRPC = 0.2
"""Share of gRPC among the requests."""
OWN = ("/metrics", "/readyz", "/livez")
"""Routes that the benchmark itself asks."""
Counts = dict[tuple[str, str], int]
"""By route and outcome."""


def raw(path: str, content: bytes, media: str = "application/json", method: str = "POST", **told: Any) -> Request:
    """An HTTP request of any bytes."""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: {len(content)}"
    return Request(f"{head}\r\n\r\n".encode() + content, **told)


def over_http(load: Workload) -> list[tuple[int, list[Request]]]:
    """Kinds of requests, each with its weight in the mix."""
    one, many, other = {"route": "/v1/predict"}, {"route": "/v1/predict/bulk"}, {"route": "other"}
    row = {"customer_id": "c", "attributes": dict(zip((f"x{i}" for i in range(20)), [0.5] * 20, strict=True))}
    less = {**row, "attributes": {"x0": "much"}}
    good, half = json.dumps(row).encode(), json.dumps({"rows": [row, less, row]}).encode()
    return [
        (60, [_routed(asking.one(load, slice(i, i + 1)), "/v1/predict") for i in range(200)]),
        (6, [_routed(asking.rows(load, slice(i, i + 5)), "/v1/predict/bulk") for i in range(20)]),
        (4, [_routed(asking.columns(load, slice(i, i + 5)), "/v1/predict/bulk") for i in range(20)]),
        (5, [raw("/v1/predict/bulk", half, **many)]),
        (4, [raw("/v1/predict", b"{'no': json", **one), raw("/v1/predict/bulk", b"\xff\xfe", **many)]),
        (4, [raw("/v1/predict", json.dumps(less).encode(), **one), raw("/v1/predict/bulk", b'{"rows":[]}', **many)]),
        (4, [raw("/v1/predict", good, "text/csv", **one)]),
        (4, [raw("/v1/predictions", good, **other), raw("/v2/models", b"", method="GET", **other)]),
        (4, [raw("/v1/predict", b"", method="GET", **one), raw("/v1/predict/bulk", good, method="PUT", **many)]),
        (1, [raw("/v1/predict/bulk", b'{"rows":[' + b"0," * 10_000 + b"0]}", **many)]),
        (1, [raw("/v1/models", b"", method="GET", route="/v1/models")]),
    ]


def over_grpc(load: Workload) -> list[tuple[int, list[Request]]]:
    """Likewise."""
    protocol = Protocol(USECASE)
    one, many = (f"/{protocol.service}/{name}" for name in ("Predict", "PredictBulk"))
    kind, bulk = protocol.message("PredictRequest"), protocol.message("PredictBulkRequest")
    good = kind.FromString(asking.typed(load, slice(0, 1)).wire)
    bad = kind(customer_id="", attributes={"x0": float("nan")})
    return [
        (60, [_routed(asking.typed(load, slice(i, i + 1)), one) for i in range(200)]),
        (10, [Request(bulk(rows=[good, good]).SerializeToString(), many, route=many)]),
        (10, [Request(bulk(rows=[good, bad, good]).SerializeToString(), many, route=many)]),
        (10, [Request(bad.SerializeToString(), one, route=one), Request(bulk().SerializeToString(), many, route=many)]),
        (10, [Request(b"\xff\xff\xff", one, route=one), Request(b"\x0a\x7f", many, route=many)]),
    ]


def mixed(kinds: list[tuple[int, list[Request]]], seed: int) -> list[Request]:
    """So many requests drawn from the kinds as they weigh."""
    chance = random.Random(seed)  # noqa: S311  # a load, no secret
    drawn = chance.choices([one for _, one in kinds], [weight for weight, _ in kinds], k=DISTINCT)
    return [chance.choice(requests) for requests in drawn]


def counted(running: Running) -> tuple[Counts, int]:
    """The service's counters, without those of the benchmark's own questions; and how many lines it told."""
    text = httpx.get(f"http://127.0.0.1:{running.http}/metrics", timeout=30).text
    found: Counts = {}
    for labels, value in re.findall(r"^holdfast_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if told["route"] not in OWN:
            key = (told["route"], told["outcome"])
            found[key] = found.get(key, 0) + int(float(value))
    return found, len(text.splitlines())


def seen(*results: Result) -> Counts:
    """The clients' counts."""
    found: Counts = {}
    for result in results:
        for route, by in result.outcomes.items():
            for outcome, count in by.items():
                found[route, outcome] = found.get((route, outcome), 0) + count
    return found


def measure(requests: int, out: Out) -> dict[str, Any]:
    """Both books."""
    server_core, load_core = cores()
    with TemporaryDirectory(prefix="holdfast-bench-") as directory, ExitStack() as stack:
        root = Path(directory)
        load = prepare(root / "ours")
        with pinned(server_core):
            running = stack.enter_context(holdfast(load, root, root))
        before, _ = counted(running)
        grpc = int(requests * OF_GRPC)
        by_http = Plan(running.http, mixed(over_http(load), 1), [Phase(CLIENTS, count=requests - grpc)], warm=0)
        by_grpc = Plan(running.grpc, mixed(over_grpc(load), 2), [Phase(CLIENTS, count=grpc)], "grpc", warm=0)
        with generator(by_http, load_core) as one, generator(by_grpc, load_core) as other:
            one.begin(0)
            other.begin(0)
            results = one.finish(), other.finish()
        after, lines = counted(running)
        out.say(f"{sum(result.requests for result in results):,} requests answered")
        chance = random.Random(3)  # noqa: S311  # likewise
        unknown = [raw(f"/{chance.randbytes(8).hex()}", b"", method="GET", route="other") for _ in range(UNKNOWN)]
        with generator(Plan(running.http, unknown, [Phase(CLIENTS, count=UNKNOWN)], warm=0), load_core) as last:
            strangers = last.run(0)
        _, grown = counted(running)
    theirs = seen(*results)
    ours = {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}
    rows = [
        {
            "route": route,
            "outcome": name,
            "clients": theirs.get((route, name), 0),
            "service": ours.get((route, name), 0),
        }
        for route, name in sorted({*theirs, *ours})
    ]
    return {
        "requests": sum(result.requests for result in results),
        "broken": sum(result.answers.get("broken", 0) for result in results),
        "checked": sum(result.checked for result in results),
        "wrong": sum(result.wrong for result in results),
        "books": rows,
        "unknown_paths": strangers.answers.get("404", 0),
        "metrics_lines": {"before": lines, "after": grown},
        "holds": {
            "the books agree": all(row["clients"] == row["service"] for row in rows),
            "every request was answered": not any(result.answers.get("broken", 0) for result in results),
            "sampled answers are right": not any(result.wrong for result in results),
            "metrics do not grow with unknown paths": grown == lines and strangers.answers.get("404", 0) == UNKNOWN,
        },
    }


def _routed(request: Request, route: str) -> Request:
    return msgspec.structs.replace(request, route=route)


def main() -> None:
    """Compare, print, and fail where they differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how many, a fifth of them over gRPC")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out = Out(asked.json)
    found = measure(asked.requests, out)
    lines = [[str(row[name]) for name in ("route", "outcome", "clients", "service")] for row in found["books"]]
    out.say("\n" + table(lines, ["route", "outcome", "clients", "service"]))
    out.say(f"\n{found['wrong']} wrong of {found['checked']} checked; {found['broken']} broken")
    out.say(f"{found['unknown_paths']:,} unknown paths; lines of /metrics {found['metrics_lines']}")
    for bar, held in found["holds"].items():
        out.say(f"{bar}: {'holds' if held else 'MISSED'}")
    out.result(found)
    sys.exit(0 if all(found["holds"].values()) else 1)


if __name__ == "__main__":
    main()
