"""Evaluation: everything the manifest says of a model, plain and whole; and what training says of it, line by line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.scorer import Scorer
from tests.training.conftest import Ready
from training import fit, metrics
from training.dataset import Dataset
from training.evaluation import evaluation, importance, said
from training.split import split
from training.train import train
from usecases import Slice, UseCase

SLICES = (Slice("visits", (20,)), Slice("recency_days", (30,)))


class Fitted:
    """Both scorers of the toy with events, and the part they are measured on."""

    def __init__(self, ready: Ready) -> None:
        self.usecase: UseCase = replace(ready.toy.usecase, slices=SLICES)
        parts = split(self.usecase, ready.dataset)
        self.test: Dataset = parts.test
        one, other = ((self.usecase.features.matrix(p.features), p.label) for p in (parts.train, parts.valid))
        self.model: Scorer = fit.scorer("xgboost", self.usecase, one, other)
        self.logistic: Scorer = fit.scorer("logistic", self.usecase, one, other)

    def measured(self, model: Scorer | None = None) -> dict[str, Any]:
        """What is measured of the model."""
        return evaluation(self.usecase, model or self.model, self.logistic, self.test)


@pytest.fixture(scope="module")
def fitted(pulse_ready: Ready) -> Fitted:
    """Fitted once."""
    return Fitted(pulse_ready)


@pytest.fixture(scope="module")
def found(fitted: Fitted) -> dict[str, Any]:
    """Measured once."""
    return fitted.measured()


def test_it_is_plain_json_and_the_same_again(fitted: Fitted, found: dict[str, Any]) -> None:
    written = json.dumps(found, allow_nan=False)
    assert json.loads(written) == found
    assert json.dumps(fitted.measured(), allow_nan=False) == written
    assert len(written) < 30_000


def test_metrics_and_intervals_are_those_of_the_answers(fitted: Fitted, found: dict[str, Any]) -> None:
    for name, scorer in (("model", fitted.model), ("logistic", fitted.logistic)):
        probability = scorer.score_features(fitted.test.features).probability
        assert found[name] == metrics.measure(fitted.test.label, probability)
        assert found[f"{name}_interval"] == metrics.intervals(fitted.test.label, probability)


def test_the_gain_is_the_difference_with_an_interval_around_it(found: dict[str, Any]) -> None:
    for name, gain in found["gain"].items():
        assert gain["value"] == pytest.approx(found["model"][name] - found["logistic"][name], abs=2e-6)
        low, high = gain["interval"]
        assert low < high


def test_the_logistic_regression_is_not_compared_with_itself(fitted: Fitted, found: dict[str, Any]) -> None:
    same = fitted.measured(fitted.logistic)
    assert set(found) - set(same) == {"logistic", "logistic_interval", "gain"}
    assert set(same["curves"]) == {"model", "histogram"}
    assert same["model"] == found["logistic"]
    assert same["model_interval"] == found["logistic_interval"]
    lines = said(same, 217)
    assert not re.search("logistic|better|worse than", "".join(lines[:3]))
    assert lines[1].startswith(f"ECE {same['model']['ece']:.4f}, calibration slope ")


def test_every_finding_is_there(fitted: Fitted, found: dict[str, Any]) -> None:
    n = len(fitted.test)
    assert sum(one["n"] for one in found["calibration"]["curve"]) == n
    assert sum(sum(counts) for counts in found["curves"]["histogram"].values()) == n
    assert found["curves"]["model"] != found["curves"]["logistic"]
    assert found["cost"]["threshold"] == fitted.usecase.costs.threshold
    assert [(one["feature"], one["part"]) for one in found["slices"]] == [
        ("visits", "< 20"),
        ("visits", ">= 20"),
        ("recency_days", "< 30"),
        ("recency_days", ">= 30"),
    ]


def test_importance_is_the_mean_size_of_contributions(fitted: Fitted, found: dict[str, Any]) -> None:
    for scorer in (fitted.model, fitted.logistic):
        explained = scorer.explain(scorer.score_features(fitted.test.features))  # fewer than are drawn
        means = [np.abs(column).mean() for column in explained.contributions.T]
        expected = dict(zip(explained.inputs, means, strict=True))
        told = importance(scorer, fitted.test)
        assert told == pytest.approx(expected, abs=1e-6)
        assert list(told.values()) == sorted(told.values(), reverse=True)
    assert max(found["importance"], key=found["importance"].__getitem__) == "recency_days"


def test_each_finding_is_said_in_a_line(found: dict[str, Any]) -> None:
    lines = said(found, 217)
    assert lines[0].startswith(f"test on 217 examples: model ROC-AUC {found['model']['roc_auc']:.4f} (")
    assert "than the logistic regression: ROC-AUC " in lines[1]
    assert f"{found['cost']['at_threshold']:,.0f}; the best threshold in hindsight" in lines[2]
    assert all("\n" not in line for line in lines)
    assert len(lines) == 3 + sum(bool(one["worse"]) for one in found["slices"])


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([0.001, 0.02], "better"), ([-0.02, -0.001], "worse"), ([-0.01, 0.01], "no better and no worse")],
)
def test_a_verdict_is_what_the_interval_allows(found: dict[str, Any], interval: list[float], verdict: str) -> None:
    gain = {**found["gain"], "roc_auc": {"value": 0.0, "interval": interval}}
    assert said({**found, "gain": gain}, 1)[1].startswith(f"{verdict} than the logistic regression")


def test_a_part_that_is_worse_is_named_with_its_figures(found: dict[str, Any]) -> None:
    one = {"feature": "plan", "part": "year", "n": 1_234, "share": 0.31, "probability": 0.2, "promised": 0.8}
    auc = {"value": 0.7, "interval": [0.6, 0.75]}
    parts = [{**one, "roc_auc": auc, "worse": ["ranking", "level"]}, {**one, "roc_auc": None, "worse": []}]
    (line,) = said({**found, "slices": parts}, 217)[3:]
    assert line == (
        "worse where plan is year (1,234 examples): ROC-AUC 0.7000, its probabilities promise 0.8000; mean probability "
        "0.200, share of positives 0.310"
    )


def test_a_training_says_what_it_measured(pulse_ready: Ready, fitted: Fitted, found: dict[str, Any]) -> None:
    toy = pulse_ready.toy
    trained = train(fitted.usecase, toy.store, as_of=toy.as_of, cache=toy.cache)
    assert trained.manifest.metrics == found
    lines = said(found, len(fitted.test))
    assert trained.proof[2 : 2 + len(lines)] == lines
    assert "no leak found" in trained.proof[1]
    assert trained.manifest.fingerprint == toy.usecase.features.fingerprint
