"""What may go wrong, done to the rows of a population."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.drift.population import Frame, Generator, Population

Change = Callable[[Frame, Generator, Population], Frame]


@dataclass(frozen=True)
class Scenario:
    """A change of rows, and what is asked of the verdict: alarm in the first window, or within so many (p90)."""

    name: str
    change: Change
    rows: int = 1_000
    within: int = 1
    share: float = 0.99


def scaled(column: str, factor: float) -> Change:
    """A number is that many times as large."""

    def change(frame: Frame, _: Generator, __: Population) -> Frame:
        return {**frame, column: frame[column] * factor}

    return change


def mixed(column: str, level: str, points: float) -> Change:
    """A level has that many more rows per hundred."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        values = frame[column].copy()
        others = values != level
        values[others & (random.random(len(values)) < points / 100 / max(others.mean(), 1e-9))] = level
        return {**frame, column: values}

    return change


def flagged(column: str, before: float, after: float) -> Change:
    """A flag goes from one share of the rows to another."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        return {**frame, column: frame[column] | (random.random(len(frame[column])) < (after - before) / (1 - before))}

    return change


def missing(column: str, share: float) -> Change:
    """Values get lost."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        lost = random.random(len(frame[column])) < share
        values = frame[column].copy()
        values[lost] = np.nan if values.dtype.kind == "f" else None
        return {**frame, column: values}

    return change


def unit(column: str, factor: float, share: float) -> Change:
    """Some rows come in another unit."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        wrong = random.random(len(frame[column])) < share
        return {**frame, column: np.where(wrong, frame[column] * factor, frame[column])}

    return change


def unseen(column: str, share: float) -> Change:
    """A level that nobody has seen."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        values = frame[column].copy()
        values[random.random(len(values)) < share] = "brand new"
        return {**frame, column: values}

    return change


def torn(column: str) -> Change:
    """The same values, at other rows: what belonged together no longer does."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        return {**frame, column: random.permutation(frame[column])}

    return change


def shifted(logits: float) -> Change:
    """A bug of the model adds to every margin."""

    def change(frame: Frame, _: Generator, population: Population) -> Frame:
        margin = np.log(frame["score"] / (1 - frame["score"])) + logits
        score = 1 / (1 + np.exp(-margin))
        decision = np.where(score >= population.threshold, "act", "leave").astype(object)
        return {**frame, "score": score, "decision": decision}

    return change


def quieter(share: float) -> Change:
    """So few are acted on: the decision alone, as after a threshold that was changed."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        acted = frame["decision"] == "act"
        kept = random.random(len(acted)) < share / max(acted.mean(), 1e-9)
        return {**frame, "decision": np.where(acted & kept, "act", "leave").astype(object)}

    return change


def blinder(slope: float) -> Change:
    """The world goes by other rules: outcomes follow only a part of what the score says, around the same rate."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        margin = np.log(frame["score"] / (1 - frame["score"]))
        centre = margin.mean()
        truth = 1 / (1 + np.exp(-(centre + slope * (margin - centre))))
        return {**frame, "outcome": random.random(len(margin)) < truth}

    return change


def fewer(odds: float) -> Change:
    """Monthly customers, by other rules than before, have that much lower log-odds of the outcome."""

    def change(frame: Frame, random: Generator, _: Population) -> Frame:
        margin = np.log(frame["score"] / (1 - frame["score"])) - odds * (frame["contract"] == "monthly")
        return {**frame, "outcome": random.random(len(margin)) < 1 / (1 + np.exp(-margin))}

    return change


GROSS = (
    Scenario("mean of income x 1.3", scaled("income", 1.3)),
    Scenario("mean of income x 1.87", scaled("income", 1.87)),
    Scenario("contract mix + 15 points", mixed("contract", "monthly", 15)),
    Scenario("5 % of tenure missing", missing("tenure", 0.05)),
    Scenario("5 % of contract missing", missing("contract", 0.05)),
    Scenario("2 % of income x 100", unit("income", 100, 0.02)),
    Scenario("5 % of region unseen", unseen("region", 0.05)),
    Scenario("covariance only", torn("load")),
    Scenario("decisions 85 -> 97 % leave", quieter(0.03)),
    Scenario("200 rows: mean of income x 1.3", scaled("income", 1.3), rows=200, share=0.95),
    Scenario("200 rows: 5 % of tenure missing", missing("tenure", 0.05), rows=200, share=0.95),
    Scenario("200 rows: 5 % of region unseen", unseen("region", 0.05), rows=200, share=0.95),
)
SMALL = (
    Scenario("mean of income x 1.1", scaled("income", 1.1), within=3, share=0.9),
    Scenario("contract mix + 5 points", mixed("contract", "monthly", 5), within=9, share=0.9),
    Scenario("senior 20 -> 25 %", flagged("senior", 0.20, 0.25), within=13, share=0.9),
    Scenario("a score bug of .2 logit", shifted(0.2), within=7, share=0.9),
)
NAMED = {scenario.name: scenario for scenario in (*GROSS, *SMALL)}
