"""How much of the outcome probabilities know, and how far they are off, with chance taken off both."""

from __future__ import annotations

import math

import numpy as np

from model.numeric import Floats, sigmoid
from training import metrics
from training.comparison import Examples
from training.fit import Labels, calibrate

TINY = 1e-9


def excess_ece(label: Labels, probability: Floats, draws: int = 100, seed: int = 0) -> float:
    """ECE less what a perfectly calibrated model with these probabilities would show on as many examples: the mean ECE
    of labels drawn from the probabilities themselves (Brocker and Smith 2007, Increasing the Reliability of Reliability
    Diagrams, section 3: consistency resampling); rounded to 6 digits."""
    random = np.random.default_rng(seed)
    chance = [metrics.ece(random.random(len(label)) < probability, probability) for _ in range(draws)]
    return round(metrics.ece(label, probability) - float(np.mean(chance)), 6)


def skill(label: Labels, probability: Floats) -> float:
    """The share of the log loss of knowing only how many are positive that the probabilities spare, after they are
    calibrated to these very examples by Platt's two numbers, so that it is about telling examples apart: McFadden's
    pseudo-R2 (1974, Conditional logit analysis of qualitative choice behavior)."""
    return 1 - float(_losses(label, probability).mean()) / _nothing(label)


def skill_lost(common: Examples) -> tuple[float, float]:
    """Which share of the second one's skill the first one lacks, and its standard error over the examples, each of
    which has its own loss by either; both 0 where the second one has none to lose."""
    apart = _losses(common.label, common.first) - _losses(common.label, common.second)
    its = skill(common.label, common.second) * _nothing(common.label)
    if its <= 0:
        return 0.0, 0.0
    return float(apart.mean() / its), float(apart.std() / len(apart) ** 0.5 / its)


def _losses(label: Labels, probability: Floats) -> Floats:
    """Of each example, after calibration."""
    inside = np.clip(probability, TINY, 1 - TINY)
    margin = np.log(inside / (1 - inside))
    found = calibrate(margin, label)
    calibrated = np.full(len(label), label.mean())  # of who ranks upside down: that knows nothing that helps
    if found.slope > 0:
        calibrated = np.clip(sigmoid(found.slope * margin + found.offset), TINY, 1 - TINY)
    return -np.log(np.where(label, calibrated, 1 - calibrated))


def _nothing(label: Labels) -> float:
    """Log loss of the share of positives."""
    share = float(label.mean())
    return -(share * math.log(share) + (1 - share) * math.log(1 - share))
