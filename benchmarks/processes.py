"""Processes under measurement: started on a core of their own, their CPU time and memory with all their children's."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.server import stop

TICK = os.sysconf("SC_CLK_TCK")
WAIT = 60.0
"""Seconds a server may take to answer."""


@dataclass(frozen=True)
class Process:
    """A process and all its children, as Linux's /proc tells of them."""

    pid: int

    def tree(self) -> list[int]:
        """Ids of those that are alive."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            try:
                threads = list(Path(f"/proc/{pid}/task").iterdir())
                children = [word for thread in threads for word in (thread / "children").read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            found.append(pid)
            todo += map(int, children)
        return found

    def cpu(self) -> float:
        """CPU seconds, user and system, of those that are alive and of their children that have ended."""
        return sum(map(self._cpu, self.tree()))

    def memory(self) -> float:
        """Resident MiB of all of them; what they share counts for each."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.tree())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @staticmethod
    def _cpu(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICK


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Processes and threads that start inside the block run on that core only; None changes nothing."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int | None, int | None]:
    """A core for the servers and one for the load; none to choose where there is only one."""
    there = sorted(os.sched_getaffinity(0))
    return (there[0], there[1]) if len(there) > 1 else (None, None)


@contextmanager
def started(command: list[str], directory: Path, environ: dict[str, str], url: str) -> Iterator[Process]:
    """The command, run in `directory` while the block runs, from when it answers at `url`.

    Raises:
        RuntimeError: with its last words, if it does not.
    """
    log = directory / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, cwd=directory, env={**os.environ, **environ}, stdout=sink, stderr=sink
        )
    try:
        deadline = time.monotonic() + WAIT
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Process(process.pid)
    finally:
        stop(process)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
