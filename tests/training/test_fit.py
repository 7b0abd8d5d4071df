"""Fitting: whatever the columns hold, the fitted numbers are usable, reproducible and calibrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from features.contract import Contract
from features.featureset import FeatureSet
from model.estimators import Boosted
from model.numeric import sigmoid
from tests.model.toys import plan, pulse
from training import fit
from usecases import Costs


class Two(Contract):
    """Two numbers that may be missing."""

    first: float | None
    second: float | None


FEATURES = FeatureSet(attributes=Two, inputs=("first", "second"))


def data(second: Any, rows: int = 1_200) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`first` decides, with noise; `second` is as given."""
    random = np.random.default_rng(0)
    first = random.normal(size=rows)
    label = random.random(rows) < 1 / (1 + np.exp(-2 * first))
    return np.stack([first, np.broadcast_to(second, rows)], axis=1), label


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1e9 + 0.1, -7.7])
def test_a_constant_column_has_no_say_when_it_moves(constant: float) -> None:
    matrix, label = data(constant)
    model = fit.logistic(FEATURES, matrix, label)
    moved = matrix.copy()
    moved[:, 1] = constant + 0.5
    # rounding makes a constant's deviation 1e-17 and not 0: divided by that, a new value would decide everything
    np.testing.assert_allclose(model.margin(moved), model.margin(matrix), atol=0.05)


def test_a_column_that_is_missing_everywhere_is_fitted_by_both() -> None:
    matrix, label = data(np.nan)
    linear = fit.logistic(FEATURES, matrix, label)
    boosted = fit.boosted(FEATURES, matrix[:800], label[:800], matrix[800:], label[800:])
    for margin in (linear.margin(matrix), boosted.margin(matrix)):
        assert np.isfinite(margin).all()
        assert np.corrcoef(margin, matrix[:, 0])[0, 1] > 0.8
    assert np.isfinite([*linear.fill, *linear.mean, *linear.scale, *linear.coefficients, linear.intercept]).all()


def test_a_missing_value_is_fitted_as_the_median() -> None:
    second = np.where(np.arange(1_200) % 3 == 0, np.nan, np.arange(1_200) % 7)
    matrix, label = data(second)
    model = fit.logistic(FEATURES, matrix, label)
    assert model.fill[1] == np.median(second[~np.isnan(second)])


def test_the_exported_numbers_answer_as_scikit_learn_does() -> None:
    matrix, label = data(np.arange(1_200) % 11)
    model = fit.logistic(FEATURES, matrix, label)
    standard = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    own = LogisticRegression(C=fit.PENALTY, max_iter=5_000).fit(standard, label)
    np.testing.assert_allclose(sigmoid(model.margin(matrix)), own.predict_proba(standard)[:, 1], rtol=1e-9)


def test_trees_are_the_same_whatever_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, label = data(np.arange(1_200) % 11)
    parts = matrix[:800], label[:800], matrix[800:], label[800:]
    one = fit.boosted(FEATURES, *parts)
    monkeypatch.setattr(fit, "ONE_THREAD", 0)
    monkeypatch.setattr(fit, "ROUNDS", one.booster.num_boosted_rounds())
    more = fit.boosted(FEATURES, *parts)
    assert isinstance(more, Boosted)
    assert one.booster.save_raw("ubj") == more.booster.save_raw("ubj")


def test_what_is_fitted_is_what_was_asked_for() -> None:
    first, label = data(np.arange(1_200) % 11)
    matrix = np.repeat(first[:, :1], len(pulse().features.columns), axis=1)
    parts = (matrix[:800], label[:800]), (matrix[800:], label[800:])
    own = pulse()  # whose names are as many as there are columns
    stumps = fit.scorer("xgboost", own, *parts, parameters={**fit.PARAMETERS, "max_depth": 1}).model
    assert isinstance(stumps, Boosted)
    assert {tree.count("\n") for tree in stumps.booster.get_dump()} == {3}
    loose, tight = (
        fit.scorer("logistic", own, *parts, parameters={"C": penalty, "penalty": "l2"}).model.margin(matrix)
        for penalty in (10.0, 1e-4)
    )
    assert loose.std() > 5 * tight.std()


def test_calibration_undoes_a_known_distortion() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=60_000)
    label = random.random(60_000) < 1 / (1 + np.exp(-truth))
    found = fit.calibrate((truth - 0.7) * 3, label)  # truth = margin / 3 + 0.7
    assert found.slope == pytest.approx(1 / 3, abs=0.01)
    assert found.offset == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("outcome", [True, False])
def test_calibration_on_one_outcome_is_refused(outcome: bool) -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        fit.calibrate(np.linspace(-1, 1, 20), np.full(20, outcome))


@pytest.mark.parametrize(
    ("costs", "threshold"),
    [
        (Costs(contact=2, loss=25, rescued=0.1), 0.8),
        (Costs(contact=1, loss=20, rescued=0.2), 0.25),
        (Costs(contact=9, loss=1, rescued=0.5), 1.0),
        (Costs(contact=0, loss=1, rescued=0.5), 0.0),
    ],
)
def test_acting_pays_from_the_threshold_on(costs: Costs, threshold: float) -> None:
    rule = fit.decision(replace(plan(), costs=costs))
    assert rule.threshold == pytest.approx(threshold)
    assert (rule.negative, rule.positive) == plan().decisions
    assert dict(rule.costs) == {"contact": costs.contact, "loss": costs.loss, "rescued": costs.rescued}
