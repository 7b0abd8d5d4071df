"""What outcomes say: whether what became true, given the score, is still what became true in the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile import Profile
from monitoring.statistics import tails
from monitoring.statistics.inputs import Tested, effective, merge

ENOUGH = 25.0
"""Sum of n p (1 - p) from which on outcomes are judged: before, the normal approximation does not hold."""
TESTS = 3
Floats = NDArray[np.float64]


def tested(profile: Profile, outcomes: NDArray[np.int64]) -> Iterator[Tested]:
    """Level, slope and omnibus of outcomes (2, deciles) against those of the reference.

    Neighbouring deciles of the score are merged until each has `LEAST` of sum n p (1 - p): where next to nothing
    happens, the normal tail does not hold. Level: all of them together. Slope: weighted with their log-odds, centred,
    the score test of a logistic recalibration's slope (Cox 1958, "Two further applications of a model for binary
    regression"). Omnibus: the likelihood ratio of each, summed, one degree of freedom each.
    """
    then, now = profile.layout.outcomes(profile.counts).astype(np.float64), outcomes.astype(np.float64)
    there = (now.sum(axis=0) > 0) & (then.sum(axis=0) > 0)
    cells = [now.sum(axis=0)[there], then.sum(axis=0)[there], now[1][there], then[1][there]]
    n, size, _, before = cells
    base = (before + 0.5) / (size + 1)
    if float((n * base * (1 - base)).sum()) < ENOUGH:
        return
    rare = n * size / (n + size) * base * (1 - base)
    groups = merge(rare, ordered=True)
    n, size, y, before = (np.bincount(groups, one) for one in cells)
    rows, reference = float(n.sum()), float(size.sum())
    share = effective(rows, reference) * (rows + reference) / (rows * reference)
    n_eff, pooled = share * n * size / (n + size), (y + before + 0.5) / (n + size + 1)
    information, apart = n_eff * pooled * (1 - pooled), n_eff * (y / n - before / size)
    expected, happened = float((n @ (before / size)) / rows), float(y.sum() / rows)
    said: dict[str, Any] = {"column": "outcome", "track": "outcomes", "before": expected, "after": happened}
    moved = float(np.abs(y / n - before / size) @ n / rows)
    level = float(apart.sum() ** 2 / information.sum())
    yield Tested(test="level", effect=happened - expected, share=abs(happened - expected), statistic=level, **said)
    base = (before + 0.5) / (size + 1)
    odds = np.log(base / (1 - base))
    odds -= (information @ odds) / information.sum()
    weight = float(information @ odds**2)
    if weight > 1e-9:
        slope = float(apart @ odds)
        yield Tested(test="slope", effect=slope / weight, share=moved, statistic=slope**2 / weight, **said)
    if len(n) > 1:
        each = [
            tails.two_rates(*one) for one in zip(y.tolist(), n.tolist(), before.tolist(), size.tolist(), strict=True)
        ]
        omnibus, freedom = share * sum(each), float(len(n))
        yield Tested(test="omnibus", effect=moved, share=moved, statistic=omnibus, freedom=freedom, **said)
