"""Small data that the tests of training/ share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.model.toys import Toy, plan_toy, pulse_toy
from training.dataset import Dataset, build, label_times


@dataclass(frozen=True)
class Ready:
    """A toy with its label times and its training set."""

    toy: Toy
    times: list[int]
    dataset: Dataset


def ready(toy: Toy) -> Ready:
    """Build the training set of everything known."""
    times = label_times(toy.usecase, toy.store, toy.as_of)
    return Ready(toy, times, build(toy.usecase, toy.store, times, toy.as_of, toy.cache)[0])


@pytest.fixture(scope="session")
def pulse_ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """The toy with events."""
    return ready(pulse_toy(tmp_path_factory.mktemp("pulse")))


@pytest.fixture(scope="session")
def plan_ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """The toy with attributes only."""
    return ready(plan_toy(tmp_path_factory.mktemp("plan")))
