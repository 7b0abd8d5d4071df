"""Metrics against slow oracles, and intervals that behave as intervals do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training import metrics

answers = st.lists(
    st.tuples(st.booleans(), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.2, 1 / 15, 14 / 15]))),
    min_size=1,
    max_size=60,
)


def arrays(rows: list[tuple[bool, float]]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels and probabilities."""
    label, probability = zip(*rows, strict=True)
    return np.array(label), np.array(probability)


def sample(n: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Overconfident answers: each probability is further from a half than the truth."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0.2, 0.8, n)
    return random.random(n) < truth, np.clip(2 * truth - 0.5, 0.001, 0.999)


@given(answers)
def test_ece_agrees_with_a_count_by_hand(rows: list[tuple[bool, float]]) -> None:
    bins: list[list[tuple[bool, float]]] = [[] for _ in range(15)]
    for label, probability in rows:
        bins[next(i for i in range(15) if i == 14 or int(probability * 15) == i)].append((label, probability))
    slow = 0.0
    for part in filter(None, bins):
        confidence = math.fsum(probability for _, probability in part) / len(part)
        accuracy = sum(label for label, _ in part) / len(part)
        slow += len(part) / len(rows) * abs(confidence - accuracy)
    assert metrics.ece(*arrays(rows)) == pytest.approx(slow, abs=1e-12)


@given(answers.filter(lambda rows: len({label for label, _ in rows}) == 2))
@settings(deadline=None)
def test_the_others_agree_with_their_definitions(rows: list[tuple[bool, float]]) -> None:
    found = metrics.measure(*arrays(rows))
    pairs = [(p, q) for up, p in rows if up for down, q in rows if not down]
    auc = sum(1.0 if p > q else 0.5 if p == q else 0.0 for p, q in pairs) / len(pairs)
    assert found["roc_auc"] == pytest.approx(auc, abs=1e-6)
    assert found["brier"] == pytest.approx(math.fsum((p - label) ** 2 for label, p in rows) / len(rows), abs=1e-6)
    if all(0.001 < p < 0.999 for _, p in rows):
        loss = -math.fsum(math.log(p if label else 1 - p) for label, p in rows) / len(rows)
        assert found["log_loss"] == pytest.approx(loss, abs=1e-6)
    assert set(found) == {"roc_auc", "pr_auc", "log_loss", "brier", "ece"}


def test_one_answer_for_all_is_perfectly_calibrated_at_the_share() -> None:
    assert metrics.ece(np.arange(100) < 30, np.full(100, 0.3)) == pytest.approx(0, abs=1e-12)
    assert metrics.ece(np.arange(100) < 30, np.full(100, 0.5)) == pytest.approx(0.2)


@pytest.mark.parametrize("seed", range(3))
def test_intervals_contain_the_estimate_and_are_reproducible(seed: int) -> None:
    label, probability = sample(800, seed)
    found, measured = metrics.intervals(label, probability, draws=60), metrics.measure(label, probability)
    for name, (low, high) in found.items():
        assert low <= measured[name] <= high, name
        assert low < high, name
    assert metrics.intervals(label, probability, draws=60) == found
    assert metrics.intervals(label, probability, draws=60, seed=1) != found


@pytest.mark.parametrize("ties", [1, 20, 1_000])
def test_intervals_are_those_of_every_draw_measured_anew(ties: int) -> None:
    label, probability = sample(300, 2)
    probability = np.round(probability * ties) / ties
    random = np.random.default_rng(0)
    draws = [random.integers(0, 300, 300) for _ in range(40)]
    slow = [
        {name: metric(label[rows], probability[rows]) for name, metric in metrics.METRICS.items()} for rows in draws
    ]
    found = metrics.intervals(label, probability, draws=40)
    for name, interval in found.items():
        assert interval == pytest.approx(np.quantile([one[name] for one in slow], [0.025, 0.975]), abs=2e-6), name


def test_intervals_shrink_as_examples_are_added() -> None:
    widths = []
    for n in (300, 4_800):
        found = metrics.intervals(*sample(n, 5), draws=60)
        widths.append({name: high - low for name, (low, high) in found.items()})
    for name in widths[0]:
        assert widths[1][name] < widths[0][name] / 2, name  # a quarter in theory


def test_a_rare_outcome_is_in_every_draw() -> None:
    label, probability = np.arange(200) == 7, np.linspace(0, 1, 200)
    low, high = metrics.intervals(label, probability, draws=30)["roc_auc"]
    assert 0 <= low <= high < 0.1


@pytest.mark.parametrize("outcome", [True, False])
def test_intervals_of_one_outcome_are_refused_instead_of_drawn_for_ever(outcome: bool) -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        metrics.intervals(np.full(10, outcome), np.linspace(0, 1, 10))


def test_metrics_are_rounded_to_six_digits() -> None:
    found: dict[str, Any] = metrics.measure(*sample(500, 1))
    assert all(value == round(value, 6) for value in found.values())


def test_differences_are_of_the_same_draws() -> None:
    label, probability = sample(300, 4)
    drawn = metrics.resampled(label, {"one": probability, "same": probability, "flat": np.full(300, 0.4)}, draws=30)
    for name in metrics.METRICS:
        assert (drawn["one"][name] == drawn["same"][name]).all()
        assert drawn["one"][name].std() > 0
    assert (drawn["flat"]["roc_auc"] == 0.5).all()
    assert metrics.interval(drawn["one"]["brier"]) == metrics.intervals(label, probability, draws=30)["brier"]


def test_paired_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    grid = np.linspace(0.2, 0.8, 10_001)
    sharp, flat = np.clip(2 * grid - 0.5, 0.001, 0.999), 0.5 + (grid - 0.5) / 2
    truth = float(np.mean(sharp**2 - flat**2 - 2 * grid * (sharp - flat)))  # of the Brier score, label by label
    held, apart = 0, []
    for seed in range(100):
        label, one = sample(250, seed)
        other = 0.5 + np.clip((one + 0.5) / 2 - 0.5, -0.3, 0.3) / 2
        drawn = metrics.resampled(label, {"one": one, "other": other}, draws=100)
        low, high = metrics.interval(drawn["one"]["brier"] - drawn["other"]["brier"])
        held += low <= truth <= high
        apart.append((high - low) / np.diff(metrics.interval(drawn["one"]["brier"]))[0])
    assert 87 <= held <= 99
    assert np.mean(apart) < 1  # what both have in common is no noise


@given(answers.filter(lambda rows: 0 < sum(p for _, p in rows) < len(rows)))
def test_what_is_promised_is_what_right_probabilities_would_give(rows: list[tuple[bool, float]]) -> None:
    label, probability = arrays(rows)
    pairs = [(p * (1 - q), 1.0 if p > q else 0.5 if p == q else 0.0) for p in probability for q in probability]
    slow = math.fsum(weight * won for weight, won in pairs) / math.fsum(weight for weight, _ in pairs)
    found = metrics.Sample(label, probability).promised(np.arange(len(rows)))
    assert found == pytest.approx(slow, abs=1e-9)
