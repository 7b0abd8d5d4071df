"""Curves for plots, as short lists of plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.numeric import Floats
from training.fit import Labels

POINTS, BARS = 100, 20


def curve(label: Labels, probability: Floats) -> dict[str, list[float]]:
    """What is found among those with the highest probabilities: at most 101 points, from none of n examples to all.

    `share` of the examples, `recall` (share of the positives among them), `fallout` (share of the negatives),
    `precision` (share of positives: of nobody, that of the first point after it) and `threshold`, the lowest
    probability among them (1 for nobody); equal probabilities stay together. recall over fallout is the ROC curve,
    precision over recall the PR curve, recall over share the cumulative gain, whose lift is recall / share.
    """
    order = np.argsort(-probability, kind="stable")
    ranked, n = probability[order], len(label)
    found = np.cumsum(label[order])
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), n - 1)  # of each run of equal ones
    wanted = np.linspace(0, n, POINTS + 1)[1:] - 1
    at = np.unique(last[np.searchsorted(last, wanted - 0.5)])
    positive = int(found[-1])
    precision = found[at] / (at + 1)
    columns = {
        "share": np.append(0, (at + 1) / n),
        "recall": np.append(0, found[at] / positive),
        "fallout": np.append(0, (at + 1 - found[at]) / (n - positive)),
        "precision": np.append(precision[:1], precision),
        "threshold": np.append(1, ranked[at]),
    }
    return {name: [round(float(value), 5) for value in values] for name, values in columns.items()}


def histogram(label: Labels, probability: Floats) -> dict[str, list[int]]:
    """How many examples have a probability in each of 20 equal parts of 0 to 1, by outcome."""
    place = np.minimum((probability * BARS).astype(int), BARS - 1)
    counts: dict[str, Any] = {"negative": place[~label], "positive": place[label]}
    return {name: np.bincount(values, minlength=BARS).tolist() for name, values in counts.items()}
