"""Whether real servers are what their OpenAPI documents say: schemathesis, all of its checks, every phase that applies.

What it is told beside the document, and why, is in conformance.toml and conformance_checks.py. Its stateful phase does
not apply: no route makes what another one reads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.console import Out

ROOT = Path(__file__).parent.parent
SEED = 1
REPLACED = "negative_data_rejection"
"""The check that `wrong_data_are_told` calls in its place (conformance_checks.py)."""


@dataclass(frozen=True)
class Found:
    """What schemathesis found: cases by phase's end, what failed in its words, and the whole of what it said."""

    cases: int
    failures: list[Any]
    said: str


def check(url: str, most: int, *, seed: int = SEED, headers: dict[str, str] | None = None) -> Found:
    """Send the requests that schemathesis makes of the document at `url`, up to `most` per operation while fuzzing.

    Raises:
        RuntimeError: with its words, if it could not do that.
    """
    with tempfile.TemporaryDirectory() as directory:  # it keeps a cache where it is run
        report = Path(directory) / "report.json"
        command = [
            str(Path(sys.executable).with_name("st")),
            "--config-file",
            str(ROOT / "benchmarks/conformance.toml"),
        ]
        command += [
            "run",
            f"{url}/docs.json",
            "--checks",
            "all",
            "--exclude-checks",
            REPLACED,
            "--max-examples",
            str(most),
            "--seed",
            str(seed),
        ]
        command += [word for name, value in (headers or {}).items() for word in ("--header", f"{name}: {value}")]
        command += ["--report-json-path", str(report), "--no-color"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own
        if not report.exists():
            raise RuntimeError(done.stdout[-4_000:] + done.stderr[-4_000:])
        told = json.loads(report.read_text())
    failures = [*told["failures"], *told["errors"]]
    if (done.returncode == 0) == bool(failures) or not told["complete"]:
        raise RuntimeError(done.stdout[-4_000:] + done.stderr[-4_000:])
    return Found(told["test_cases"]["generated"], failures, done.stdout)


def main() -> None:
    """Check both use cases, and print how many cases there were and what failed."""
    from benchmarks.prove import fresh, holdfast
    from cli.server import serve

    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--most", type=int, default=400, help="most requests per operation while fuzzing")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out, cases, failures = Out(asked.json), 0, list[Any]()
    for name in ("telco", "cdnow"):
        with fresh() as environ, tempfile.TemporaryDirectory() as directory:
            holdfast({**environ, "HOLDFAST_USECASE": name}, "run", "--no-stay")
            own = {k: v for k, v in environ.items() if k.startswith(("HOLDFAST_", "BENTOML_", "HOME"))}
            with serve({**own, "HOLDFAST_USECASE": name}, log=Path(directory) / "log") as server:
                found = check(server.url, asked.most, seed=asked.seed)
            out.say(f"{name}: {found.cases:,} cases, {len(found.failures)} failures")
            if found.failures:
                out.say(found.said)
        cases, failures = cases + found.cases, [*failures, *found.failures]
    out.result({"cases": cases, "failures": failures})
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
