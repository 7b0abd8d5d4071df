"""Tail probabilities against independent ways to have them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitoring.statistics.tails import excess, noncentral, two_sample
from tests.effort import examples


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(1, 60), st.integers(1, 200), st.data())
def test_the_excess_is_fishers_exact_test(n: int, size: int, data: st.DataObject) -> None:
    x, r = data.draw(st.integers(0, n)), data.draw(st.integers(0, size))
    exact = stats.fisher_exact([[x, n - x], [r, size - r]], alternative="greater").pvalue
    found = excess(x, n, r, size, 0.0)
    assert found == pytest.approx(exact, rel=1e-6) or (found == 1.0 and exact > 1e-3)


def test_the_floor_takes_its_share_of_the_rows_off() -> None:
    assert excess(11, 10_000, 0, 100_000, 0.001) == pytest.approx(excess(1, 10_000, 0, 100_000, 0.0))
    assert excess(10, 10_000, 0, 100_000, 0.001) == 1.0


@pytest.mark.parametrize("freedom", [1, 2, 19])
@pytest.mark.parametrize("floor", [0.5, 9.0])
def test_noncentral_tails_are_the_mixture_of_central_ones(freedom: int, floor: float) -> None:
    x = float(stats.chi2.isf(1e-6, freedom)) + floor
    weights = [math.exp(-floor / 2 + j * math.log(floor / 2) - math.lgamma(j + 1)) for j in range(150)]
    mixture = sum(weight * stats.chi2.sf(x, freedom + 2 * j) for j, weight in enumerate(weights))
    assert noncentral(np.array([x]), np.array([float(freedom)]), np.array([floor]))[0] == pytest.approx(
        mixture, rel=1e-6
    )


def test_enormous_statistics_have_no_chance_and_small_ones_every() -> None:
    p = noncentral(np.array([1e6, 0.0, 1e6, 0.0]), np.array([1.0, 1.0, 19.0, 19.0]), np.array([1.0] * 4))
    assert p.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_the_statistic_is_that_of_the_likelihood_ratio_but_for_the_correction() -> None:
    c, r = np.array([1_200.0, 900, 900]), np.array([10_500.0, 10_000, 9_500])
    known = stats.chi2_contingency(np.array([c, r]), correction=False, lambda_="log-likelihood").statistic
    assert two_sample(c, r, c.sum(), r.sum()) == pytest.approx(known, rel=1e-3)
    assert two_sample(c, r, c.sum(), r.sum()) < known


def test_its_tail_holds_for_small_cells() -> None:
    random = np.random.default_rng(5)
    share = np.full(20, 0.05)
    reference = random.multinomial(20_000, share).astype(float)
    found = [two_sample(random.multinomial(200, share).astype(float), reference, 200, 20_000) for _ in range(20_000)]
    often = np.mean(np.array(found) > stats.chi2.isf(1e-3, 19))
    assert often < 2.5e-3
