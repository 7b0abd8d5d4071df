"""Two small trained models that the tests of model/ share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from model import store
from model.artefact import Manifest
from tests.model.registries import Place, in_file, in_postgresql
from tests.model.toys import Toy, plan_toy, pulse_toy


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty registry, in a file and in PostgreSQL."""
    if request.param == "file":
        return in_file(tmp_path)
    return in_postgresql(request.getfixturevalue("postgresql"), tmp_path)


@dataclass(frozen=True)
class Model:
    """A stored model: where it came from, where it lies, what it says of itself."""

    toy: Toy
    directory: Path
    manifest: Manifest


def _stored(toy: Toy, algorithm: str) -> Model:
    manifest = toy.train(algorithm).manifest
    return Model(toy, store.path(manifest.tag), manifest)


@pytest.fixture(scope="session")
def pulse_toy_once(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy with events."""
    return pulse_toy(tmp_path_factory.mktemp("pulse"))


@pytest.fixture(scope="session")
def boosted(pulse_toy_once: Toy) -> Model:
    """`pulse` by XGBoost."""
    return _stored(pulse_toy_once, "xgboost")


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """`plan` by logistic regression, with attributes only."""
    return _stored(plan_toy(tmp_path_factory.mktemp("plan")), "logistic")
