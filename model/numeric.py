"""Arithmetic that gives the same bits for one row and for a million, and a probe that tells where it does.

No BLAS: a matrix product's last bits depend on the number of rows. numpy's exp and log depend on the processor's
features, which `settings.pin_environment` fixes.
"""

from __future__ import annotations

import hashlib
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sigmoid(margin: Floats) -> Floats:
    """1 / (1 + exp(-margin)), float64 of n, without overflow."""
    small = np.exp(-np.abs(np.ascontiguousarray(margin)))
    return np.where(margin >= 0, 1 / (1 + small), small / (1 + small))


def linear(matrix: Floats, coefficients: list[float], intercept: float) -> Floats:
    """intercept + sum of column * coefficient, added column by column in order. `matrix` is (n, p), the answer n."""
    margin = np.full(len(matrix), intercept)
    for column, coefficient in zip(matrix.T, coefficients, strict=True):
        margin += column * coefficient
    return margin


def ulps(a: Floats, b: Floats) -> NDArray[np.uint64]:
    """How many steps between neighbouring float64 lead from a to b, elementwise; 0.0 and -0.0 are one."""
    ordered = [np.where(bits < 0, np.int64(-(2**63)) - bits, bits) for bits in (a.view(np.int64), b.view(np.int64))]
    return np.asarray(np.maximum(*ordered).view(np.uint64) - np.minimum(*ordered).view(np.uint64))


def baseline() -> dict[str, Any]:
    """This machine's numeric baseline: the digest of elementary functions on fixed inputs, and what it is."""
    grid = np.linspace(-30, 30, 4_001)
    positive = np.abs(grid) + 1e-9
    values = [np.exp(grid), np.log(positive), np.log1p(positive), np.sqrt(positive), np.expm1(grid), sigmoid(grid)]
    digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
    return {"machine": platform.machine(), "probe": digest[:16]}
