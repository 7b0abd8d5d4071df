"""A command in a fork of this process, which has imported everything: a blow falls into its work, not into imports."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import fsspec  # noqa: F401  # as those below, here so that the fork need not
import s3fs  # noqa: F401

import cli.promotion  # noqa: F401
import training.train  # noqa: F401
from benchmarks.ground import Place
from cli import main as command_line
from cli.workspace import Workspace
from settings import HoldfastError

command_line.application(*command_line.COMMANDS)  # imports them all

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
    clear = log.rpartition("\n")[0].rpartition("\n")[2].startswith("holdfast: ")
    excused = clear and blow is not None
    if status and not os.WIFSIGNALED(status) and not excused:
        raise HoldfastError(f"holdfast {' '.join(words)}: {log[-2000:]}")
    if os.WIFSIGNALED(status) and blow is not kill:
        raise HoldfastError(f"holdfast {' '.join(words)} died of signal {os.WTERMSIG(status)}: {log[-2000:]}")
    return time.monotonic() - started, bool(status)


def kill(child: int) -> None:
    """The end without a warning."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def asked(place: Place, question: Callable[[Workspace], Any]) -> Any:
    """The answer to a question that opens stores, from a fork, so that this process stays without threads.

    Raises:
        HoldfastError: with what the question raised.
    """
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
