"""The scorer: raw inputs in, the same answer out, whatever stands beside them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from features.aggregates import FeatureError
from model import gate
from model.golden import Inputs
from model.scorer import Calibration, Decision, Scorer
from tests.model.conftest import Model
from training.dataset import build, label_times


@pytest.fixture(params=["boosted", "linear"])
def model(request: pytest.FixtureRequest) -> tuple[Scorer, Inputs]:
    """A stored model and every raw input of its training set."""
    own: Model = request.getfixturevalue(request.param)
    toy = own.toy
    times = label_times(toy.usecase, toy.store, toy.as_of)
    dataset, _ = build(toy.usecase, toy.store, times, toy.as_of, toy.cache)
    return gate.load(own.directory, toy.usecase.features).scorer, dataset.inputs


def answers(scorer: Scorer, inputs: Inputs, rows: NDArray[np.intp]) -> tuple[bytes, bytes, bytes]:
    """Margins, probabilities and decisions, as bytes."""
    scores = inputs.take(rows).score(scorer)
    return scores.margin.tobytes(), scores.probability.tobytes(), scores.positive.tobytes()


def test_one_seven_and_all_rows_score_alike_to_the_last_bit_in_any_order(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    everyone = np.arange(len(inputs))
    whole = inputs.score(scorer)
    for size in (1, 7):
        parts = [answers(scorer, inputs, everyone[start : start + size]) for start in range(0, len(everyone), size)]
        joined = tuple(b"".join(part[i] for part in parts) for i in range(3))
        assert joined == (whole.margin.tobytes(), whole.probability.tobytes(), whole.positive.tobytes())
    order = np.random.default_rng(0).permutation(everyone)
    margins, probabilities, decisions = answers(scorer, inputs, order)
    assert margins == whole.margin[order].tobytes()
    assert probabilities == whole.probability[order].tobytes()
    assert decisions == whole.positive[order].tobytes()
    assert len(whole) == len(everyone)


def test_stored_features_score_as_their_raw_inputs_do(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    whole = inputs.score(scorer)
    again = scorer.score_features(whole.features)
    assert again.probability.tobytes() == whole.probability.tobytes()


def test_nobody_is_scored_as_nobody(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    assert len(inputs.take(np.array([], dtype=np.intp)).score(scorer)) == 0


def test_the_threshold_itself_is_positive(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    at = float(inputs.score(scorer).probability[0])
    for threshold, positive in ((at, True), (float(np.nextafter(at, 1)), False)):
        rule = Decision(threshold, "stay", "go", {})
        same = Scorer(scorer.features, scorer.model, scorer.calibration, rule)
        scores = inputs.take(np.array([0])).score(same)
        assert bool(scores.positive[0]) is positive
        assert same.label(bool(scores.positive[0])) == ("go" if positive else "stay")


def test_a_steep_calibration_saturates_without_a_warning(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    steep = Scorer(scorer.features, scorer.model, Calibration(1e300, 0.0), scorer.decision)
    probability = inputs.score(steep).probability
    assert set(np.unique(probability)) <= {0.0, 0.5, 1.0}
    assert np.isfinite(probability).all()


def test_an_infinite_feature_is_refused_by_name(model: tuple[Scorer, Inputs]) -> None:
    scorer, inputs = model
    features = inputs.score(scorer).features
    name = scorer.features.inputs[-1]
    features[name] = np.where(np.arange(len(inputs)) == 3, np.inf, features[name])
    with pytest.raises(FeatureError, match=f"feature '{name}' is inf in row 3"):
        scorer.score_features(features)
