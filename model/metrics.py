"""How good probabilities are: what measuring a model in training and watching it later have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.numeric import Floats

BINS = 15
"""Bins of equal width that calibration is measured in."""


def bins(probability: Floats) -> NDArray[Any]:
    """In which of the `BINS` each is, int64 of n."""
    return np.asarray(np.minimum((probability * BINS).astype(int), BINS - 1))


def losses(label: NDArray[np.bool_], probability: Floats) -> Floats:
    """Log loss of each row, float64 of n; a certainty is off by one step of float64, so that none is infinite."""
    tiny = np.finfo(probability.dtype).eps
    clipped = np.clip(probability, tiny, 1 - tiny)
    return -np.log(np.where(label, clipped, 1 - clipped))


def auc(right: NDArray[Any], wrong: NDArray[Any]) -> float:
    """ROC-AUC from how many positives and negatives each level of the answers has, from the highest down; a tie is half
    a win. There is at least one of each."""
    false = np.cumsum(wrong)
    return float((right * (false[-1] - false + wrong / 2)).sum() / (right.sum() * false[-1]))
