"""`python -m benchmarks.kills`: every command that writes is struck at random moments, and then run once more.

A blow is SIGKILL, or with `--blow restart` its server going away and coming back, after which the command has to end
well or with one clear line. Either way the outcome of the second run must equal an uninterrupted one: files by their
bytes, tables by a sorted dump; and after the blow every online row must be what the event store says as of the time
that the row claims.

A command runs in a fork of this process, which has imported everything: so a kill falls into its work, not into the
import of pandas.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

import typer

from benchmarks.ground import FIRST, Ground, Place, ground
from benchmarks.outcome import honest, outcome
from cli import main as command_line
from cli.console import Json, Out, table
from cli.workspace import Workspace
from features.clock import rfc3339
from settings import HoldfastError

COMMANDS = ("ingest", "materialize", "train", "score")
Blow = Callable[[int], None]
"""Called with the process id of the command that is struck."""


def run(place: Place, words: list[str], blow: Blow | None = None, after: float = 0.0) -> tuple[float, bool]:
    """Run a command in a fork; how long it took, and whether the blow, struck `after` so many seconds, kept it from
    ending well.

    Raises:
        HoldfastError: if it ends with an error that no blow excuses, or that is not one clear line.
    """
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(place, words)
    if blow is not None:
        while time.monotonic() - started < after:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        blow(child)
    _, status = os.waitpid(child, 0)
    log = (place.home / "log").read_text()
    if status and not os.WIFSIGNALED(status) and (blow is None or not log.splitlines()[-1].startswith("holdfast: ")):
        raise HoldfastError(f"holdfast {' '.join(words)}: {log[-2000:]}")
    if os.WIFSIGNALED(status) and blow is not kill:
        raise HoldfastError(f"holdfast {' '.join(words)} died of signal {os.WTERMSIG(status)}: {log[-2000:]}")
    return time.monotonic() - started, bool(status)


def kill(child: int) -> None:
    """The end without a warning."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _child(place: Place, words: list[str]) -> None:
    """What the fork does; it never returns."""
    os.environ.update(place.environ)
    log = os.open(place.home / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["holdfast", *words]
    code = 1
    try:
        command_line.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:  # a fork that must not go on as this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def asked(place: Place, question: Callable[[Workspace], Any]) -> Any:
    """The answer to a question that opens stores, from a fork, so that this process stays without threads."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ.update(place.environ)
        try:
            told = json.dumps(question(Workspace.open("cdnow")))
        except Exception as error:  # told to the parent, which raises
            told = json.dumps({"error": f"{type(error).__name__}: {error}"})
        with os.fdopen(write, "w") as pipe:
            pipe.write(told)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    if isinstance(answer, dict) and "error" in answer:
        raise HoldfastError(answer["error"])
    return answer


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
    if command == "score":
        run(before, ["train", "cdnow", "--algorithm", "logistic"])
        tag = asked(place, lambda w: _tags(w)[-1])
        run(place, ["models", "promote", tag])


def _tags(workspace: Workspace) -> list[str]:
    from model import store

    return store.tags(workspace.usecase.name)


def attack(ground: Ground, command: str, blow: Blow, times: int, seed: int) -> tuple[int, int]:
    """Strike a command at random moments and run it again; how many it kept from ending well, and rows compared.

    Raises:
        HoldfastError: naming what differs from an uninterrupted run.
    """
    chance = random.Random(f"{command} {seed}")  # noqa: S311  # a moment, no secret
    before = ground.place("prepared")
    prepared(before, command)
    reference = ground.place("reference", before)
    seconds, _ = run(reference, reference.words(command))
    expected = asked(reference, outcome)
    hits = compared = 0
    for number in range(times):
        trial = ground.place("trial", before)
        after = chance.uniform(0, seconds * 1.05)
        _, struck = run(trial, trial.words(command), blow, after)
        hits += struck
        compared += asked(trial, honest)
        run(trial, trial.words(command))
        found = asked(trial, outcome)
        differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if differing:
            raise HoldfastError(
                f"{command}, struck after {after:.3f} s of {seconds:.3f} (trial {number}, seed {seed}): "
                f"{', '.join(differing[:5])} is not what an uninterrupted run leaves"
            )
    return hits, compared


def main(
    blow: Annotated[Literal["kill", "restart"], typer.Option(help="What strikes.")] = "kill",
    times: Annotated[int, typer.Option(help="Blows to each command on each store.")] = 50,
    stores: Annotated[str, typer.Option(help="files, postgresql, redis, by commas.")] = "files,postgresql,redis",
    commands: Annotated[str, typer.Option(help="ingest, materialize, train, score, by commas.")] = ",".join(COMMANDS),
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Strike, run again, compare; exit 1 at the first difference."""
    out, rows = Out(as_json), []
    for which in stores.split(","):
        with ground(which) as here:
            for command in commands.split(","):
                hits, compared = attack(here, command, kill if blow == "kill" else here.restart, times, seed)
                rows.append([which, command, f"{hits} of {times}", f"{compared:,}", "0"])
                out.say(f"{which}, {command}: {hits} of {times} blows hit, 0 outcomes differ")
    header = ["stores", "command", "blows that hit", "online rows compared", "outcomes that differ"]
    out.say(table(rows, header))
    out.result({"blow": blow, "rows": rows})


if __name__ == "__main__":
    try:
        typer.run(main)
    except HoldfastError as error:
        sys.exit(f"benchmarks.kills: {error}")
