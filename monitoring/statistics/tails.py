"""Tail probabilities behind verdicts; every formula has its source."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]


def two_sample(c: Floats, r: Floats, n: float, size: float) -> float:
    """The likelihood-ratio statistic G2 of two samples' cells: counts c of n rows and r of `size` rows, both (k,).

    It has k - 1 degrees of freedom where the samples are of one distribution (Wilks 1938); corrected for small cells as
    by Williams 1976 ("Improved likelihood ratio tests for complete contingency tables"). Pearson's statistic of the
    same cells is larger for a rare cell that fills up, and its tail far too heavy there: with five expected rows a p of
    1e-6 is one of 7e-5.
    """
    total = n + size
    both = (c + r) / total
    there = both > 0
    if not there.all():
        c, r, both = c[there], r[there], both[there]
    if len(c) < 2:
        return 0.0
    statistic = float(2 * (special.xlogy(c, c / (n * both)) + special.xlogy(r, r / (size * both))).sum())
    rows, cells = total / n + total / size - 1, float((1 / both).sum()) - 1
    return max(statistic, 0.0) / (1 + rows * cells / (6 * total * (len(c) - 1)))


def two_rates(x: float, n: float, r: float, size: float) -> float:
    """The same of two cells: x of n rows, and r of `size` rows; in plain numbers, for there are many such tests."""
    total, both = n + size, x + r
    rest = total - both
    if not both or not rest:
        return 0.0
    statistic = 0.0
    for count, rows, cell in ((x, n, both), (r, size, both), (n - x, n, rest), (size - r, size, rest)):
        if count:
            statistic += count * math.log(count * total / (rows * cell))
    cells = total / both + total / rest - 1
    return max(2 * statistic, 0.0) / (1 + (total / n + total / size - 1) * cells / (6 * total))


def noncentral(statistic: Floats, freedom: Floats, floor: Floats) -> Floats:
    """P(X >= statistic) for X noncentral chi-square with that many degrees of freedom and noncentrality `floor`: the
    chance that samples whose distributions differ by the floor look as different as these.

    For one degree of freedom it is the two tails of a normal variable around sqrt(floor), in closed form.
    """
    one = freedom == 1
    root, shift = np.sqrt(statistic), np.sqrt(floor)
    p = special.ndtr(shift - root) + special.ndtr(-shift - root)
    many = ~one & (statistic > freedom + floor)
    if many.any():
        p[many] = stats.ncx2.sf(statistic[many], freedom[many], np.maximum(floor[many], 1e-12))
    p[~one & ~many] = 1.0
    clipped: Floats = np.clip(np.nan_to_num(p, nan=0.0), 0.0, 1.0)
    return clipped


def excess(x: float, n: float, r: float, size: float, floor: float) -> float:
    """P(X >= x - floor * n): how likely so many of n rows are, where r of `size` rows were, if both are draws from one
    urn (Fisher's exact test, the hypergeometric tail), after `floor`, a share of the rows, has been taken off.
    """
    x, n = np.floor(x - np.ceil(floor * n)), np.floor(n)
    r, size = np.ceil(r), np.ceil(size)
    if x <= 0 or x / n <= r / size:
        return 1.0
    if x * size < 2 * n * max(r, 1) and (x - n * r / size) ** 2 < 4 * n * r / size:
        return 1.0  # within two standard errors: no tail worth the sum
    return float(min(stats.hypergeom.sf(x - 1, n + size, r + x, n), 1.0))
