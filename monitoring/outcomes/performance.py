"""How good answers turned out, with 95 % intervals, and how good they promise to be before anything is known of them.

Realised metrics are about answers whose outcomes are known. Their intervals take answers for independent of each other:
of keys that are asked for often they are too narrow. Where those who are flagged are acted upon, and the action helps,
their outcomes are no longer what was predicted: precision then falls with success.

Expected metrics are about scores alone, and are what realised ones come to if every score is the probability it says it
is. So they see a change of who asks, but neither a change of how inputs and outcomes belong together (concept drift)
nor a model that is badly calibrated: of those only outcomes tell. NannyML calls them CBPE.

A fact of kind "performance", per model and window, and one of all windows so far:

    {"model": TAG, "window": NUMBER, or None for all so far, "rows": answers read in it,
     "labelled": outcomes counted in it, "positives": of those,
     "metrics": {NAME: {"value", "low", "high", "expected", "ahead"}}}

NAME is one of `METRICS`; each figure is a float or None. `value` (with its interval from `low` to `high`) is of the
answers whose outcomes were counted in the window, whenever they were given; `expected` is of the very same answers,
from their scores alone; `ahead` likewise of all answers read in the window. Where `expected` lies outside of the
interval, scores are no longer the probabilities they say they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from model.metrics import auc
from monitoring.outcomes.tally import ONE, SUMS, Tally
from usecases import Costs

METRICS = ("roc_auc", "log_loss", "brier", "ece", "rate", "flagged", "precision", "recall", "cost")
"""Rate: of positives among outcomes; flagged: of positive decisions; precision, recall: of those decisions; cost: per
answer, in the currency of the use case's costs."""
LEVEL = 0.95
_TAIL = (1 + LEVEL) / 2
_Z = float(stats.norm.ppf(_TAIL))


@dataclass(frozen=True)
class Estimate:
    """A metric and its interval; None where nothing can be said."""

    value: float
    low: float | None
    high: float | None


def fact(model: str, window: int | None, answers: Tally, labelled: Tally, costs: Costs) -> dict[str, Any]:
    """What is published of a window: the dict above, figures rounded to 6 digits.

    Args:
        answers: of all that were read in it; labelled: of those whose outcomes were counted in it.
    """
    found, same, ahead = realised(labelled, costs), expected(labelled, costs), expected(answers, costs)

    def told(name: str) -> dict[str, float | None]:
        one = found.get(name)
        figures = {
            "value": None if one is None else one.value,
            "low": None if one is None else one.low,
            "high": None if one is None else one.high,
            "expected": same.get(name),
            "ahead": ahead.get(name),
        }
        return {which: None if figure is None else round(figure, 6) for which, figure in figures.items()}

    return {
        "model": model,
        "window": window,
        "rows": answers.rows,
        "labelled": labelled.rows,
        "positives": int(labelled.positives.sum()),
        "metrics": {name: told(name) for name in METRICS},
    }


def realised(tally: Tally, costs: Costs) -> dict[str, Estimate]:
    """Every metric that outcomes tell, by name; those that nothing can be said of are left out.

    - roc_auc: levels of `Tally` as ties; the variance is DeLong's (DeLong et al., Biometrics 1988), the interval is of
      its log odds, with t of Satterthwaite's degrees of freedom (Brunner & Munzel, Biometrical Journal 2000). Of a
      perfect order it is exact: k disjoint pairs that all are in order (Clopper & Pearson 1934), k the rarer outcomes;
    - log_loss, brier, cost: means over rows, with t intervals;
    - ece: as in training, off by no more than the noise sum s_b |Z_b| / n, by the triangle inequality; s_b is what the
      positives of a bin vary by, their rate as Agresti and Coull have it (2 more of each outcome), and the noise's
      quantile that of a normal distribution. Wide, but it holds where ECE is nearly 0, and a bootstrap does not;
    - rate, flagged, precision, recall: Wilson's score intervals (JASA 1927).
    """
    n = tally.rows
    if not n:
        return {}
    (_, fn), (fp, tp) = tally.decided[:, :, 0].tolist()
    sums = {name: int(total) / ONE for name, total in zip(SUMS, tally.sums.tolist(), strict=True)}
    paid = np.array([0, costs.loss, costs.contact, costs.contact + (1 - costs.rescued) * costs.loss])
    spent = tally.decided[:, :, 0].ravel()
    found = {
        "roc_auc": _auc(tally),
        "log_loss": _mean(n, sums["loss"], sums["loss_squared"]),
        "brier": _mean(n, sums["square"], sums["square_squared"]),
        "ece": _ece(tally),
        "rate": _share(tp + fn, n),
        "flagged": _share(tp + fp, n),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "cost": _mean(n, float(paid @ spent), float(paid**2 @ spent)),
    }
    return {name: one for name, one in found.items() if one is not None}


