"""The judge of counts: right where counting is easy, silent where chance explains it, and sure where it cannot."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from cli.rollout.counts import Counts
from cli.rollout.judging import CHECKS, LEVEL, Check, Limits, enough, judge, quantile
from serving.metrics import REQUEST, TWENTIETHS
from tests.effort import examples

LIMITS, LOOKS = Limits(errors=0.01, latency=1.5, scores=0.1, minimum=200), 24
SECONDS, SCORES = [*map(float, REQUEST), math.inf], [*map(float, TWENTIETHS), math.inf]


def buckets(values: Sequence[float] | NDArray[np.float64], bounds: Sequence[float]) -> dict[float, float]:
    """A histogram of values."""
    return {bound: float(np.count_nonzero(np.asarray(values) <= bound)) for bound in bounds}


def counts(rng: np.random.Generator, n: int, errors: float = 0.0, slower: float = 1.0, shift: float = 1.0) -> Counts:
    """What a server counts of n single predictions with that share of errors, so much slower, with other scores."""
    seconds = 0.003 * slower * np.exp(0.4 * rng.standard_normal(n))
    scores = rng.beta(1.0 * shift, 3.0, n)
    return Counts(n, rng.binomial(n, errors), buckets(seconds, SECONDS), buckets(scores, SCORES))


def verdicts(stable: Counts, canary: Counts) -> dict[str, str]:
    """By check."""
    return {check.name: check.verdict for check in judge(stable, canary, LIMITS, LOOKS)}


def named(checks: list[Check], name: str) -> Check:
    """That check."""
    return next(check for check in checks if check.name == name)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32), st.integers(200, 2_000), st.integers(200, 20_000), st.sampled_from([0.0, 0.002, 0.03]))
def test_a_canary_that_is_no_worse_is_good(seed: int, few: int, most: int, errors: float) -> None:
    rng = np.random.default_rng(seed)
    found = verdicts(counts(rng, most, errors), counts(rng, few, errors))
    assert found == {"errors": "good", "latency": "good", "scores": "good"}


@pytest.mark.parametrize(
    ("worse", "check"), [({"errors": 0.1}, "errors"), ({"slower": 4.0}, "latency"), ({"shift": 4.0}, "scores")]
)
def test_a_canary_that_is_clearly_worse_is_bad_and_for_that_alone(worse: dict[str, float], check: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = verdicts(counts(rng, 1_000), counts(rng, 300, **worse))
        assert {name for name, verdict in found.items() if verdict == "bad"} == {check}


def test_a_canary_as_bad_as_is_allowed_hardly_ever_fails() -> None:
    rng = np.random.default_rng(2)
    found = [verdicts(counts(rng, 2_000, 0.01), counts(rng, 400, 0.02)) for _ in range(200)]
    assert sum(one["errors"] == "bad" for one in found) <= 1


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(200, 5_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.integers(200, 50_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
)
def test_errors_are_certain_beyond_newcombes_interval(canary: tuple[int, int], stable: tuple[int, int]) -> None:
    level = LEVEL / CHECKS / LOOKS
    (n, a), (m, b) = canary, stable
    wide = {"confidence_level": 1 - 2 * level, "method": "wilson"}
    low = stats.binomtest(a, n).proportion_ci(**wide).low
    high = stats.binomtest(b, m).proportion_ci(**wide).high
    found = named(judge(Counts(m, b), Counts(n, a), LIMITS, LOOKS), "errors")
    assert found.shown == pytest.approx(a / n - b / m - math.hypot(a / n - low, high - b / m), abs=1e-9)
    assert (found.verdict == "bad") == (found.shown > LIMITS.errors)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(200, 4_000), st.integers(0, 200), st.integers(0, 4_000), st.integers(0, 200))
def test_more_errors_never_make_a_canary_better(n: int, stable: int, some: int, more: int) -> None:
    less = judge(Counts(3_000, stable), Counts(n, min(some, n)), LIMITS, LOOKS)
    worse = judge(Counts(3_000, stable), Counts(n, min(some + more, n)), LIMITS, LOOKS)
    assert worse[0].shown >= less[0].shown - 1e-12


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 3))
def test_the_distance_is_that_of_kolmogorov_and_smirnov(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.beta(shift, 3, 400), rng.beta(1, 3, 900)
    found = named(
        judge(Counts(scores=buckets(other, SCORES)), Counts(scores=buckets(one, SCORES)), LIMITS, LOOKS), "scores"
    )
    rounded = [np.ceil(values * 20) / 20 for values in (one, other)]
    distance = float(stats.ks_2samp(*rounded).statistic)
    told = re.match(r"distance ([\d.]+), of which", found.said)
    assert told
    assert float(told[1]) == pytest.approx(distance, abs=5.1e-4)  # three digits: half of the last, either way
    assert found.shown < distance


@pytest.mark.parametrize(("seconds", "verdict"), [(0.0047, "good"), (0.009, "good"), (0.04, "bad")])
def test_a_few_milliseconds_are_no_news(seconds: float, verdict: str) -> None:
    quick, slow = ([value] * 1_000 for value in (0.0014, seconds))
    stable, canary = Counts(seconds=buckets(quick, SECONDS)), Counts(seconds=buckets(slow, SECONDS))
    assert named(judge(stable, canary, LIMITS, LOOKS), "latency").verdict == verdict


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0.0001, 4.9), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_that_has_it(values: list[float], share: float) -> None:
    found = quantile(buckets(values, SECONDS), share)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    at = int(np.searchsorted(SECONDS, exact))
    assert ([0.0, *SECONDS][at]) <= found <= SECONDS[at] + 1e-12


def test_too_little_is_no_verdict() -> None:
    rng = np.random.default_rng(3)
    much, little = counts(rng, 1_000), counts(rng, 199, errors=1.0, slower=9.0, shift=9.0)
    assert set(verdicts(much, little).values()) == {"unknown"}
    assert set(verdicts(little, much).values()) == {"unknown"}
    assert not enough(much, little, LIMITS)
    assert set(verdicts(Counts(), Counts()).values()) == {"unknown"}


def test_what_one_version_does_not_tell_is_not_compared() -> None:
    rng = np.random.default_rng(4)
    older = Counts(1_000, 0, buckets(rng.random(1_000), [0.01, 0.1, 1, 5, math.inf]))
    found = verdicts(older, counts(rng, 500))
    assert found == {"errors": "good", "latency": "good", "scores": "unknown"}


def test_a_stable_version_beyond_all_bounds_is_nothing_to_compare_with() -> None:
    slow = Counts(500, 0, {1.0: 0, 5.0: 400, math.inf: 500})
    found = named(judge(slow, slow, LIMITS, LOOKS), "latency")
    assert found.verdict == "unknown"
    assert "beyond" in found.said
