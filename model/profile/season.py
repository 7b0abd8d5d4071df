"""Season: how much more the days of a reference differ from one another than chance would have them.

A window of n rows that all come from one day varies more than n independent rows do: the quadratic statistic of a
test with k degrees of freedom has the expectation k + n * tau, where tau is what days add. tau is estimated from the
days of the reference, each against the whole (moments; Rao and Scott 1981, "The analysis of categorical data from
complex sample surveys"), and the worst case is taken: all of it in one direction, so that the statistic is divided by
1 + n * tau.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.profile.basis import midranks
from model.profile.counting import Counts, Layout

LEAST = 5.0
"""Expected rows of a cell in a day for it to count."""
CERTAIN, DOUBT = 5.0, 2.33
"""Standard errors above chance: beyond the first one, of any test, days do differ, and every estimate above 0 is taken;
before, only estimates above the second one: one test in a hundred without a season."""
Measured = tuple[NDArray[np.float64], float, NDArray[np.float64]]
"""A statistic (b,) of each day against the whole, its degrees of freedom, and the rows (b,) of each day."""


@dataclass(frozen=True)
class Season:
    """What days add, by the name of a test.

    Attributes:
        blocks: days of the reference. tau: only where it is above 0.
    """

    blocks: int
    tau: Mapping[str, float]

    def inflation(self, test: str, n_eff: float, days: float) -> float:
        """By how much a statistic is too large, for rows of so many days' worth."""
        tau = self.tau.get(test, 0.0)
        return 1.0 + n_eff * tau * (1.0 / max(days, 1.0) + 1.0 / self.blocks)


def measure(layout: Layout, total: Counts, blocks: NDArray[np.int64]) -> Season | None:
    """The season of a reference, from the counts (b, size) of its days; None with fewer than two days."""
    blocks = blocks[blocks[:, : layout.starts[-1]].sum(axis=1) > 0]
    if len(blocks) < 2:
        return None
    found: dict[str, tuple[float, float]] = {}
    for place, column in enumerate(layout.columns):
        whole, days = layout.column(total, place), layout.column(blocks.T, place).T
        name, body = column.name, column.body
        found[f"shape {name}"] = _tau(*_cells(days[:, :body], whole[:body]))
        if column.kind == "number":
            for test, direction in zip(("location", "spread"), midranks(whole[:body]), strict=True):
                found[f"{test} {name}"] = _tau(*_direction(days[:, :body], direction))
        rates = {"missing": days[:, -1:], ("range" if column.kind == "number" else "unseen"): days[:, body:-1]}
        for test, cells in rates.items():
            of = cells.sum(axis=1)
            both = np.stack([of, days.sum(axis=1) - of], axis=1)
            found[f"{test} {name}"] = _tau(*_cells(both, both.sum(axis=0)))
    for place, (a, b) in enumerate(layout.pairs):
        name = f"pair {layout.columns[a].name} ~ {layout.columns[b].name}"
        found[name] = _tau(*_cells(layout.pair(blocks.T, place).T, layout.pair(total, place)))
    return Season(len(blocks), _kept(layout, found))


def _kept(layout: Layout, found: dict[str, tuple[float, float]]) -> dict[str, float]:
    """What days add by test, from estimates and their standard errors above chance.

    A test of many cells sees a shift of the location late, but varies by at least what its directions do: so does a
    shape by location and spread together, and a pair by its two columns.
    """
    least = 0.0 if any(errors > CERTAIN for _, errors in found.values()) else DOUBT
    tau = {test: estimate for test, (estimate, errors) in found.items() if estimate > 0 and errors > least}
    parts = {column.name: (f"location {column.name}", f"spread {column.name}") for column in layout.columns}
    within = {f"shape {name}": names for name, names in parts.items()}
    for a, b in layout.pairs:
        first, second = layout.columns[a], layout.columns[b]
        both = tuple(
            f"{'shape' if column.kind == 'category' else 'location'} {column.name}" for column in (first, second)
        )
        within[f"pair {first.name} ~ {second.name}"] = (both[0], both[1])
    for test, names in within.items():
        least = sum(tau.get(name, 0.0) for name in names)
        if least > tau.get(test, 0.0):
            tau[test] = least
    return {test: float(f"{value:.6g}") for test, value in tau.items()}


def _tau(statistics: NDArray[np.float64], freedom: float, rows: NDArray[np.float64]) -> tuple[float, float]:
    """What days add per row, and by how many standard errors the days' statistics exceed what chance makes."""
    usable = rows > 0
    expected = float((freedom * (1 - rows[usable] / rows.sum())).sum()) if usable.any() else 0.0
    if expected <= 0:
        return 0.0, 0.0
    excess = float(statistics[usable].sum()) - expected
    return excess / float(rows[usable].sum()), excess / float(np.sqrt(2 * expected))


def _cells(days: NDArray[np.int64], whole: Counts) -> Measured:
    """Pearson's statistic of each day's cells against the whole; cells too rare for the mean day are one."""
    rows, n = days.sum(axis=1).astype(np.float64), max(int(whole.sum()), 1)
    rare = whole * (rows.mean() / n) < LEAST
    merged = np.concatenate([days[:, ~rare], days[:, rare].sum(axis=1, keepdims=True)], axis=1).astype(np.float64)
    share = np.append(whole[~rare], whole[rare].sum()) / n
    there = share > 0
    expected = rows[:, None] * share[there]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(expected > 0, (merged[:, there] - expected) ** 2 / expected, 0.0).sum(axis=1)
    return statistic, float(there.sum() - 1), rows


def _direction(days: NDArray[np.int64], direction: NDArray[np.float64]) -> Measured:
    """The same along one direction, which has mean 0 and variance 1 over the whole."""
    rows = days.sum(axis=1).astype(np.float64)
    mean = (days @ direction) / np.maximum(rows, 1)
    return rows * mean**2, float(direction.any()), rows
