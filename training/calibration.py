"""Whether probabilities are what happens: the calibration curve, its slope and its intercept."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from model.numeric import Floats
from training.fit import Labels

BINS = 10
Z = 1.959964
"""Of 95 %, two-sided."""


def calibration(label: Labels, probability: Floats) -> dict[str, Any]:
    """Of n examples with both outcomes, as plain values rounded to 6 digits:

    - curve: about 10 bins of equal size by probability, equal probabilities together: mean probability, share of
      positives with Wilson's 95 % interval, n;
    - slope: b of logit P(true) = a + b logit(p), 1 if right, below it where probabilities are too extreme;
    - intercept: a of logit P(true) = a + logit(p), 0 if right, above it where they are too low on the whole
      (Van Calster et al., J Clin Epidemiol 2016, levels "weak" and "mean"), each with a 95 % interval (Wald);
      None where an outcome is told without an error, as no slope is steep enough then.
    """
    tiny = np.finfo(np.float64).eps
    clipped = np.clip(probability, tiny, 1 - tiny)
    logit = np.log(clipped) - np.log1p(-clipped)
    return {
        "curve": curve(label, probability),
        "slope": _fitted(label, np.zeros(len(label)), logit),
        "intercept": _fitted(label, logit, None),
    }


def curve(label: Labels, probability: Floats) -> list[dict[str, Any]]:
    """The bins of `calibration`, from the lowest probability up."""
    cuts = np.quantile(probability, np.arange(1, BINS) / BINS, method="inverted_cdf")
    place = np.searchsorted(np.unique(cuts), probability, side="left")
    told = []
    for one in np.unique(place):
        here = place == one
        n, positive = int(here.sum()), int(label[here].sum())
        told.append(
            {
                "probability": round(float(probability[here].mean()), 6),
                "share": round(positive / n, 6),
                "interval": [round(bound, 6) for bound in wilson(positive, n)],
                "n": n,
            }
        )
    return told


def wilson(positive: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 1927)."""
    share, z2 = positive / n, Z**2 / n
    middle, half = share + z2 / 2, Z * sqrt(share * (1 - share) / n + z2 / n / 4)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def _fitted(label: Labels, offset: Floats, slope: Floats | None) -> dict[str, Any] | None:
    """The last coefficient of a logistic regression on 1 and, if given, `slope`, by Newton's method."""
    columns = [np.ones(len(label))] if slope is None else [np.ones(len(label)), slope]
    found = np.zeros(len(columns)) if slope is None else np.array([0.0, 1.0])
    for _ in range(50):
        margin = offset + sum(c * b for c, b in zip(columns, found, strict=True))
        p = 1 / (1 + np.exp(-np.clip(margin, -700, 700)))
        weight = p * (1 - p)
        gradient = np.array([float((c * (label - p)).sum()) for c in columns])
        hessian = np.array([[float((c * d * weight).sum()) for d in columns] for c in columns])
        if np.linalg.det(hessian) <= 1e-9 * len(label):
            return None
        step = np.linalg.solve(hessian, gradient)
        found = found + step
        if np.abs(step).max() < 1e-9:
            half = Z * sqrt(np.linalg.inv(hessian)[-1, -1])
            value = float(found[-1])
            return {"value": round(value, 6), "interval": [round(value - half, 6), round(value + half, 6)]}
    return None
