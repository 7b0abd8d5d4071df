"""A real server as a child process: `bentoml serve` of this repository, waited for, and stopped for certain."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from cli.workspace import ROOT
from settings import HoldfastError, Settings

_PATHS = ("HOLDFAST_HOME", "HOLDFAST_USECASES", "HOLDFAST_TLS_CERT", "HOLDFAST_TLS_KEY")
_FILE = re.compile(r"HOLDFAST_\w+_FILE")
OPEN = {"HOLDFAST_API_KEYS": "", "HOLDFAST_TLS_CERT": "", "HOLDFAST_TLS_KEY": ""}
"""Environment of a server that this process asks by itself: no key and no certificate, on the loopback interface."""


class ServerError(HoldfastError, RuntimeError):
    """The server did not come up; the message holds its last words."""


@dataclass(frozen=True)
class Server:
    """A running server: its addresses (`grpc` and `metrics` are empty where it has none) and its process."""

    url: str
    grpc: str
    metrics: str
    process: subprocess.Popen[bytes]


def free_ports(count: int) -> list[int]:
    """Neighbouring ports of the loopback interface that nobody listens on right now.

    They lie below those that systems give to outgoing connections (32768 on Linux), or else one might be taken by a
    client before its server is up.
    """
    while True:
        first = random.randrange(20_000, 32_000)  # noqa: S311  # no secret
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return list(range(first, first + count))


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


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
        environ: added to this process's environment; a value "" removes. log: what its words are added to, else stderr.
        port: of HTTP; gRPC and the metrics then have the two behind it. None: three that are free.
        ready: wait until /readyz answers 200; else only until it answers.

    Raises:
        ServerError: if it ends, or is not there in `seconds`.
    """
    http, grpc, metrics = free_ports(3) if port is None else (port, port + 1, port + 2)
    own = {"HOLDFAST_HOST": "127.0.0.1", "HOLDFAST_GRPC_PORT": str(grpc), "HOLDFAST_METRICS_PORT": str(metrics)}
    command = [
        str(Path(sys.executable).with_name("bentoml")),
        "serve",
        target,
        "--port",
        str(http),
        "--host",
        "127.0.0.1",
    ]
    merged = {"HOLDFAST_HOME": str(Settings().home), **own, **os.environ, **environ}
    for name in environ:
        merged.pop(f"{name}_FILE", None)
    for name in [n for n in merged if n in _PATHS or _FILE.fullmatch(n)]:
        if merged[name]:  # the server runs in the repository, the user maybe elsewhere
            merged[name] = str(Path(merged[name]).absolute())
    before = log.stat().st_size if log and log.exists() else 0
    sink: IO[bytes] | int = log.open("ab") if log else sys.stderr.fileno()
    process = subprocess.Popen(  # noqa: S603  # our own command
        command, cwd=ROOT, env={k: v for k, v in merged.items() if v}, stdout=sink, stderr=subprocess.STDOUT
    )
    addresses = [f"127.0.0.1:{merged[name]}" if merged[name] != "0" else "" for name in list(own)[1:]]
    scheme = "https" if merged.get("HOLDFAST_TLS_CERT") else "http"
    server = Server(f"{scheme}://127.0.0.1:{http}", addresses[0], addresses[1], process)
    try:
        _wait(server, ready, seconds, log, before)
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


def _wait(server: Server, ready: bool, seconds: float, log: Path | None, before: int) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            # a certificate names the host that clients ask for, not this one; and it is our own child
            answer = httpx.get(f"{server.url}/readyz", timeout=2, verify=False)  # noqa: S501
            if answer.status_code == 200 or not ready:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    words = log.read_bytes()[before:].decode(errors="replace")[-4000:] if log else ""
    raise ServerError(f"the server did not become ready at {server.url}\n{words}")
