"""A real server as a child process: `bentoml serve` of this repository, waited for, and stopped for certain."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from cli.workspace import ROOT
from settings import HoldfastError, Settings

_FILE = re.compile(r"HOLDFAST_\w+_FILE")


class ServerError(HoldfastError, RuntimeError):
    """The server did not come up; the message holds its last words."""


class Server:
    """A running server: its address and its process."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url, self.process = url, process


def free_port() -> int:
    """A port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_use(port: int) -> bool:
    """Whether somebody listens on that port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serve(
    environ: Mapping[str, str],
    *,
    port: int | None = None,
    target: str = ".",
    log: Path | None = None,
    ready: bool = True,
    seconds: float = 120,
) -> Iterator[Server]:
    """Run `bentoml serve TARGET` while the block runs.

    Args:
        environ: added to this process's environment; a value "" removes. log: where its words go; None is stderr.
        ready: wait until /readyz answers 200; else only until it answers.

    Raises:
        ServerError: if it ends, or is not there in `seconds`.
    """
    port = free_port() if port is None else port
    command = [
        str(Path(sys.executable).with_name("bentoml")),
        "serve",
        target,
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    merged = {"HOLDFAST_HOME": str(Settings().home), **os.environ, **environ}
    for name in environ:
        merged.pop(f"{name}_FILE", None)
    for name in [n for n in merged if n in ("HOLDFAST_HOME", "HOLDFAST_USECASES") or _FILE.fullmatch(n)]:
        if merged[name]:  # the server runs in the repository, the user maybe elsewhere
            merged[name] = str(Path(merged[name]).absolute())
    sink: IO[bytes] | int = log.open("wb") if log else sys.stderr.fileno()
    process = subprocess.Popen(  # noqa: S603  # our own command
        command, cwd=ROOT, env={k: v for k, v in merged.items() if v}, stdout=sink, stderr=subprocess.STDOUT
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        _wait(server, ready, seconds, log)
        yield server
    finally:
        stop(process)
        if not isinstance(sink, int):
            sink.close()


def stop(process: subprocess.Popen[bytes], seconds: float = 20) -> int:
    """End the process gently, then for certain; its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _wait(server: Server, ready: bool, seconds: float, log: Path | None) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            answer = httpx.get(f"{server.url}/readyz", timeout=2)
            if answer.status_code == 200 or not ready:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    words = log.read_text()[-4000:] if log else ""
    raise ServerError(f"the server did not become ready at {server.url}\n{words}")
