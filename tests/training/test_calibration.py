"""Calibration: intervals against published values, slope and intercept found in other ways, bins by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from training.calibration import calibration, curve, wilson


def told(n: int, seed: int, steep: float, shift: float = 0.0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Outcomes of probabilities whose log-odds are told `steep` times too steep, and `shift` too high."""
    random = np.random.default_rng(seed)
    logit = random.normal(-0.5, 1, n)
    return random.random(n) < 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(-(steep * logit + shift)))


@pytest.mark.parametrize(
    ("positive", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_s_table(positive: int, n: int, low: float, high: float) -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion (Statistics in Medicine 1998), table I
    assert wilson(positive, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(n - positive, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("steep", "shift"), [(1.0, 0.0), (2.0, 0.0), (0.5, 0.3), (1.0, -0.7)])
def test_slope_and_intercept_agree_with_other_ways(steep: float, shift: float) -> None:
    label, probability = told(2_000, 3, steep, shift)
    logit = np.log(probability / (1 - probability))
    slope = LogisticRegression(C=1e9, tol=1e-9).fit(logit[:, None], label).coef_[0, 0]
    low, high = -9.0, 9.0
    for _ in range(60):  # the shift at which as many are expected as there are
        middle = (low + high) / 2
        few = (1 / (1 + np.exp(-(middle + logit)))).sum() < label.sum()
        low, high = (middle, high) if few else (low, middle)
    found = calibration(label, probability)
    assert found["slope"]["value"] == pytest.approx(slope, abs=1e-4)
    assert found["intercept"]["value"] == pytest.approx(low, abs=1e-5)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = {"slope": 0, "intercept": 0}
    for seed in range(200):
        found = calibration(*told(400, seed, 2.0))
        held["slope"] += found["slope"]["interval"][0] <= 0.5 <= found["slope"]["interval"][1]
        right = calibration(*told(400, seed, 1.0))
        held["intercept"] += right["intercept"]["interval"][0] <= 0 <= right["intercept"]["interval"][1]
    assert all(180 <= times <= 199 for times in held.values()), held


def test_an_outcome_that_is_told_without_an_error_has_no_slope() -> None:
    label = np.arange(100) < 40
    assert calibration(label, np.where(label, 0.9, 0.1))["slope"] is None
    assert calibration(label, label.astype(np.float64))["slope"] is None
    assert calibration(label, np.full(100, 0.5))["slope"] is None
    assert calibration(label, np.full(100, 0.5))["intercept"]["value"] == pytest.approx(np.log(40 / 60), abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.1000001, 0.5, 0.9, 1.0])), min_size=1))
def test_bins_hold_every_example_once_and_equal_probabilities_together(rows: list[tuple[bool, float]]) -> None:
    label, probability = (np.array(column) for column in zip(*rows, strict=True))
    found = curve(label, probability)
    assert sum(one["n"] for one in found) == len(rows)
    assert sum(one["n"] * one["share"] for one in found) == pytest.approx(label.sum(), abs=1e-4 * len(rows))
    means = [one["probability"] for one in found]
    assert means == sorted(means)
    assert len(found) <= min(10, len(set(probability.tolist())))
    assert all(one["interval"][0] <= one["share"] <= one["interval"][1] for one in found)


def test_bins_of_many_different_probabilities_are_tenths() -> None:
    random = np.random.default_rng(0)
    found = curve(random.random(1_000) < 0.5, random.random(1_000))
    assert [one["n"] for one in found] == [100] * 10
