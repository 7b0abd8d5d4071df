"""The measurements: alarms without drift, alarms in the first window, windows until an alarm, and what it costs."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.drift.population import Frame, Population
from benchmarks.drift.scenarios import NAMED, Change, blinder, fewer
from monitoring import Profile, Window, judge

REFERENCE, LARGE = 20_000, 100_000
"""Rows of a reference; and of one that is large enough for small shifts: it is half of what a test compares."""


@dataclass(frozen=True)
class Quiet:
    """Windows without drift: of so many rows, each a day of a year whose weekdays differ by `season`, or of no day."""

    name: str
    rows: int
    season: float = 0.0
    outcomes: bool = False
    reference: int = REFERENCE


QUIET = (
    Quiet("no drift, 1,000 rows", 1_000),
    Quiet("no drift, 200 rows", 200),
    Quiet("no drift, 5,000 rows", 5_000),
    Quiet("no drift, weekly season", 1_000, season=1.0, reference=30_000),
    Quiet("no drift, with outcomes", 1_000, outcomes=True, reference=LARGE),
)


def without(frame: Frame, *names: str) -> Frame:
    """The frame less these columns."""
    return {name: values for name, values in frame.items() if name not in names}


def quiet(case: Quiet, windows: int, seed: int) -> tuple[int, int]:
    """Alarmed windows, and windows, of one population against one reference."""
    population, random = Population(seed), np.random.default_rng([seed, 3])
    left = () if case.outcomes else ("outcome",)
    days = 42 if case.season else 0
    profile = Profile.from_frame(without(population.reference(case.reference, random, days, case.season), *left))
    ring: list[Window] = []
    alarms = 0
    for number in range(windows):
        day = np.full(case.rows, 1_000 + number) if days else None
        frame = population.draw(case.rows, random, day, case.season)
        ring = [*ring, Window.from_frame(profile, without(frame, *left))][-28:]
        alarms += judge(profile, ring).alarm
    return alarms, windows


def first(name: str, streams: int, seed: int) -> tuple[int, int]:
    """Of a scenario: how often the first window alarms, and of how many, of one population."""
    scenario = NAMED[name]
    profile, rows, _ = _stream(scenario.change, scenario.rows, seed)
    return sum(judge(profile, [next(rows)]).alarm for _ in range(streams)), streams


def delays(name: str, streams: int, seed: int) -> list[int]:
    """Windows until the alarm, the first one with drift being 1, after 28 without, against a `LARGE` reference;
    `4 * within` where none came."""
    scenario = NAMED[name]
    profile, rows, calm = _stream(scenario.change, scenario.rows, seed, LARGE)
    before = [next(calm) for _ in range(28)]
    return [_until(profile, before, rows, 4 * scenario.within) for _ in range(streams)]


def concept(lost: float, most: int, streams: int, seed: int) -> tuple[float, list[int]]:
    """What is lost of the ROC-AUC where about that much should be, and windows of 1,000 outcomes until the alarm, after
    28 without, against a `LARGE` reference.

    More than .1 is lost where outcomes follow a part of the score only, less where they change for some customers.
    """
    from sklearn.metrics import roc_auc_score

    population, random = Population(seed), np.random.default_rng([seed, 4])
    frame = population.draw(LARGE, random)
    profile = Profile.from_frame({name: frame[name] for name in ("score", "outcome")})
    whole = roc_auc_score(frame["outcome"], frame["score"])
    changes = [blinder(0.05 * step) for step in range(14)] if lost > 0.1 else [fewer(0.05 * step) for step in range(21)]
    measured = []
    for change in changes:
        changed = change(frame, random, population)
        measured.append(float(whole - roc_auc_score(changed["outcome"], changed["score"])))
    nearest = int(np.abs(np.array(measured) - lost).argmin())

    def windows(change: Change | None) -> Iterator[Window]:
        while True:
            own = population.draw(1_000, random)
            own = own if change is None else change(own, random, population)
            yield Window.from_outcomes(profile, own["score"], own["outcome"])

    calm, rows = windows(None), windows(changes[nearest])
    before = [next(calm) for _ in range(28)]
    return measured[nearest], [_until(profile, before, rows, most) for _ in range(streams)]


def cost(rows: int) -> dict[str, float]:
    """CPU seconds and MiB for counting so many rows, chunk by chunk; milliseconds and bytes a column of one window."""
    population, random = Population(0), np.random.default_rng(5)
    profile = Profile.from_frame(without(population.reference(REFERENCE, random), "outcome"))
    chunk = without(population.draw(100_000, random), "outcome")
    total = Window.from_frame(profile, chunk)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for _ in range(rows // 100_000):
        total = total + Window.from_frame(profile, chunk)
    counting = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1_024
    frames = [without(population.draw(1_000, random), "outcome") for _ in range(60)]
    ring: list[Window] = []
    began = time.process_time()
    for frame in frames:
        ring = [*ring, Window.from_frame(profile, frame)][-28:]
        judge(profile, ring)
    each = (time.process_time() - began) / len(frames)
    return {
        "rows": total.rows - 100_000,
        "columns": len(profile.columns),
        "cpu_seconds": counting,
        "grown_mib": grown,
        "window_ms": each * 1_000,
        "bytes_a_column": len(ring[-1].to_bytes()) / len(profile.columns),
    }


def _stream(
    change: Change, rows: int, seed: int, reference: int = REFERENCE
) -> tuple[Profile, Iterator[Window], Iterator[Window]]:
    population, random = Population(seed), np.random.default_rng([seed, 7])
    profile = Profile.from_frame(without(population.reference(reference, random), "outcome"))

    def windows(changed: bool) -> Iterator[Window]:
        while True:
            frame = population.draw(rows, random)
            frame = change(frame, random, population) if changed else frame
            yield Window.from_frame(profile, without(frame, "outcome"))

    return profile, windows(True), windows(False)


def _until(profile: Profile, before: list[Window], rows: Iterator[Window], most: int) -> int:
    ring = list(before)
    for number in range(1, most):
        ring = [*ring, next(rows)][-28:]
        if judge(profile, ring).alarm:
            return number
    return most


def quantile(found: list[int], share: float) -> Any:
    """The smallest number that so large a share is at or below."""
    return sorted(found)[max(int(np.ceil(share * len(found))) - 1, 0)]
