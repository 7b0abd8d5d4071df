"""What Evidently's defaults say of the same windows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.drift.population import Frame, Population
from benchmarks.drift.scenarios import NAMED
from benchmarks.drift.suite import REFERENCE, without
from model.profile import Column
from monitoring import Profile, Window, evidently, judge


def compared(scenario: str | None, windows: int) -> tuple[int, int, int]:
    """Of so many windows, each of a population of its own: how often Holdfast alarms, Evidently's defaults flag any
    column, and they flag the data set; without a scenario there is no drift."""
    ours = column = whole = 0
    for seed in range(windows):
        population, random = Population(seed), np.random.default_rng([seed, 8])
        reference = without(population.reference(REFERENCE, random), "outcome")
        profile = Profile.from_frame(reference)
        rows = 1_000 if scenario is None else NAMED[scenario].rows
        frame = population.draw(rows, random)
        if scenario is not None:
            frame = NAMED[scenario].change(frame, random, population)
        frame = without(frame, "outcome")
        ours += judge(profile, [Window.from_frame(profile, frame)]).alarm
        flagged, half = evidently.flags(
            _table(reference, profile.columns), _table(frame, profile.columns), profile.columns
        )
        column, whole = column + bool(flagged), whole + half
    return ours, column, whole


def _table(frame: Frame, columns: tuple[Column, ...]) -> pd.DataFrame:
    return evidently.typed(pd.DataFrame({column.name: frame[column.name] for column in columns}), columns)
