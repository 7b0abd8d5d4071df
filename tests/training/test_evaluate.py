"""Cross-validation: blind to what it tests, and no worse than the signal that is there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.golden import Inputs
from tests.model.toys import plan, pulse
from tests.training.conftest import Ready
from training.dataset import Dataset, LabelError, LeakageError
from training.evaluate import evaluate


def quiet(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def replaced(dataset: Dataset, label: NDArray[np.bool_]) -> Dataset:
    """The same examples with other labels."""
    return Dataset(dataset.key, dataset.t, label, dataset.inputs, dataset.features, dataset.content)


def many(rows: int, seed: int) -> Dataset:
    """Members of the toy, whose attributes are noise."""
    random = np.random.default_rng(seed)
    attributes = {
        "months": random.integers(0, 72, rows),
        "region": np.array(["north", "south", "west"])[random.integers(0, 3, rows)],
        "premium": random.random(rows) < 0.5,
        "rating": random.uniform(0, 5, rows),
    }
    t = np.zeros(rows, dtype=np.int64)
    features = plan().features.evaluate({}, attributes, t)
    key = np.array([f"m{number}" for number in range(rows)])
    return Dataset(key, t, random.random(rows) < 0.3, Inputs({}, attributes, t), features, "")


def test_noise_is_measured_as_noise() -> None:
    found = evaluate(plan(), many(3_000, seed=4), quiet)
    for name in ("model", "logistic"):
        assert found[name]["roc_auc"] == pytest.approx(0.5, abs=0.04), name
        assert found[name]["pr_auc"] == pytest.approx(0.3, abs=0.05), name
        assert found[name]["ece"] < 0.05


def test_a_strong_signal_is_found_by_both() -> None:
    dataset = many(1_500, seed=5)
    months = dataset.features["months"] + np.random.default_rng(0).normal(0, 2, 1_500)
    found = evaluate(plan(), replaced(dataset, months < 25), quiet)
    for name in ("model", "logistic"):
        assert found[name]["roc_auc"] > 0.98, name
        assert found[name]["brier"] < 0.06, name


def test_a_signal_of_another_shape_is_found_by_the_trees_alone() -> None:
    dataset = many(1_500, seed=6)
    either = dataset.features["premium"] ^ (dataset.features["months"] < 36)
    found = evaluate(plan(), replaced(dataset, either), quiet)
    assert found["model"]["roc_auc"] > 0.97
    assert found["logistic"]["roc_auc"] < 0.6


def test_it_is_reproducible_and_tells_its_progress(plan_ready: Ready) -> None:
    told: list[tuple[str, int, int]] = []
    first = evaluate(plan(), plan_ready.dataset, lambda *step: told.append(step))
    assert evaluate(plan(), plan_ready.dataset, quiet) == first
    assert told == [("cross-validation", done, 10) for done in range(11)]


def test_a_key_with_several_examples_is_refused(pulse_ready: Ready) -> None:
    with pytest.raises(LeakageError, match="several examples"):
        evaluate(pulse(), pulse_ready.dataset, quiet)


@pytest.mark.parametrize("positive", [0, 3, 3_000 - 4, 3_000])
def test_too_rare_an_outcome_is_refused(positive: int) -> None:
    dataset = many(3_000, seed=7)
    with pytest.raises(LabelError, match="have the rarer outcome, too few for 5 folds"):
        evaluate(plan(), replaced(dataset, np.arange(3_000) < positive), quiet)


def test_columns_without_a_value_measure_as_noise() -> None:
    dataset = many(600, seed=8)
    features = dataset.features | {name: np.full(600, np.nan) for name in ("months", "log_months", "rating")}
    blank = Dataset(dataset.key, dataset.t, dataset.label, dataset.inputs, features, "")
    for measured in evaluate(plan(), blank, quiet).values():
        assert measured["roc_auc"] == pytest.approx(0.5, abs=0.09)
