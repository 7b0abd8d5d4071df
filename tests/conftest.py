"""What every test stands on: the pinned numeric baseline, homes of its own, and the real use cases, made once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import settings

settings.pin_environment()
_HOME = tempfile.TemporaryDirectory(prefix="holdfast-tests-")
os.environ["BENTOML_HOME"] = str(Path(_HOME.name) / "bentoml")
os.environ["HOLDFAST_HOME"] = str(Path(_HOME.name) / "var")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes run side by side; the bits are the same
for name in [n for n in os.environ if n.startswith(settings.PREFIX) and n != "HOLDFAST_HOME"]:
    del os.environ[name]
os.environ["HOLDFAST_DRAIN_S"] = "0"  # nobody balances load between the servers of tests
Path(os.environ["BENTOML_HOME"]).mkdir()

import pytest

from benchmarks import servers
from benchmarks.servers import Server
from cli.workspace import Workspace
from tests import effort

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


effort.steady()


def pytest_sessionfinish() -> None:
    """The homes go with the session."""
    _HOME.cleanup()


def _made(name: str) -> Workspace:
    workspace = Workspace.open(name)
    workspace.prepare()
    tag, _ = workspace.model(lambda *_: None)
    if workspace.champion() is None:
        workspace.registry.promote(name, tag, why="the tests' model", proof="")
    workspace.materialize()
    return workspace


@pytest.fixture(scope="session")
def cdnow() -> Workspace:
    """cdnow's real data, ingested, trained, promoted and materialized."""
    return _made("cdnow")


@pytest.fixture(scope="session")
def telco() -> Workspace:
    """telco's real data, likewise."""
    return _made("telco")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server for the tests of this process: each test has its own name of a use case in it."""
    with servers.postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    """A Redis server, likewise."""
    with servers.redis() as server:
        yield server


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Spark in this process, with two executors' worth of threads."""
    from features.store.spark import session

    session_ = session("local[2]")
    yield session_
    session_.stop()
