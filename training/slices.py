"""How good a model is for parts of the customers, and for which it is worse than for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np

from features.featureset import FeatureSet
from model.numeric import Floats
from training.fit import Labels
from training.metrics import DRAWS, Sample, interval, measure, redrawn
from usecases import Slice

ROWS, LEAST = 200, 20
"""Examples that a part needs to be measured, and of either outcome."""
METRICS = ("roc_auc", "log_loss", "ece")
TESTED = ("short", "shorter", "off")
LEVEL = 0.05
"""Probability of naming any part at all where the model is as good for every one."""


@dataclass(frozen=True)
class Part:
    """Some of the examples: what they have in common, in words, and which they are (bool of n)."""

    feature: str
    part: str
    rows: np.ndarray[Any, Any]


def parts(
    slices: tuple[Slice, ...], features: FeatureSet, values: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[Part]:
    """The parts of each slice that have an example, in declared order; what is missing comes last."""
    for one in slices:
        told, column = values[one.feature], features.fields.get(one.feature)
        pieces: list[tuple[str, np.ndarray[Any, Any]]]
        if column is not None and column.kind == "category":
            pieces = [(level, told == level) for level in column.levels] + [("missing", told == "")]
        elif column is not None and column.kind == "flag":
            pieces = [("yes", told == 1), ("no", told == 0), ("missing", told != told)]
        else:
            edges = [-np.inf, *one.at, np.inf]
            names = [f"< {one.at[0]:g}", *(f"{a:g} to < {b:g}" for a, b in zip(one.at, one.at[1:], strict=False))]
            names.append(f">= {one.at[-1]:g}")
            bounds = zip(names, edges, edges[1:], strict=False)
            pieces = [(name, (told >= low) & (told < high)) for name, low, high in bounds]
            pieces.append(("missing", told != told))
        yield from (Part(one.feature, name, rows) for name, rows in pieces if rows.any())


def measured(found: list[Part], label: Labels, probability: Floats) -> list[dict[str, Any]]:
    """Of each part: feature, part, n, share of positives, mean probability, and each of METRICS with a 95 % bootstrap
    interval; None, and the `reason`, where the part is too small for it.

    `promised` is the ROC-AUC that the part's probabilities would have if they were right. `worse` says what is
    significantly worse in the part than in all examples: "ranking" where the ROC-AUC falls short of what is promised,
    and further than that of all; "level" where mean probability and share of positives are further apart. These are
    differences over the same draws against their standard deviation, with Bonferroni's share of `LEVEL` each. The
    metrics themselves are not compared: customers who are alike are harder to rank, rarer outcomes have a lower log
    loss, and few examples a higher ECE, whatever the model.
    """
    small = [_small(label[one.rows]) for one in found]
    places, samples = [], []
    for one in found:
        place = np.full(len(label), -1)
        place[one.rows] = np.arange(one.rows.sum())
        places.append(place)
        samples.append(Sample(label[one.rows], probability[one.rows]))
    whole, gap = Sample(label, probability), probability - label
    tested = [number for number, reason in enumerate(small) if reason is None]
    drawn: dict[int, list[dict[str, float]]] = {number: [] for number in tested}
    for rows in redrawn(label, DRAWS) if tested else ():
        all_short, all_gap = whole.promised(rows) - whole.auc(rows), float(gap[rows].mean())
        for number in tested:
            own = places[number][rows]
            own, sample = own[own >= 0], samples[number]
            values = sample.measure(own)
            short = sample.promised(own) - values["roc_auc"]
            off = float(sample.gap[own].mean()) - all_gap
            drawn[number].append(values | {"short": short, "shorter": short - all_short, "off": off})
    everyone = np.arange(len(label))
    all_short, all_gap = whole.promised(everyone) - whole.auc(everyone), float(gap.mean())
    told: list[dict[str, Any]] = []
    for number, one in enumerate(found):
        own_gap = float(gap[one.rows].mean())
        about: dict[str, Any] = {
            "feature": one.feature,
            "part": one.part,
            "n": int(one.rows.sum()),
            "share": round(float(label[one.rows].mean()), 6),
            "probability": round(float(probability[one.rows].mean()), 6),
            "reason": small[number],
        }
        if number not in drawn:
            told.append({**about, **dict.fromkeys((*METRICS, "promised")), "worse": []})
            continue
        of = {name: np.array([draw[name] for draw in drawn[number]]) for name in (*METRICS, *TESTED)}
        values = measure(label[one.rows], probability[one.rows])
        promised = samples[number].promised(np.arange(about["n"]))
        short = promised - values["roc_auc"]
        level = LEVEL / len(tested) / 2
        ranking = max(_tail(short, of["short"]), _tail(short - all_short, of["shorter"]))
        worse = ["ranking"] if ranking < level else []
        if abs(own_gap) > abs(all_gap) and 2 * _tail(abs(own_gap - all_gap), of["off"]) < level:
            worse.append("level")
        metrics = {name: {"value": values[name], "interval": interval(of[name])} for name in METRICS}
        told.append({**about, **metrics, "promised": round(promised, 6), "worse": worse})
    return told


def _small(label: Labels) -> str | None:
    """Why a part is not measured, or None."""
    positive = int(label.sum())
    if len(label) < ROWS:
        return f"fewer than {ROWS} examples"
    if min(positive, len(label) - positive) < LEAST:
        return f"{positive:,} of {len(label):,} are positive: fewer than {LEAST} of one outcome"
    return None


def _tail(value: float, drawn: Floats) -> float:
    """One-sided p of a difference whose standard deviation is that of its draws."""
    deviation = float(drawn.std())
    return 0.5 * erfc(value / deviation / sqrt(2)) if deviation > 0 else 1.0
