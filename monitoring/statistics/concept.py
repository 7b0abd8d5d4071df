"""What outcomes say: whether what became true, given the score, is still what became true in the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile import Profile
from monitoring.statistics.inputs import Tested, effective

ENOUGH = 25.0
"""Sum of n p (1 - p) from which on outcomes are judged: before, the normal approximation does not hold."""
TESTS = 3
Floats = NDArray[np.float64]


def tested(profile: Profile, outcomes: NDArray[np.int64]) -> Iterator[Tested]:
    """Level, slope and omnibus of outcomes (2, deciles) against those of the reference.

    Per decile of the score, z is how far the share that happened is from the reference's, in standard errors of the
    difference. Level: all deciles together. Slope: weighted with the log-odds of the decile, centred: the score test of
    a logistic recalibration's slope (Cox 1958, "Two further applications of a model for binary regression"). Omnibus:
    the sum of the squares, one degree of freedom each.
    """
    then = profile.layout.outcomes(profile.counts).astype(np.float64)
    now = outcomes.astype(np.float64)
    n, size = now.sum(axis=0), then.sum(axis=0)
    there = (n > 0) & (size > 0)
    if not there.any():
        return
    n, size, y, before = n[there], size[there], now[1][there], then[1][there]
    base = (before + 0.5) / (size + 1)
    pooled = (y + before + 0.5) / (n + size + 1)
    rows, reference = float(n.sum()), float(size.sum())
    n_eff = n * size / (n + size) * effective(rows, reference) * (rows + reference) / (rows * reference)
    information = n_eff * pooled * (1 - pooled)
    if float((n * base * (1 - base)).sum()) < ENOUGH:
        return
    apart = n_eff * (y / n - before / size)
    odds = np.log(base / (1 - base))
    odds -= (information @ odds) / information.sum()
    was, now_ = float(before.sum() / size.sum()), float(y.sum() / n.sum())
    expected = float((n @ (before / size)) / n.sum())
    said: dict[str, Any] = {
        "column": "outcome",
        "track": "outcomes",
        "before": expected,
        "after": now_,
    }
    level = float(apart.sum() ** 2 / information.sum())
    yield Tested(test="level", effect=now_ - expected, share=abs(now_ - expected), statistic=level, **said)
    weight = float(information @ odds**2)
    if weight > 1e-9:
        slope = float(apart @ odds)
        yield Tested(test="slope", effect=slope / weight, share=abs(now_ - was), statistic=slope**2 / weight, **said)
    usable = information >= 1
    if usable.sum() > 1:
        omnibus = float((apart[usable] ** 2 / information[usable]).sum())
        moved = float(np.abs(y / n - before / size) @ n / n.sum())
        freedom = float(usable.sum())
        yield Tested(test="omnibus", effect=moved, share=moved, statistic=omnibus, freedom=freedom, **said)
