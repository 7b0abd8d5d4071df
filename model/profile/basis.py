"""Directions in which the spread of a number is tested apart: its location and its width."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def midranks(counts: NDArray[Any]) -> NDArray[np.float64]:
    """The first two orthonormal polynomials of the mid-rank over these cells: (2, k), each of mean 0 and variance 1
    under `counts`; zeros where the cells do not carry them (Neyman 1937, "Smooth test for goodness of fit").
    """
    total = float(counts.sum())
    if total <= 0:
        return np.zeros((2, len(counts)))
    share = counts / total
    rank = np.cumsum(share) - share / 2
    first = _normed(rank - share @ rank, share)
    square = first**2
    second = _normed(square - share @ square - (share @ (square * first)) * first, share)
    return np.stack([first, second])


def _normed(values: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    variance = float(share @ values**2)
    return values / np.sqrt(variance) if variance > 1e-9 else np.zeros_like(values)
