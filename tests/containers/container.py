"""Containers as a cluster's strictest rules run them: an odd uid, a root that is read-only, no capability."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.server import Server, free_ports
from deploy.image.engine import Engine

LOCKED = (
    "--network=host",
    "--read-only",
    "--tmpfs=/tmp",
    "--user=12345",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--cpus=1",
)
WAIT = 120
"""Seconds a container may take to be ready, also where others use the machine."""
_WORKER = """
import os, signal, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline", "rb").read()
    if b"_bentoml_impl.worker" in words and int(pid) != os.getpid():
        print(pid)
        if sys.argv[1:]:
            os.kill(int(pid), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Serving(Server):
    """A serving container, its name, the seconds until it was ready, and the file with its words."""

    engine: Engine
    name: str
    seconds: float
    log: Path

    def workers(self, *, kill: bool = False) -> list[str]:
        """Ids of the processes that answer, inside; killed, if asked, by a process beside them."""
        words = ["exec", self.name, "python3", "-c", _WORKER, *(["kill"] if kill else [])]
        return self.engine(*words).split()


def run(engine: Engine, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """What a container prints that does one thing and ends."""
    return engine("run", "--rm", *LOCKED, *options, image, *words)


@contextmanager
def serving(engine: Engine, image: str, environ: Mapping[str, str], log: Path) -> Iterator[Serving]:
    """Run the serving image while the block runs, from when it is ready."""
    name = f"holdfast-test-{uuid.uuid4().hex[:12]}"
    http, grpc, metrics = free_ports(3)
    own = {"HOLDFAST_GRPC_PORT": str(grpc), "HOLDFAST_METRICS_PORT": str(metrics)}
    given = [f"--env={key}={value}" for key, value in {**own, **environ}.items()]
    words = [engine.program, "run", "--rm", f"--name={name}", *LOCKED, *given, image, f"--port={http}"]
    begun = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(words, stdout=sink, stderr=sink)
    url = f"http://127.0.0.1:{http}"
    try:
        while not ready(url):
            if process.poll() is not None or time.monotonic() > begun + WAIT:
                raise AssertionError(f"it did not become ready: {log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        taken = time.monotonic() - begun
        yield Serving(url, f"127.0.0.1:{grpc}", f"127.0.0.1:{metrics}", process, engine, name, taken, log)
    finally:
        if process.poll() is None:
            engine("rm", "--force", name)
            process.wait(WAIT)


def ready(url: str) -> bool:
    """Whether it is."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
