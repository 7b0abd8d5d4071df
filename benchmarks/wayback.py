"""`python -m benchmarks.wayback`: a model is rolled back as its team would do it, and then everything is looked at.

Everything by commands, on a fresh home: two models are trained and promoted, and one command takes the second one back.
Then every customer is scored by every path, and the server that `bentoml serve` starts next is asked what is live.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cli.console import Json, Out
from cli.server import OPEN, serve
from settings import HoldfastError


def asked(environ: dict[str, str], *words: str) -> Any:
    """The JSON object that a command prints."""
    command = [str(Path(sys.executable).with_name("holdfast")), *words, "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if done.returncode:
        raise HoldfastError(f"holdfast {' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def way_back(home: Path, usecase: str) -> dict[str, Any]:
    """Seconds of the rollback, by the clock and of CPU, which a busy machine does not make longer; differing bits after
    it, and which model was meant, is the champion and is served."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    environ = {**own, "HOLDFAST_HOME": str(home / "var"), "BENTOML_HOME": str(home / "bentoml")}
    (home / "bentoml").mkdir()
    first, second = (
        asked(environ, "retrain", usecase, "--promote", "--algorithm", algorithm)["model"]
        for algorithm in ("xgboost", "logistic")
    )
    asked(environ, "materialize", "--usecase", usecase)
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    back = asked(environ, "models", "rollback", usecase, "--why", "the benchmark's")
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    parity = asked(environ, "parity", usecase)
    for name, value in environ.items():
        os.environ[name] = value
    with serve({**OPEN, "HOLDFAST_USECASE": usecase}, log=home / "serve.log") as server:
        served = httpx.get(f"{server.url}/v1/models").json()["models"][0]["name"]
    return {
        "first": first,
        "second": second,
        "champion": back["tag"],
        "served": served,
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "differing_bits": parity["differing_bits"],
        "numbers": sum(parity["paths"].values()),
    }


def main(usecase: str = "cdnow", as_json: Annotated[bool, Json] = False) -> None:
    """Roll back and look."""
    out = Out(as_json)
    with tempfile.TemporaryDirectory(prefix="holdfast-wayback-") as home:
        found = way_back(Path(home), usecase)
    out.say(
        f"rolled back from {found['second']} to {found['champion']} in {found['seconds']:.1f} s, "
        f"{found['cpu_seconds']:.1f} of CPU; {found['numbers']:,} numbers, {found['differing_bits']} bits differ; "
        f"the next server serves {found['served']}"
    )
    out.result(found)


if __name__ == "__main__":
    typer.run(main)
