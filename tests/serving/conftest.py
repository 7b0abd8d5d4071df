"""Real servers, one per use case and session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.server import serve
from cli.workspace import Workspace


@pytest.fixture(scope="session")
def cdnow_http(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a running `bentoml serve` with cdnow's champion."""
    yield from _client(cdnow, tmp_path_factory.mktemp("serve") / "cdnow.log")


@pytest.fixture(scope="session")
def telco_http(telco: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a running `bentoml serve` with telco's champion."""
    yield from _client(telco, tmp_path_factory.mktemp("serve") / "telco.log")


def _client(workspace: Workspace, log: Path) -> Iterator[httpx.Client]:
    with (
        serve({"HOLDFAST_USECASE": workspace.usecase.name}, log=log) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        yield client
