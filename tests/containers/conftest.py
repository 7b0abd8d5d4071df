"""Both images of cdnow's champion, built once from this source tree; a machine without an engine fails every test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings as holdfast_settings
from cli.workspace import Workspace
from deploy.image.build import Image, build
from deploy.image.engine import Engine
from model import store
from tests.containers.container import Serving, serving
from tests.serving.outages import filled


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Podman or docker."""
    return Engine.find()


@pytest.fixture(scope="session")
def images(engine: Engine, cdnow: Workspace) -> Iterator[dict[str, Image]]:
    """By target; they go with the session, the engine's cache of their layers stays."""
    tag = cdnow.champion()
    assert tag is not None
    made = build(
        engine,
        store.manifest(tag),
        holdfast_settings.load(),
        repository="localhost/holdfast-test",
        tag=f"{os.getpid()}",
        options=["--quiet"],
    )
    yield made
    for image in made.values():
        engine("rmi", "--force", image.name)


@pytest.fixture(scope="session")
def online(cdnow: Workspace) -> Iterator[str]:
    """URL of a Redis with cdnow's online rows."""
    with filled("redis", cdnow) as server:
        yield server.url


@pytest.fixture(scope="module")
def served(
    engine: Engine, images: dict[str, Image], online: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A ready serving container that tests of a module share."""
    environ = {"HOLDFAST_ONLINE_URL": online, "HOLDFAST_IMAGE": images["serving"].id}
    with serving(engine, images["serving"].name, environ, tmp_path_factory.mktemp("served") / "log") as one:
        yield one


def told(line: str) -> None:
    """A figure, for whoever reads the output."""
    sys.stdout.write(f"\n  {line}\n")


def text(path: Path) -> str:
    """What a container said."""
    return path.read_text(errors="replace")
