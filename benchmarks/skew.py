"""Skew on real servers: every logged request of every customer of cdnow is computed again from the events.

Everybody is asked about over HTTP, one by one and in bulk, answered from materialized rows and computed on read; one
pass of the monitor checks all of it, and no bit may differ. Then one cent is added to one online row behind Holdfast's
back: the next pass has to name that aggregate, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from benchmarks.prove import ROOT, fresh, holdfast
from cli.server import serve
from monitoring.ledger import open_ledger

SINGLE, BULK = 2_000, 500
"""Customers asked about one by one; rows of a bulk request of the others."""
NOW = "1998-07-01T00:00:00Z"
WRONG = "total_spend"


def ask(environ: dict[str, str], keys: list[str], log: Path) -> int:
    """Have a server answer about everybody; how many answers."""
    with serve(environ, log=log) as server, httpx.Client(base_url=server.url) as client:
        for key in keys[:SINGLE]:
            client.post("/v1/predict", json={"customer_id": key}).raise_for_status()
        for start in range(SINGLE, len(keys), BULK):
            rows = [{"customer_id": key} for key in keys[start : start + BULK]]
            client.post("/v1/predict/bulk", json={"rows": rows}).raise_for_status()
    return len(keys)


def check(environ: dict[str, str], home: Path) -> dict[str, Any]:
    """What a pass over all of the log says."""
    command = [sys.executable, "-m", "cli.main", "monitor", "run", "cdnow", "--skew-share", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if done.returncode not in (0, 10):
        raise RuntimeError(done.stderr[-2_000:])
    (told,) = open_ledger(None, home, "cdnow").facts("skew", last=1)
    return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skew", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    as_json = parser.parse_args().json
    with fresh() as environ, tempfile.TemporaryDirectory() as directory:
        environ["HOLDFAST_NOW"] = NOW
        holdfast(environ, "run", "--no-stay", "--port", "3985")
        home, log = Path(environ["HOLDFAST_HOME"]) / "cdnow", Path(directory) / "serve.log"
        with closing(sqlite3.connect(home / "online.sqlite")) as rows:
            (table,) = [row[0] for row in rows.execute("SELECT name FROM sqlite_master WHERE name LIKE 'rows_%'")]
            keys = [row[0] for row in rows.execute(f"SELECT key FROM {table} ORDER BY key")]  # our own
        keys.append("nobody's")
        asked = 1 + ask(environ, keys, log) + ask({**environ, "HOLDFAST_ONLINE_READ": "on-read"}, keys, log)
        right = check(environ, home)
        with closing(sqlite3.connect(home / "online.sqlite")) as rows, rows:
            rows.execute(f"UPDATE {table} SET {WRONG} = {WRONG} + 1 WHERE key = ?", [keys[7]])
        ask(environ, keys[:100], log)
        wrong = check(environ, home)
    differ = {name: one["differing"] for name, one in wrong["features"].items() if one["differing"]}
    found = {
        "asked": asked,
        "checked": right["checked"],
        "features": len(right["features"]),
        "differing": sum(one["differing"] for one in right["features"].values()),
        "not_compared": right["not_compared"],
        "after_one_cent": differ,
    }
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(
            f"{asked:,} answers logged, {found['checked']:,} checked in {found['features']} features: "
            f"{found['differing']} differ; after one cent in one online row: {differ}\n"
        )
    if found["checked"] != asked or found["differing"] or differ != {WRONG: 1}:
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
