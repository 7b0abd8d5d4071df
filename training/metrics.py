"""How good probabilities are, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from model.metrics import BINS, auc, bins, losses
from model.numeric import Floats
from training.fit import Labels

DRAWS = 200
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
    gap = np.bincount(bins(probability), probability - label, minlength=BINS)
    return float(np.abs(gap).sum() / len(label))


def measure(label: Labels, probability: Floats) -> dict[str, float]:
    """Every metric, rounded to 6 digits."""
    return {name: round(float(metric(label, probability)), 6) for name, metric in METRICS.items()}


def intervals(label: Labels, probability: Floats, draws: int = DRAWS, seed: int = 0) -> dict[str, list[float]]:
    """95 % percentile bootstrap over rows: metric -> [low, high], rounded to 6 digits.

    ECE is a sum of absolute values, so resampling biases its interval upward: read it as an upper bound.

    Raises:
        ValueError: if `label` has only one outcome.
    """
    drawn = resampled(label, {"": probability}, draws, seed)[""]
    return {name: interval(values) for name, values in drawn.items()}


def resampled(
    label: Labels, answers: Mapping[str, Floats], draws: int = DRAWS, seed: int = 0
) -> dict[str, dict[str, Floats]]:
    """Every metric of each answer in `draws` draws, float64: name -> metric -> one value per draw.

    All answers are measured on the same draws, so that their differences are paired.
    """
    samples = {name: Sample(label, probability) for name, probability in answers.items()}
    drawn = [{name: sample.measure(rows) for name, sample in samples.items()} for rows in redrawn(label, draws, seed)]
    return {name: {metric: np.array([one[name][metric] for one in drawn]) for metric in METRICS} for name in samples}


def redrawn(label: Labels, draws: int = DRAWS, seed: int = 0) -> Iterator[np.ndarray[Any, Any]]:
    """Positions of n rows drawn with replacement, `draws` times, each time with both outcomes among them.

    Raises:
        ValueError: if `label` has only one outcome.
    """
    if label.all() or not label.any():
        raise ValueError("intervals need both outcomes among the labels")
    random = np.random.default_rng(seed)
    for _ in range(draws):
        rows = random.integers(0, len(label), len(label))
        while label[rows].all() or not label[rows].any():
            rows = random.integers(0, len(label), len(label))
        yield rows


def interval(values: Floats) -> list[float]:
    """The middle 95 % of draws, rounded to 6 digits."""
    return [round(float(q), 6) for q in np.quantile(values, [0.025, 0.975])]


class Sample:
    """Every metric of rows drawn from a sample, in a twentieth of the time of METRICS: what a draw does not change, the
    order of the probabilities and each row's own loss, is found once."""

    def __init__(self, label: Labels, probability: Floats) -> None:
        self.label, self.bins = label, bins(probability)
        self.probability, self.gap = probability, probability - label
        levels, self.level = np.unique(-probability, return_inverse=True)  # from the most certain down, ties together
        self.levels = len(levels)
        self.loss = losses(label, probability)

    def auc(self, rows: np.ndarray[Any, Any]) -> float:
        """ROC-AUC of the sample's `rows`."""
        return auc(*self._counts(rows))

    def promised(self, rows: np.ndarray[Any, Any]) -> float:
        """The ROC-AUC to expect of the sample's `rows` if every probability is right, however alike the rows are: the
        model-based concordance (van Klaveren et al., Statistics in Medicine 2016)."""
        level, p = self.level[rows], self.probability[rows]
        return auc(*(np.bincount(level, weight, minlength=self.levels) for weight in (p, 1 - p)))

    def measure(self, rows: np.ndarray[Any, Any]) -> dict[str, float]:
        """Metrics of the sample's `rows`."""
        gap, (right, wrong) = self.gap[rows], self._counts(rows)
        found, false = np.cumsum(right), np.cumsum(wrong)
        some = found + false > 0
        precision = found[some] / (found + false)[some]
        return {
            "roc_auc": auc(right, wrong),
            "pr_auc": float((right[some] * precision).sum() / found[-1]),
            "log_loss": float(self.loss[rows].mean()),
            "brier": float(np.square(gap).mean()),
            "ece": float(np.abs(np.bincount(self.bins[rows], gap, minlength=BINS)).sum() / len(rows)),
        }

    def _counts(self, rows: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        label, level = self.label[rows], self.level[rows]
        return np.bincount(level[label], minlength=self.levels), np.bincount(level[~label], minlength=self.levels)
