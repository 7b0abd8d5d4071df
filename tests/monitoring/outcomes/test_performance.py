"""Performance: against scikit-learn, slow oracles and simulated truths; from counts that add up in any order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn

from monitoring.outcomes.performance import METRICS, expected, fact, realised
from monitoring.outcomes.tally import Tally
from training import metrics as training
from usecases import Costs

COSTS = Costs(contact=2.0, loss=25.0, rescued=0.1)
THRESHOLD = 0.3
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

rows = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.3, 1 / 15, 5e-324])), st.booleans(), st.booleans()
    ),
    max_size=40,
)


def arrays(given_rows: list[tuple[float, bool, bool]]) -> tuple[Floats, Flags, Flags]:
    """Scores, flags, outcomes."""
    score, flagged, outcome = zip(*given_rows, strict=True) if given_rows else ((), (), ())
    return np.array(score, float), np.array(flagged, bool), np.array(outcome, bool)


def world(n: int, centre: float, random: np.random.Generator, slope: float = 1.0) -> tuple[Floats, Flags]:
    """Scores and outcomes; with a slope of 1 each score is its outcome's probability."""
    odds = random.normal(centre, 1.2, n)
    return 1 / (1 + np.exp(-slope * odds)), random.random(n) < 1 / (1 + np.exp(-odds))


def tally(score: Floats, outcome: Flags | None) -> Tally:
    """Of answers decided at the threshold."""
    return Tally.of(score, score >= THRESHOLD, outcome)


@given(rows, st.integers(0, 40), st.randoms(use_true_random=False))
def test_a_tally_is_the_sum_of_its_parts_in_any_order(
    given_rows: list[tuple[float, bool, bool]], cut: int, random: Any
) -> None:
    whole = Tally.of(*arrays(given_rows))
    shuffled = random.sample(given_rows, len(given_rows))
    parts = Tally.of(*arrays(shuffled[cut:])) + Tally.of(*arrays(shuffled[:cut]))
    assert whole == parts
    assert whole.rows == len(given_rows)
    assert Tally.read(whole.text()) == whole
    assert realised(whole, COSTS) == realised(parts, COSTS)


def test_what_is_no_tally_is_refused() -> None:
    for text in ("", "c", Tally.empty().text()[:-5]):
        with pytest.raises(ValueError, match=r"tally|base85"):
            Tally.read(text)


@given(rows.filter(bool))
@settings(deadline=None)
def test_every_metric_agrees_with_scikit_learn(given_rows: list[tuple[float, bool, bool]]) -> None:
    score, flagged, outcome = arrays(given_rows)
    found = realised(Tally.of(score, flagged, outcome), COSTS)
    oracles = {
        "log_loss": sklearn.log_loss(outcome, score, labels=[False, True]),
        "brier": float(np.mean((score - outcome) ** 2)),
        "ece": training.ece(outcome, score),
        "rate": outcome.mean(),
        "flagged": flagged.mean(),
    }
    if flagged.any():
        oracles["precision"] = sklearn.precision_score(outcome, flagged)
    if outcome.any():
        oracles["recall"] = sklearn.recall_score(outcome, flagged)
    for name, value in oracles.items():
        assert found[name].value == pytest.approx(value, abs=1e-7), name
    contact, kept = COSTS.contact, COSTS.loss * (1 - COSTS.rescued)
    paid = [
        contact + kept * y if acted else COSTS.loss * y for acted, y in zip(flagged, outcome.astype(float), strict=True)
    ]
    assert found["cost"].value == pytest.approx(np.mean(paid))
    assert ("roc_auc" in found) == (0 < outcome.sum() < len(outcome))
    for one in found.values():
        assert one.low is None or one.high is None or one.low <= one.value + 1e-12 <= one.high + 2e-12