def expected(tally: Tally, costs: Costs) -> dict[str, float]:
    """Every metric as scores promise it, by name; ECE is 0 by assumption, and is left out.

    With p of a row as the chance that it is positive: roc_auc as if it were positive p times and negative 1 - p times
    (the model-based concordance: van Klaveren et al., Statistics in Medicine 2016), log_loss the mean of
    -p log p - (1 - p) log(1 - p), brier of p (1 - p), rate of p; the four counts of decisions and outcomes as sums of p
    and 1 - p, and of them precision, recall and cost.
    """
    n = tally.rows
    if not n:
        return {}
    rows, mass = tally.levels[0].astype(float), tally.levels[1] / ONE
    flagged, (fn, tp) = tally.decided[1, :, 0].sum(), tally.decided[:, :, 1].sum(axis=1) / ONE
    sums = dict(zip(SUMS, (tally.sums / ONE).tolist(), strict=True))
    paid = costs.contact * flagged + costs.loss * (fn + (1 - costs.rescued) * tp)
    asked: dict[str, Callable[[], float]] = {
        "roc_auc": lambda: auc(mass[::-1], (rows - mass)[::-1]) if 0 < mass.sum() < n else math.nan,
        "log_loss": lambda: sums["entropy"] / n,
        "brier": lambda: sums["variance"] / n,
        "rate": lambda: (tp + fn) / n,
        "flagged": lambda: flagged / n,
        "precision": lambda: tp / flagged if flagged else math.nan,
        "recall": lambda: tp / (tp + fn) if tp + fn else math.nan,
        "cost": lambda: paid / n,
    }
    found = {name: float(ask()) for name, ask in asked.items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _auc(tally: Tally) -> Estimate | None:
    right = tally.positives
    wrong = tally.levels[0] - right
    m, n = int(right.sum()), int(wrong.sum())
    if not (m and n):
        return None
    value = auc(right[::-1], wrong[::-1])
    if value in (0, 1):
        short = 1 - (1 - _TAIL) ** (1 / min(m, n))
        return Estimate(value, value and 1 - short, value or short)
    if min(m, n) < 2:
        return Estimate(value, None, None)
    wins = (np.cumsum(wrong) - wrong / 2) / n  # of a positive of each level, against all negatives
    losses_ = (np.cumsum(right[::-1])[::-1] - right / 2) / m
    a = float((right * (wins - value) ** 2).sum()) / (m - 1) / m
    b = float((wrong * (losses_ - value) ** 2).sum()) / (n - 1) / n
    if not a + b:
        return Estimate(value, value, value)
    freedom = (a + b) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1))
    reach = float(stats.t.ppf(_TAIL, freedom)) * math.sqrt(a + b) / (value * (1 - value))
    odds = math.log(value / (1 - value))
    return Estimate(value, 1 / (1 + math.exp(reach - odds)), 1 / (1 + math.exp(-reach - odds)))


def _ece(tally: Tally) -> Estimate:
    rows, positives, mass = tally.reliability
    n, rate = int(rows.sum()), (positives + 2) / (rows + 4)
    value = float(np.abs(mass / ONE - positives).sum()) / n
    deviation = np.sqrt(rows * rate * (1 - rate))
    mean, variance = math.sqrt(2 / math.pi) * deviation.sum(), (1 - 2 / math.pi) * (deviation**2).sum()
    noise = float(mean + _Z * math.sqrt(variance)) / n
    return Estimate(value, max(0.0, value - noise), min(1.0, value + noise))


def _mean(n: int, total: float, squares: float) -> Estimate:
    mean = total / n
    if n < 2:
        return Estimate(mean, None, None)
    spread = math.sqrt(max(squares / n - mean**2, 0) / (n - 1))
    reach = float(stats.t.ppf(_TAIL, n - 1)) * spread
    return Estimate(mean, mean - reach, mean + reach)


def _share(some: int, of: int) -> Estimate | None:
    if not of:
        return None
    span = stats.binomtest(some, of).proportion_ci(LEVEL, method="wilson")
    return Estimate(some / of, float(span.low), float(span.high))
