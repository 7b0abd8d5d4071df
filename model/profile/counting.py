"""The counts of a frame, one vector of integers: those of parts add up to that of the whole, in any order and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile.column import GROUPS, Codes, Column, Levels
from model.profile.schema import DAY, ProfileError
from model.profile.values import NEVER, cut, flags, listed, micros, numbers

Counts = NDArray[np.int64]
CHUNK = 16_384
"""Rows that are counted in one go: what they take stays in the processor's cache."""
DECILES = 10


@dataclass(frozen=True)
class Layout:
    """Where in the vector what is counted.

    One stretch per column (`Column.cells`), then `GROUPS` x `GROUPS` cells per pair, row after row, then outcomes: how
    many did not happen per score decile, and how many did.

    Attributes:
        pairs: positions of columns. deciles: upper bounds (inclusive) of all but the last; none without outcomes.
        outcome, time: names of those columns in a frame; they may be absent from one.
    """

    columns: tuple[Column, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    deciles: tuple[float, ...] = ()
    outcome: str | None = None
    time: str | None = None

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each column's stretch begins; last, where the pairs do."""
        return tuple(int(start) for start in np.cumsum([0, *(column.size for column in self.columns)]))

    @cached_property
    def told(self) -> int:
        """Where outcomes begin."""
        return self.starts[-1] + len(self.pairs) * GROUPS**2

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return self.told + (2 * DECILES if self.judged else 0)

    @property
    def judged(self) -> bool:
        """Whether outcomes are counted."""
        return self.score is not None

    @cached_property
    def score(self) -> int | None:
        """Position of the score."""
        return next((place for place, column in enumerate(self.columns) if column.role == "score"), None)

    @cached_property
    def digest(self) -> str:
        """sha256 of the layout, 16 hex digits: counts of other layouts do not add."""
        said = [[asdict(column) for column in self.columns], self.pairs, self.deciles]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _levels(self) -> dict[int, Levels]:
        return {i: Levels(column.levels) for i, column in enumerate(self.columns) if column.kind == "category"}

    @cached_property
    def _groups(self) -> list[Codes]:
        return [np.array(column.groups, np.uint8) for column in self.columns]

    def column(self, counts: Counts, place: int) -> Counts:
        """The stretch of a column."""
        return counts[self.starts[place] : self.starts[place + 1]]

    def pair(self, counts: Counts, place: int) -> Counts:
        """The cells of a pair, row after row."""
        begin = self.starts[-1] + place * GROUPS**2
        return counts[begin : begin + GROUPS**2]

    def outcomes(self, counts: Counts) -> Counts:
        """(2, deciles): how many did not happen and how many did; empty without a score."""
        return counts[self.told :].reshape(2, -1)

    def count(self, frame: Any) -> tuple[Counts, int, dict[int, int]]:
        """The counts of a frame, its rows, and those by day (UTC, since the epoch), where it has times.

        Raises:
            ProfileError: if it lacks a column, or columns are of different lengths.
        """
        total, rows, days = np.zeros(self.size, np.int64), length(frame, self), dict[int, int]()
        for start in range(0, rows, CHUNK):
            here = slice(start, start + CHUNK)
            self._add(total, frame, here)
            if self.time is not None and self.time in frame:
                times = micros(cut(frame[self.time], here), self.time)
                found, often = np.unique(times[times != NEVER] // DAY, return_counts=True)
                for day, count in zip(found.tolist(), often.tolist(), strict=True):
                    days[day] = days.get(day, 0) + count
        return total, rows, days

    def _add(self, total: Counts, frame: Any, here: slice) -> None:
        groups: dict[int, Codes] = {}
        paired = {place for pair in self.pairs for place in pair}
        for place, column in enumerate(self.columns):
            codes = self._codes(place, cut(frame[column.name], here))
            self.column(total, place)[:] += np.bincount(codes, minlength=column.size)
            if place in paired:
                groups[place] = self._groups[place].take(codes)
        wide = GROUPS + 1
        for number, (a, b) in enumerate(self.pairs):
            both = groups[a] * np.uint8(wide) + groups[b]
            cells = np.bincount(both, minlength=wide**2)[: wide**2].reshape(wide, wide)
            self.pair(total, number)[:] += cells[:GROUPS, :GROUPS].ravel()
        if self.judged and self.outcome is not None and self.outcome in frame:
            score = numbers(cut(frame[self.columns[self.score or 0].name], here))
            self.add_outcomes(total, score, cut(frame[self.outcome], here))

    def add_outcomes(self, total: Counts, score: NDArray[np.float64], outcome: Any) -> None:
        """Count outcomes (true, false, or missing) by the decile of their scores."""
        happened = flags(outcome)
        known = ~np.isnan(happened) & ~np.isnan(score)
        decile = np.searchsorted(np.array(self.deciles), score[known], side="left")
        cells = np.bincount(decile + DECILES * happened[known].astype(np.int64), minlength=2 * DECILES)
        total[self.told :] += cells

    def _codes(self, place: int, values: Any) -> Codes:
        column = self.columns[place]
        if column.kind == "number":
            return column.codes(numbers(values))
        levels = self._levels[place]
        try:
            return np.array([levels[value] for value in listed(values)], np.uint8)
        except TypeError as error:
            raise ProfileError(f"column {column.name!r} is a category, and a value is none: {error}") from None

    def grouped(self, place: int, values: Any) -> Codes:
        """Coarse cells of a column's values."""
        return self._groups[place].take(self._codes(place, values))

    def days(self, frame: Any) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Which rows are of each day, in order of time; nothing without times."""
        if self.time is None or self.time not in frame:
            return
        times = micros(frame[self.time], self.time)
        order = np.argsort(times, kind="stable")
        order = order[times[order] != NEVER]
        found, begins = np.unique(times[order] // DAY, return_index=True)
        yield from zip(found.tolist(), np.split(order, begins[1:]), strict=True)


def length(frame: Any, layout: Layout) -> int:
    """Rows of a frame that has every column of the layout."""
    lacks = [column.name for column in layout.columns if column.name not in frame]
    if lacks:
        raise ProfileError(f"the frame lacks {', '.join(lacks)}; the profile watches them, so a window needs them")
    sizes = {column.name: len(frame[column.name]) for column in layout.columns}
    if len(set(sizes.values())) > 1:
        raise ProfileError(f"the frame's columns have different lengths: {sizes}")
    return next(iter(sizes.values()), 0)