@pytest.mark.parametrize("centre", [-6.0, -3.0, -1.0, 2.0])
def test_roc_auc_of_levels_is_that_of_scores_and_so_is_its_interval(centre: float) -> None:
    score, outcome = world(5_000, centre, np.random.default_rng(int(centre) + 9))
    found = realised(tally(score, outcome), COSTS)["roc_auc"]
    assert found.value == pytest.approx(sklearn.roc_auc_score(outcome, score), abs=3e-4)
    up, down = score[outcome], score[~outcome]
    wins = (up[:, None] > down) + (up[:, None] == down) / 2  # DeLong's placements, pair by pair
    deviation = math.sqrt(wins.mean(axis=1).var(ddof=1) / len(up) + wins.mean(axis=0).var(ddof=1) / len(down))
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(deviation, rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random, draws = np.random.default_rng(7), 300
    for n, centre, slope in ((300, -1.2, 1.0), (300, -2.0, 1.5)):
        score, outcome = world(400_000, centre, random, slope)
        flagged = score >= THRESHOLD
        kept = COSTS.contact + (1 - COSTS.rescued) * COSTS.loss * outcome
        truth = {
            **training.measure(outcome, score),
            "rate": outcome.mean(),
            "flagged": flagged.mean(),
            "precision": outcome[flagged].mean(),
            "recall": flagged[outcome].mean(),
            "cost": np.where(flagged, kept, COSTS.loss * outcome).mean(),
        }
        hits = dict.fromkeys(METRICS, 0)
        for _ in range(draws):
            drawn = random.integers(0, len(score), n)
            for name, one in realised(tally(score[drawn], outcome[drawn]), COSTS).items():
                assert one.low is not None
                assert one.high is not None
                hits[name] += one.low <= truth[name] <= one.high
        least, most = 0.905 * draws, 0.985 * draws  # 95 % less and plus 3 standard errors
        for name, often in hits.items():
            assert often >= least, (name, often)
            assert often <= most or name == "ece", (name, often)  # it is wide by design


@pytest.mark.parametrize("pairs", [1, 2, 5, 40])
def test_a_perfect_order_says_no_more_than_so_few_pairs_can(pairs: int) -> None:
    score, outcome = np.linspace(0.1, 0.9, 2 * pairs), np.arange(2 * pairs) >= pairs
    best, worst = (realised(tally(score, told), COSTS)["roc_auc"] for told in (outcome, ~outcome))
    assert (best.value, best.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert best.low is not None
    assert worst.high is not None
    assert best.low**pairs == pytest.approx(0.025)  # how likely so many pairs in order are, were it the truth
    assert 1 - worst.high == pytest.approx(best.low)


def test_expected_is_what_comes_to_pass_where_scores_are_right() -> None:
    score, outcome = world(300_000, -1.2, np.random.default_rng(3))
    found, truth = expected(tally(score, None), COSTS), realised(tally(score, outcome), COSTS)
    assert set(found) == set(METRICS) - {"ece"}
    for name, value in found.items():
        one = truth[name]
        assert one.low is not None
        assert one.high is not None
        assert abs(value - one.value) < one.high - one.low, name  # four standard errors
    assert found == expected(tally(score, outcome), COSTS)  # outcomes do not change it


def test_expected_auc_is_the_model_based_concordance_pair_by_pair() -> None:
    score, _ = world(400, -1.2, np.random.default_rng(4))
    weight = score[:, None] * (1 - score)
    wins = (score[:, None] > score) + (score[:, None] == score) / 2
    slow = float((weight * wins).sum() / weight.sum())
    assert expected(tally(score, None), COSTS)["roc_auc"] == pytest.approx(slow, abs=1e-4)


def test_expected_is_blind_where_inputs_and_outcomes_no_longer_belong_together() -> None:
    random = np.random.default_rng(5)
    score, _ = world(5_000, -1.2, random)
    told = fact("m:1", 3, tally(score, None), tally(score, random.random(5_000) < 0.25), COSTS)
    auc, loss = told["metrics"]["roc_auc"], told["metrics"]["log_loss"]
    assert auc["low"] < 0.5 < auc["high"] < auc["expected"] == auc["ahead"]
    assert loss["expected"] < loss["low"]
    assert (told["model"], told["window"], told["rows"], told["labelled"]) == ("m:1", 3, 5_000, 5_000)


def test_of_nothing_nothing_is_said() -> None:
    told = fact("m:1", None, Tally.empty(), Tally.empty(), COSTS)
    assert set(told["metrics"]) == set(METRICS)
    assert {value for figures in told["metrics"].values() for value in figures.values()} == {None}
    one = realised(tally(np.array([0.4]), np.array([True])), COSTS)
    assert one["log_loss"].value == pytest.approx(-math.log(0.4))
    assert (one["log_loss"].low, one["log_loss"].high) == (None, None)
    assert "roc_auc" not in one
