"""The scorer: the only thing that turns features into an answer. Training, serving, batch and parity all call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.rows import Arrays
from model.estimators import Estimator
from model.explanation import Explanation
from model.numeric import Floats, sigmoid


@dataclass(frozen=True)
class Calibration:
    """Platt's calibration of a margin m: probability = sigmoid(slope * m + offset)."""

    slope: float
    offset: float


@dataclass(frozen=True)
class Decision:
    """The rule: `positive` where probability >= threshold, else `negative`; and the costs the threshold came from."""

    threshold: float
    negative: str
    positive: str
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Scores:
    """Answers of n rows: the features by name and as the model's matrix (n, p), margins and probabilities (float64),
    and whether to act (bool)."""

    features: Arrays
    matrix: Floats
    margin: Floats
    probability: Floats
    positive: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.margin)

    def cut(self, start: int, stop: int) -> Scores:
        """Rows [start, stop)."""
        here = slice(start, stop)
        features = {name: values[here] for name, values in self.features.items()}
        return Scores(features, self.matrix[here], self.margin[here], self.probability[here], self.positive[here])

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        """Rows behind one another, of at least one part."""
        features = {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features}
        return Scores(
            features,
            np.concatenate([part.matrix for part in parts]),
            np.concatenate([part.margin for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.positive for part in parts]),
        )


def answers(margin: Floats, calibration: Calibration, decision: Decision) -> tuple[Floats, NDArray[np.bool_]]:
    """Probabilities of margins, and whether to act on them."""
    probability = sigmoid(calibration.slope * margin + calibration.offset)
    return probability, probability >= decision.threshold


class Scorer:
    """A model, its calibration and its rule, on top of a feature set."""

    def __init__(self, features: FeatureSet, model: Estimator, calibration: Calibration, decision: Decision) -> None:
        self.features, self.model, self.calibration, self.decision = features, model, calibration, decision

    def score(
        self,
        aggregates: Mapping[str, np.ndarray[Any, Any]],
        attributes: Mapping[str, np.ndarray[Any, Any]],
        request_time: np.ndarray[Any, Any],
    ) -> Scores:
        """Answers of n rows, each the same to the last bit whatever the other rows are.

        Args:
            aggregates, attributes, request_time: as `FeatureSet.evaluate` takes them.

        Raises:
            FeatureError: if a row feature misbehaves or is infinite, naming it.
        """
        features = self.features.evaluate(aggregates, attributes, request_time)
        return self.score_features(features)

    def score_features(self, features: Arrays) -> Scores:
        """Answers from features that are already there, as a training set stores them."""
        matrix = self.features.matrix(features)
        margin = self.model.margin(matrix)
        return Scores(features, matrix, margin, *answers(margin, self.calibration, self.decision))

    def explain(self, scores: Scores) -> Explanation:
        """Why these rows have their margins: it costs some hundred times what the margins did.

        Raises:
            ArithmeticError: if a row's contributions are not finite, or do not add up to its margin.
        """
        columns, base = self.model.contributions(scores.matrix)
        return Explanation.of(self.features, scores.features, scores.margin, columns, base)

    def label(self, positive: bool) -> str:
        """The decision in words."""
        return self.decision.positive if positive else self.decision.negative
