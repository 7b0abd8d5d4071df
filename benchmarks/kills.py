"""`python -m benchmarks.kills`: every command that writes is struck at random moments, and then run once more.

A blow is SIGKILL, or with `--blow restart` its server going away and coming back, after which the command has to end
well or with one clear line. After the blow every online row must be what the event store says as of the time that the
row claims, and nothing half-made may be visible: models, journal and archives are whole. The outcome of the second run
must equal an uninterrupted one: files by their bytes, tables by a sorted dump, the journal by what was decided.
"""

from __future__ import annotations

import random
import sys
from statistics import median
from typing import Annotated, Literal

import typer

from benchmarks.forks import Blow, asked, kill, run
from benchmarks.ground import COMMANDS, FIRST, Ground, Place, ground
from benchmarks.outcome import honest, outcome
from benchmarks.wholeness import whole
from cli.console import Json, Out, table
from cli.workspace import Workspace
from features.clock import rfc3339
from settings import HoldfastError


def prepared(place: Place, command: str) -> None:
    """Everything that comes before the command under test."""
    earlier = dict(place.environ, HOLDFAST_NOW=rfc3339(FIRST))
    before = Place(place.home, earlier)
    run(place, ["migrate"])
    run(before, ["ingest", str(place.home.parent / "first.csv"), "--backfill"])
    run(before, ["materialize"])
    if command == "ingest":
        return
    run(place, place.words("ingest"))
    if command in ("materialize", "train"):
        return
    first = _trained(before)
    run(before, ["models", "promote", first, "--force", "--why", "the first one"])
    if command == "score":
        return
    second = _trained(place)
    (place.home / "subject").write_text(first if command == "rollback" else second)
    if command == "rollback":
        run(place, ["models", "promote", second, "--force", "--why", "the second one"])
    if command == "pull":
        run(place, place.words("push"))
        asked(place, lambda _: _delete(second))


def _trained(place: Place) -> str:
    """Tag of a new model of what is known there."""
    run(place, place.words("train"))
    tags: list[str] = asked(place, _tags)
    return tags[-1]


def _tags(workspace: Workspace) -> list[str]:
    from model import store

    return store.tags(workspace.usecase.name)


def _delete(tag: str) -> None:
    from model import store

    store.delete(tag)


def attack(ground: Ground, command: str, blow: Blow, times: int, seed: int) -> tuple[int, int, int]:
    """Strike a command at random moments and run it again; how many it kept from ending well, and how many online rows,
    and models, lines and archives, were looked at.

    Raises:
        HoldfastError: naming what differs from an uninterrupted run.
    """
    chance = random.Random(f"{command} {seed}")  # noqa: S311  # a moment, no secret
    before = ground.place("prepared")
    prepared(before, command)
    reference = ground.place("reference", before)
    durations = [run(reference, reference.words(command))[0]]
    expected = asked(reference, outcome)
    hits = compared = seen = 0
    for number in range(times):
        trial = ground.place("trial", before)
        seconds = median(durations)  # the first run is a slow one
        after = chance.uniform(0, seconds * 1.05)
        took, struck = run(trial, trial.words(command), blow, after)
        hits += struck
        durations += [] if struck else [took]
        compared += asked(trial, honest)
        seen += asked(trial, whole)
        run(trial, trial.words(command))
        found = asked(trial, outcome)
        differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if differing:
            raise HoldfastError(
                f"{command}, struck after {after:.3f} s of {seconds:.3f} (trial {number}, seed {seed}): "
                f"{', '.join(differing[:5])} is not what an uninterrupted run leaves"
            )
    return hits, compared, seen


def main(
    blow: Annotated[Literal["kill", "restart"], typer.Option(help="What strikes.")] = "kill",
    times: Annotated[int, typer.Option(help="Blows to each command on each store.")] = 50,
    stores: Annotated[str, typer.Option(help=f"{', '.join(COMMANDS)}, by commas.")] = ",".join(COMMANDS),
    commands: Annotated[str | None, typer.Option(help="By commas; default: all that write to that store.")] = None,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Strike, run again, compare; exit 1 at the first difference."""
    out, rows = Out(as_json), []
    for which in stores.split(","):
        with ground(which) as here:
            for command in COMMANDS[which]:
                if commands is not None and command not in commands.split(","):
                    continue
                hits, compared, seen = attack(here, command, kill if blow == "kill" else here.restart, times, seed)
                rows.append([which, command, f"{hits} of {times}", f"{compared:,}", f"{seen:,}", "0"])
                out.say(f"{which}, {command}: {hits} of {times} blows hit, 0 outcomes differ")
    header = [
        "stores",
        "command",
        "blows that hit",
        "online rows compared",
        "models, lines, archives",
        "outcomes differ",
    ]
    out.say(table(rows, header))
    out.result({"blow": blow, "rows": rows})


if __name__ == "__main__":
    try:
        typer.run(main)
    except HoldfastError as error:
        sys.exit(f"benchmarks.kills: {error}")
