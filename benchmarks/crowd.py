"""`python -m benchmarks.crowd`: ten trainers and ten promoters at once, each a command in a process of its own.

Every promotion must be in the journal once, or its command must have said that another one came first; each line's
`before` must be the line before it; every trained model must be in the store, whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.forks import asked, run
from benchmarks.ground import FIRST, Ground, Place, ground
from benchmarks.wholeness import whole
from cli.console import Json, Out, table
from cli.workspace import Workspace
from features.clock import DAY, rfc3339
from settings import HoldfastError

OVERTAKEN = "nothing was changed"
"""What a promoter says whom another one came before."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    told: Any
    error: str


def together(place: Place, commands: list[tuple[dict[str, str], list[str]]]) -> list[Ended]:
    """Run commands at once, each with what is added to the environment."""
    program = str(Path(sys.executable).with_name("holdfast"))
    started = [
        subprocess.Popen(  # noqa: S603  # our own command
            [program, *words, "--json"],
            env={**os.environ, **place.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for more, words in commands
    ]
    ended = []
    for process in started:
        out, error = process.communicate()
        ended.append(Ended(process.returncode, json.loads(out) if out.strip() else None, error.decode()))
    return ended


def crowd(made: Ground, trainers: int, promoters: int) -> dict[str, int]:
    """Let them loose; how many of what there was.

    Raises:
        HoldfastError: naming what was lost, torn or told wrongly.
    """
    place = made.place("prepared")
    run(place, ["migrate"])
    run(place, ["ingest", str(place.home.parent / "first.csv"), "--backfill"])
    early = [{"HOLDFAST_NOW": rfc3339(FIRST - day * DAY)} for day in range(trainers + 2)]
    bases = together(place, [(now, _train()) for now in early[:2]])
    tags = [one.told["manifest"]["version"] for one in _well(bases)]
    choices = [
        ["models", "promote", f"cdnow:{tags[n % 2]}", "--force", "--why", f"number {n}"] for n in range(promoters)
    ]
    ended = together(place, [*((now, _train()) for now in early[2:]), *(({}, words) for words in choices)])
    trained = {f"cdnow:{one.told['manifest']['version']}" for one in _well(ended[:trainers])}
    overtaken = [one for one in ended[trainers:] if one.code and OVERTAKEN in one.error]
    went = _well([one for one in ended[trainers:] if one not in overtaken])
    promoted = [one for one in went if one.told["outcome"] in ("promoted", "forced")]
    lines: list[list[Any]] = asked(place, _promotions)
    if len(lines) != len(promoted) or {line[0] for line in lines} != {
        one.told["journal"]["number"] for one in promoted
    }:
        raise HoldfastError(f"{len(promoted)} commands promoted, and the journal has {len(lines)} promotions")
    if any(before[2] != after[1] for before, after in pairwise(lines)) or lines[0][1] is not None:
        raise HoldfastError(f"the champion was another one than the journal's lines say: {lines}")
    if not trained <= set(asked(place, _tags)):
        raise HoldfastError("a trained model is not in the store")
    asked(place, whole)
    return {
        "trained": len(trained),
        "promoted": len(promoted),
        "overtaken": len(overtaken),
        "already": len(went) - len(promoted),
    }


def _train() -> list[str]:
    return ["train", "cdnow", "--algorithm", "logistic"]


def _well(ended: list[Ended]) -> list[Ended]:
    for one in ended:
        if one.code:
            raise HoldfastError(f"a command failed: {one.error[-1000:]}")
    return ended


def _promotions(workspace: Workspace) -> list[list[Any]]:
    return [[e.number, e.before, e.tag] for e in workspace.registry.entries("cdnow") if e.action == "promote"]


def _tags(workspace: Workspace) -> list[str]:
    from model import store

    return store.tags(workspace.usecase.name)


def main(
    stores: Annotated[str, typer.Option(help="Where the journal is; separated by commas.")] = "files,postgresql",
    trainers: int = 10,
    promoters: int = 10,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Twenty at once."""
    out, found = Out(as_json), {}
    for name in stores.split(","):
        with ground(name) as made:
            found[name] = crowd(made, trainers, promoters)
    rows = [[name, *map(str, one.values())] for name, one in found.items()]
    out.say(table(rows, ["journal", "trained", "promoted", "overtaken, and told", "champion already"]))
    out.say("no line lost, no model torn, one champion after another")
    out.result(found)


if __name__ == "__main__":
    typer.run(main)
