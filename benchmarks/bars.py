"""Bars that other benchmarks measure: each is run as a program of its own, and its figures are held against the bar."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import servers

ROOT = Path(__file__).parent.parent


def figures(script: str, *words: str, fails: bool = False, environ: dict[str, str] | None = None) -> Any:
    """The JSON object that a benchmark prints; with `fails` also that of one that says it failed.

    Args:
        environ: its environment, by default this one.

    Raises:
        RuntimeError: with its last words, if it fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{script}", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if done.returncode and not (fails and done.stdout):
        raise RuntimeError(f"benchmarks.{script} {' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


@contextmanager
def engines() -> Iterator[tuple[str, str]]:
    """Addresses of a PostgreSQL and a Redis server, for as long as the block runs."""
    with ExitStack() as stack:
        yield stack.enter_context(servers.postgresql()).url, stack.enter_context(servers.redis()).url


DATA, MODELS = "ingest,materialize,train,score", "promote,rollback,push,pull"


def strikes(blow: str, stores: str, times: int, commands: str = f"{DATA},{MODELS}") -> tuple[str, bool]:
    """Commands struck at random moments and run again: nothing is half-made or differs, or the benchmark fails."""
    rows = figures("kills", "--blow", blow, "--stores", stores, "--times", str(times), "--commands", commands)["rows"]
    hits = sum(int(row[2].split()[0]) for row in rows)
    return f"{len(rows)} commands x {times}: {hits} hit, 0 outcomes differ", True


def counted(times: int, stores: str = "files,postgresql") -> tuple[str, bool]:
    """Passes of monitoring killed while the log is written: each answer is counted once, or the benchmark fails."""
    rows = figures("counted", "--times", str(times), "--stores", stores)["rows"]
    hits, written = sum(row["hits"] for row in rows), sum(row["written"] for row in rows)
    return f"{hits} of {len(rows) * times} kills hit; {written:,} answers, each counted once", True


def verdicts() -> tuple[str, bool]:
    """How often verdicts alarm without drift and how soon with it, over thirty made-up businesses."""
    rows = figures("drift", fails=True)["rows"]
    missed = [f"{row['what']}: {row['measured']}" for row in rows if not row["holds"]]
    return f"{len(rows) - len(missed)} of {len(rows)} bars hold" + "".join(f"; {one}" for one in missed), not missed


def gate() -> tuple[str, bool]:
    """Whom the promotion gate refuses, of 200 candidates of a kind on telco and of 40 on cdnow."""
    found = figures("gate", "--usecase", "telco") | figures("gate", "--usecase", "cdnow", "--count", "40")
    told = [f"{name} {kind} {one['refused']:.1%}" for name, kinds in found.items() for kind, one in kinds.items()]
    holds = [
        one["refused"] <= 0.09 if kind == "refitted" else one["refused"] >= 0.95
        for kinds in found.values()
        for kind, one in kinds.items()
    ]
    return ", ".join(told), all(holds)


def crowd() -> tuple[str, bool]:
    """Ten trainers and ten promoters at once: nothing is lost, or the benchmark fails."""
    found = figures("crowd")
    told = [
        f"{name}: {one['trained']} trained, {one['promoted']} promoted, {one['overtaken']} overtaken and told so"
        for name, one in found.items()
    ]
    return "; ".join(told), True


def rollback() -> tuple[str, bool]:
    """Rolled back by one command, and looked at."""
    found = figures("wayback")
    meant = found["first"] == found["champion"] == found["served"]
    told = f"{found['cpu_seconds']:.1f} s of CPU, {found['seconds']:.1f} s; {found['numbers']:,} numbers"
    return f"{told}, {found['differing_bits']} differ", (
        meant and found["cpu_seconds"] < 5 and not found["differing_bits"]
    )


def rollout() -> tuple[str, bool]:
    """Upgrade, way back, drain, kill and scaling down under load: what clients see of them."""
    changes = figures("rollout")["changes"]
    failed = {one["change"]: sum(one["failed"].values()) for one in changes}
    own = failed.pop("worker killed")  # what it was at
    told = f"{sum(one['answered'] for one in changes):,} answered, {sum(failed.values())} failed"
    return f"{told}, {own} of a killed worker's own", not any(failed.values()) and own <= 16


def wide() -> tuple[str, bool]:
    """Aggregates at 1M, 3M and 10M events against the bare SQL."""
    measured = figures("features")["wide"]
    told = ", ".join(f"{m['events'] / 1e6:.0f}M {m['ours'] / m['bare']:.2f}x {m['peak']:,.0f} MiB" for m in measured)
    return told, all(m["ours"] <= 1.3 * m["bare"] and m["peak"] <= 1_024 for m in measured)


def online() -> tuple[str, bool]:
    """Reads of one row on every store."""
    measured = figures("online")
    told = ", ".join(f"{name} {one['read_one']['p99']:.2f}" for name, one in measured.items())
    return f"p99 ms: {told}", all(one["read_one"]["p99"] <= 1 for one in measured.values())


def batch() -> tuple[str, bool]:
    """Scoring against a bare loop, and memory from a million to ten million rows."""
    measured = figures("batch")
    ratio = next(iter(measured["speed"].values()))["ratio"]
    peaks = [run["peak_mb"] for run in measured["runs"]]
    told = f"scoring {ratio:.2f} of the bare loop; peak {peaks[0]:.0f} to {peaks[-1]:.0f} MB"
    return told, ratio >= 0.7 and max(peaks) <= 1.1 * min(peaks)


def retrain() -> tuple[str, bool]:
    """One more day of data, and a whole retrain after it."""
    measured = figures("retrain")
    day, whole = max(one["ratio"] for one in measured["days"]), measured["retrain"]["ratio"]
    inside = measured["retrain"]["inside"]
    told = f"a day {day:.1%} of a rebuild, a retrain {whole:.0%} of before, metrics {'inside' if inside else 'OUTSIDE'}"
    return told, day <= 0.10 and whole <= 0.35 and inside


def skew() -> tuple[str, bool]:
    """Every logged answer about everybody, computed again; and one cent in one online row."""
    found = figures("skew", fails=True)
    told = f"{found['checked']:,} of {found['asked']:,} answers, {found['features']} features: "
    told += f"{found['differing']} differ"
    named = found["after_one_cent"] == {"total_spend": 1}
    told += f"; one cent in one online row is {'named' if named else 'NOT named: ' + str(found['after_one_cent'])}"
    return told, named and found["checked"] == found["asked"] >= 20_000 and not found["differing"]


def demo_drift(told: Any) -> tuple[str, bool]:
    """What `holdfast demo-drift` printed: quiet before the drift, and then each alarm, the page and the request."""
    first = {
        track: min(one["number"] for one in told["windows"] if track in one["tracks"])
        for track in ("inputs", "outcomes")
    }
    alarmed = [one["number"] for one in told["windows"] if one["tracks"]]
    took = [
        f"{one['what']} {one['seconds']:.0f} s" for one in told["appeared"] if one["what"].startswith(("alarm", "ret"))
    ]
    words = f"{told['requests']:,} requests in {told['seconds']:.0f} s; drift from window {told['begins']} on: {first}"
    holds = told["requests"] == 20_000 and told["seconds"] < 120 and told["skew"] == 0 and told["retrain"]["alarm"]
    return f"{words}; {', '.join(took)}", holds and min(alarmed) >= told["begins"]


def searched(environ: dict[str, str]) -> tuple[str, bool]:
    """What 50 trials found, on the test part: in its own interval, and beside the defaults on the same draws."""
    found, told, holds = figures("search", fails=True, environ=environ), [], True
    for name, one in found.items():
        default, chosen = one["defaults"]["metrics"]["log_loss"], one["chosen"]["metrics"]["log_loss"]
        low, high = one["chosen"]["gain"]["log_loss"]
        told.append(
            f"{name} trial {one['numbers']['chosen']}: {chosen:.4f}, was {default:.4f} ({low:+.4f} to {high:+.4f})"
        )
        holds = holds and one["holds"] and chosen <= one["defaults"]["interval"]["log_loss"][1]
    return "; ".join(told), holds


def thorough() -> tuple[str, bool]:
    """The tests that draw examples, with all of them: aggregates on every engine, materialization, training sets."""
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "examples(" in path.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", *files]
    environ = {**os.environ, "THOROUGH": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    return done.stdout.strip().splitlines()[-1], done.returncode == 0


def ledger(requests: int) -> tuple[str, bool]:
    """The service's counters against its clients' books; the script fails where they differ."""
    found = figures("ledger", "--requests", str(requests))
    return f"{requests:,} requests over HTTP and gRPC, {len(found['books'])} counters agree", True


def away() -> tuple[str, bool]:
    """PostgreSQL away for a minute under load; the script fails where an answer is neither recorded nor counted."""
    found = figures("away")
    whole, small = found["room for all"], found["too small"]
    told = f"{whole['recorded']:,} of {whole['requests']:,} recorded; with a small spool {small['recorded']:,}"
    return f"{told} + {small['dropped']:,} dropped = {small['requests']:,}", True


def overload() -> tuple[str, bool]:
    """Five times the capacity for a minute."""
    found = figures("overload")
    missed = [bar for bar, held in found["holds"].items() if not held]
    after = f"{found['after'][2]:.2f} of the throughput 2 s after"
    told = f"{found['in_time']:.2%} of {found['answers'].get('200', 0):,} accepted in time, {after}"
    return "; ".join([told, *missed]), not missed


def serving() -> tuple[str, bool]:
    """The real service against what users would pick instead."""
    found = figures("serving")
    one, columns = found["cases"]["1 row, 16 clients"], found["cases"]["1,000 rows as columns"]["holdfast"]
    grpc = found["cases"]["gRPC, 1 row, 16 clients"]
    best, best_grpc = (min(case[name]["cpu_us"] for name in ("mlserver", "mlserver-batching")) for case in (one, grpc))
    ours, p99 = one["holdfast"]["cpu_us"], one["holdfast"]["p99"] / one["lean"]["p99"]
    told = (
        f"{ours / best:.2f}x MLServer, {ours / one['article']['cpu_us']:.2f}x the article, p99 {p99:.1f}x lean; gRPC "
        f"{grpc['holdfast']['cpu_us'] / best_grpc:.2f}x; columns {columns['of_bare']:.2f} of bare; "
        f"lone after a burst {found['burst']['holdfast']['ratio']:.2f}x"
    )
    holds = ours <= 0.8 * best and ours <= 0.35 * one["article"]["cpu_us"] and p99 <= 3
    holds = holds and grpc["holdfast"]["cpu_us"] <= 0.8 * best_grpc and columns["of_bare"] >= 0.5
    return told, holds and found["burst"]["holdfast"]["ratio"] <= 1.2


def oip() -> tuple[str, bool]:
    """The Open Inference Protocol beside /v1 and typed gRPC; a thousand rows as raw tensors beside the bare model."""
    found = figures("oip")
    rest, rpc = found["one"]["OIP JSON"]["ratio"], found["one"]["OIP gRPC raw"]["ratio"]
    raw = {name: found["many"][name]["of_bare"] for name in ("OIP binary", "OIP gRPC raw")}
    shares = ", ".join(f"{name} {share:.2f}" for name, share in raw.items())
    return f"REST {rest:.2f}x of /v1, gRPC {rpc:.2f}x of typed; 1,000 rows: {shares} of bare", (
        rest <= 1.3 and rpc <= 1.3 and max(raw.values()) >= 0.7
    )


def document() -> tuple[str, bool]:
    """Real servers against their OpenAPI documents; the script fails where schemathesis finds anything."""
    found = figures("conformance")
    return f"{found['cases']:,} cases, {len(found['failures'])} failures", found["cases"] >= 5_000


def hostile(messages: int) -> tuple[str, bool]:
    """Fuzzed messages to a real server."""
    found = figures("fuzz", "--messages", str(messages), fails=True)
    missed = [bar for bar, held in found["holds"].items() if not held]
    memory = f"{found['memory']['warm']:.0f} to {found['memory']['end']:.0f} MiB"
    told = f"{found['messages']:,} over HTTP and gRPC, {len(found['wrong'])} answered as none may be, {memory}"
    return "; ".join([told, *missed]), not missed
