"""Online stores on servers of their own, which a test may stop, freeze and start again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from benchmarks import servers
from benchmarks.servers import Server
from cli.workspace import Workspace

KINDS = ("redis", "postgresql")


@contextmanager
def filled(kind: str, workspace: Workspace) -> Iterator[Server]:
    """A server with the use case's online rows and events in it."""
    with getattr(servers, kind)() as server:
        there = at(workspace, server.url)
        with closing(there.online()) as online:
            online.migrate()
        there.materialize()
        yield server


def at(workspace: Workspace, url: str, **changed: object) -> Workspace:
    """The same use case with its online store there."""
    return Workspace(workspace.settings.model_copy(update={"online_url": url, **changed}), workspace.usecase)


def empty(server: Server) -> str:
    """A database of the same server in which there is nothing."""
    return server.url.rpartition("/")[0] + ("/1" if server.url.startswith("redis") else "/template1")


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Whoever answers is stopped where it is, and its kernel goes on saying that the connection lives."""
    assert server.process is not None
    processes = [server.process.pid]
    if server.url.startswith("postgresql"):
        with psycopg.connect(server.url) as connection:
            found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast'")
            processes += [pid for (pid,) in found]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come about in {seconds} s")
        time.sleep(0.01)
