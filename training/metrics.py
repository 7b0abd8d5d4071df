"""How good probabilities are, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

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
    if label.all() or not label.any():
        raise ValueError("intervals need both outcomes among the labels")
    random = np.random.default_rng(seed)
    drawn = {name: np.empty(draws) for name in METRICS}
    for draw in range(draws):
        rows = random.integers(0, len(label), len(label))
        while label[rows].all() or not label[rows].any():
            rows = random.integers(0, len(label), len(label))
        for name, metric in METRICS.items():
            drawn[name][draw] = metric(label[rows], probability[rows])
    return {name: [round(float(q), 6) for q in np.quantile(values, [0.025, 0.975])] for name, values in drawn.items()}
