"""The journal of deployments in PostgreSQL: servers write to it, and answer on without it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from benchmarks import servers
from cli.server import ServerError, serve
from cli.workspace import Workspace
from model.registry import open_registry, process
from tests.serving.outages import until


def test_a_server_resolves_the_champion_in_postgresql_and_answers_on_when_it_goes_away(
    telco: Workspace, tmp_path: Path
) -> None:
    champion, log = telco.champion(), tmp_path / "serve.log"
    assert champion is not None
    with servers.postgresql() as database:
        environ = {"HOLDFAST_USECASE": "telco", "HOLDFAST_REGISTRY_URL": database.url, "HOLDFAST_USER": "ops"}
        with pytest.raises(ServerError), serve(environ, log=log):
            pytest.fail("it serves although nothing was promoted there")
        assert "telco@champion points to no model" in log.read_text()
        registry = open_registry(database.url, tmp_path)
        registry.promote("telco", champion, why="", proof="")
        with serve(environ, log=log) as server:
            (ready,) = registry.servers("telco", "2999-01-01T00:00:00Z")
            assert (ready.tag, ready.who) == (champion, "ops")
            os.kill(int(ready.process.split()[0]), signal.SIGKILL)
            until(lambda: process.gone(ready.process))
            assert registry.serving("telco", "2999-01-01T00:00:00Z") == []
        with serve(environ, log=log) as server:
            assert [entry.action for entry in registry.entries()] == ["promote", "ready", "stop", "ready"]
            database.stop()
            assert httpx.get(f"{server.url}/readyz").json()["model"] == champion
        assert "the journal of deployments cannot be written: postgresql://" in log.read_text()
        before = len(log.read_text())
        with pytest.raises(ServerError), serve(environ, log=log):
            pytest.fail("it serves although the registry is away")
        told = log.read_text()[before:]
        assert "holdfast: postgresql://" in told
        assert "is out of reach" in told
        assert "Traceback" not in told
