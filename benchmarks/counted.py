"""`python -m benchmarks.counted`: `holdfast monitor run` is killed at random moments while a log is being written.

Afterwards it runs to its end. Then each answer in the log has been counted exactly once: as many as were written, and
the windows together are what one look at the whole log counts.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from benchmarks.forks import asked, kill, run
from benchmarks.ground import Ground, Place, ground
from cli.console import Json, Out, table
from cli.workspace import ROOT, Workspace
from settings import HoldfastError

MONITOR = ["monitor", "run", "cdnow"]
PATIENCE = 120.0
"""Seconds until everything that was written is in the log."""


@contextmanager
def writing(place: Place, tag: str) -> Iterator[list[int]]:
    """A log is being written while the block runs; then the list holds how many rows were."""
    written: list[int] = []
    with subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", "benchmarks.recording", tag],
        cwd=ROOT,
        env={**os.environ, **place.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield written
        finally:
            said, _ = process.communicate("end\n")
    if process.returncode:
        raise HoldfastError(f"benchmarks.recording ended with {process.returncode}")
    written.append(int(said))


def attack(here: Ground, times: int, seed: int) -> dict[str, Any]:
    """Kill passes while the log is written, let the last one end, and count again.

    Raises:
        HoldfastError: if an answer was not counted exactly once.
    """
    chance = random.Random(seed)  # noqa: S311  # a moment, no secret
    place = here.place("reference")
    if place.on_postgresql:
        own = place.environ["HOLDFAST_EVENTS_URL"]
        place.environ.update(HOLDFAST_PREDICTIONS_URL=own, HOLDFAST_MONITOR_URL=own)
    run(place, ["migrate"])
    run(place, ["ingest", str(place.home.parent / "first.csv"), "--backfill"])
    run(place, place.words("train"))
    tag = asked(place, _tag)
    hits, durations = 0, list[float]()
    with writing(place, tag) as written:
        while not asked(place, _in_log):
            time.sleep(0.1)
        for _ in range(times):
            if chance.random() < 0.2 or not durations:  # how long one takes now, with what waits
                durations.append(run(place, MONITOR)[0])
            _, struck = run(place, MONITOR, kill, chance.uniform(0, durations[-1] * 1.5))
            hits += struck
        commits = asked(place, _commits)
    deadline = time.monotonic() + PATIENCE
    while asked(place, _in_log) < written[0] and time.monotonic() < deadline:
        time.sleep(0.2)
    run(place, MONITOR)
    found: dict[str, Any] = asked(place, _counted)
    wrong = {name: number for name, number in found.items() if name != "windows" and number != written[0]}
    if wrong:
        raise HoldfastError(f"{written[0]:,} answers were written, and {wrong} is what was counted (seed {seed})")
    return {"hits": hits, "of": times, "commits": commits, "written": written[0], **found}


def _tag(workspace: Workspace) -> str:
    from model import store

    return store.tags(workspace.usecase.name)[-1]


def _in_log(workspace: Workspace) -> int:
    from cli.predictions import log_of
    from model.predictions.tail import read_on

    return sum(map(len, read_on(log_of(workspace), {})))


def _commits(workspace: Workspace) -> int:
    from cli.monitor.app import ledger_of

    return ledger_of(workspace).number()


def _counted(workspace: Workspace) -> dict[str, int]:
    """Rows of the log, ids in it, and what the ledger says of them; -1 for windows that differ from one look at all."""
    from cli.monitor.app import ledger_of
    from cli.predictions import log_of
    from model import store
    from model.profile import Profile
    from monitoring.passes.passing import PROFILE
    from monitoring.window import Window

    ledger, log, tag = ledger_of(workspace), log_of(workspace), _tag(workspace)
    profile = Profile.load(store.path(tag) / PROFILE)
    ids = list[str]()

    def records() -> Iterator[dict[str, Any]]:
        for one in log.between():
            ids.append(one.prediction_id)
            yield {**one.features, **one.aggregates, "score": one.probability, "decision": one.decision}

    expected, found = Window.from_records(profile, records()), Window.empty(profile)
    closed, opened = ledger.closed(tag), ledger.opened(tag)
    for data in [one.window for one in closed] + ([opened.window] if opened else []):
        found += Window.from_bytes(profile, data)
    return {
        "in the log": len(ids),
        "ids": len(set(ids)),
        "counted": ledger.counters()["records", "counted"],
        "in windows": found.rows if (found.counts == expected.counts).all() else -1,
        "windows": len(closed),
    }


def main(
    times: Annotated[int, typer.Option(help="Kills on each store.")] = 50,
    stores: Annotated[str, typer.Option(help="files, postgresql, by commas.")] = "files,postgresql",
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Kill, let it end, count again; exit 1 if an answer was not counted exactly once."""
    out, rows = Out(as_json), []
    for which in stores.split(","):
        with ground(which) as here:
            found = attack(here, times, seed)
            rows.append({"stores": which, **found})
            out.say(f"{which}: {found['hits']} of {times} kills hit; {found['written']:,} answers, each counted once")
    out.say(table([[str(value) for value in row.values()] for row in rows], list(rows[0])))
    out.result({"rows": rows})


if __name__ == "__main__":
    try:
        typer.run(main)
    except HoldfastError as error:
        sys.exit(f"benchmarks.counted: {error}")
