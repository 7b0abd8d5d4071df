"""How good probabilities are, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from model.numeric import Floats
from training.fit import Labels

BINS = 15
METRICS: dict[str, Callable[[Labels, Floats], float]] = {
    "roc_auc": roc_auc_score,
    "pr_auc": average_precision_score,
    "log_loss": lambda label, p: log_loss(label, p, labels=[False, True]),
    "brier": brier_score_loss,
    "ece": lambda label, p: ece(label, p),
}
"""Of n labels and n probabilities: scikit-learn's ROC-AUC, average precision, log loss, Brier score; ECE as below."""


def ece(label: Labels, probability: Floats) -> float:
    """Expected calibration error: mean over 15 equal-width bins of |mean probability - share of true|, by rows.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equation 3.
    """
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    gap = np.bincount(place, probability - label, minlength=BINS)
    return float(np.abs(gap).sum() / len(label))


def measure(label: Labels, probability: Floats) -> dict[str, float]:
    """Every metric, rounded to 6 digits."""
    return {name: round(float(metric(label, probability)), 6) for name, metric in METRICS.items()}


def intervals(label: Labels, probability: Floats, draws: int = 200, seed: int = 0) -> dict[str, list[float]]:
    """95 % percentile bootstrap over rows: metric -> [low, high], rounded to 6 digits.

    ECE is a sum of absolute values, so resampling biases its interval upward: read it as an upper bound.

    Raises:
        ValueError: if `label` has only one outcome.
    """
    sample = _Sample(label, probability)
    drawn = [sample.measure(rows) for rows in _drawn(label, draws, seed)]
    return {name: _interval([one[name] for one in drawn]) for name in METRICS}


@dataclass(frozen=True)
class Difference:
    """How far a metric of one model lies above that of another on the same rows: the difference itself, its 95 %
    percentile interval and its standard error, both bootstrapped over rows."""

    difference: float
    interval: list[float]
    error: float


def paired(label: Labels, first: Floats, second: Floats, draws: int = 400, seed: int = 0) -> dict[str, Difference]:
    """Metrics of the probabilities `first` less those of `second`, float64 of n each, on the same rows in each draw.

    Raises:
        ValueError: if `label` has only one outcome.
    """
    one, other = _Sample(label, first), _Sample(label, second)
    drawn = []
    for rows in _drawn(label, draws, seed):
        above, below = one.measure(rows), other.measure(rows)
        drawn.append({name: above[name] - below[name] for name in METRICS})
    above, below = measure(label, first), measure(label, second)
    return {
        name: Difference(
            round(above[name] - below[name], 6),
            _interval([values[name] for values in drawn]),
            round(float(np.std([values[name] for values in drawn])), 6),
        )
        for name in METRICS
    }


def _drawn(label: Labels, draws: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """Rows drawn with replacement, as many as there are, with both outcomes among them."""
    if label.all() or not label.any():
        raise ValueError("intervals need both outcomes among the labels")
    random = np.random.default_rng(seed)
    for _ in range(draws):
        rows = random.integers(0, len(label), len(label))
        while label[rows].all() or not label[rows].any():
            rows = random.integers(0, len(label), len(label))
        yield rows


def _interval(values: Sequence[float]) -> list[float]:
    return [round(float(q), 6) for q in np.quantile(values, [0.025, 0.975])]


class _Sample:
    """Every metric of rows drawn from a sample, in a twentieth of the time of METRICS: what a draw does not change, the
    order of the probabilities and each row's own loss, is found once."""

    def __init__(self, label: Labels, probability: Floats) -> None:
        self.label, self.bins = label, np.minimum((probability * BINS).astype(int), BINS - 1)
        self.gap = probability - label
        levels, self.level = np.unique(-probability, return_inverse=True)  # from the most certain down, ties together
        self.levels = len(levels)
        tiny = np.finfo(probability.dtype).eps
        clipped = np.clip(probability, tiny, 1 - tiny)
        self.loss = -np.log(np.where(label, clipped, 1 - clipped))

    def measure(self, rows: np.ndarray[Any, Any]) -> dict[str, float]:
        """Metrics of the sample's `rows`."""
        label, level, gap = self.label[rows], self.level[rows], self.gap[rows]
        right = np.bincount(level[label], minlength=self.levels)
        wrong = np.bincount(level[~label], minlength=self.levels)
        found, false = np.cumsum(right), np.cumsum(wrong)
        some = found + false > 0
        precision = found[some] / (found + false)[some]
        return {
            "roc_auc": float((right * (false[-1] - false + wrong / 2)).sum() / (found[-1] * false[-1])),
            "pr_auc": float((right[some] * precision).sum() / found[-1]),
            "log_loss": float(self.loss[rows].mean()),
            "brier": float(np.square(gap).mean()),
            "ece": float(np.abs(np.bincount(self.bins[rows], gap, minlength=BINS)).sum() / len(rows)),
        }
