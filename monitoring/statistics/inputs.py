"""What windows say of inputs and answers: how they are spread, and what is missing, unseen or out of range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile import Column, Profile
from model.profile.basis import midranks
from model.profile.counting import Counts
from monitoring.statistics import tails
from usecases import Track

EFFECT = 0.03
"""Effects below this (of Cohen's w) are no reason for an alarm, however many rows show them: the floor inside the test
(the Population Resemblance Statistic, arXiv 2307.11878)."""
RATE = 0.001
"""Share of rows that may be missing, unseen or out of range beyond the reference before a test begins."""
LARGE, ALARMING = 0.5, 60.0
"""An effect that everybody wants to know of (Cohen's large w); and about what a statistic of twenty cells alarms at."""
LEAST = 5.0
"""Expected rows of a cell; rarer ones are merged."""

Floats = NDArray[np.float64]
Inflation = Callable[[str, float, float], float]
"""By how much days, and customers who come back, inflate the statistic of a test of n rows against so many."""


@dataclass
class Tested:
    """One test of one pool. `p` comes last, for all tests at once, unless it is exact.

    Attributes:
        column: for a pair `a ~ b`. effect: Cohen's w for spreads, a difference of shares for rates.
        share: of rows that would have to be other ones. cell: of the column, or in words, where it shows most; before,
            after: the share of rows there.
    """

    column: str
    track: Track
    test: str
    effect: float = 0.0
    share: float = 0.0
    cell: int | str = -1
    before: float = 0.0
    after: float = 0.0
    statistic: float = 0.0
    freedom: float = 1.0
    floor: float = 0.0
    p: float = 1.0
    exact: bool = False


def effective(n: float, size: float) -> float:
    """The harmonic size of two samples, n / (1 + n / size), where n counts as at most `size`: in a pool of many windows
    the same customers come back, who are no new evidence, and nobody says how many they are.
    """
    n = min(n, size)
    return n * size / (n + size)


def blind(profile: Profile, counts: Counts, days: float) -> list[tuple[str, float]]:
    """Columns of which days of the reference differ so much that an effect of `LARGE` would be no alarm in such counts,
    the worst first, each with the effect from which on it would be: about, for a statistic of `ALARMING`.
    """
    if profile.season is None:
        return []
    found = []
    for place, column in enumerate(profile.columns):
        n = float(profile.layout.column(counts, place)[: column.body].sum())
        size = float(profile.layout.column(profile.counts, place)[: column.body].sum())
        if n and size:
            n_eff = effective(n, size)
            inflated = profile.season.inflation(f"shape {column.name}", n_eff, days)
            effect = float(np.sqrt(ALARMING * inflated / n_eff))
            if inflated > 1 and effect > LARGE:
                found.append((column.name, effect))
    return sorted(found, key=lambda one: -one[1])


def number_of_tests(profile: Profile) -> int:
    """How many tests one pool is put to, whatever it holds."""
    more = (2 if column.kind == "number" else column.body for column in profile.columns if column.body > 2)
    return 3 * len(profile.columns) + sum(more) + len(profile.pairs)


def tested(profile: Profile, counts: Counts, days: float) -> Iterator[Tested]:
    """Every test of a pool's counts that has rows; those of spreads still lack their p.

    Args:
        days: how many days' worth of independent rows the pool has at least.
    """
    layout, season = profile.layout, profile.season

    def inflation(test: str, n: float, size: float) -> float:
        n_eff = n * size / (n + size)
        returning = n_eff / effective(n, size)
        return returning if season is None else returning * season.inflation(test, n_eff / returning, days)

    for place, column in enumerate(profile.columns):
        now, then = layout.column(counts, place), layout.column(profile.counts, place)
        track: Track = "inputs" if column.role == "input" else "answers"
        yield from _rates(column, now, then, inflation)
        yield from _spreads(column, track, now[: column.body], then[: column.body], inflation)
    for place, (a, b) in enumerate(profile.pairs):
        name = f"{a} ~ {b}"
        now, then = layout.pair(counts, place), layout.pair(profile.counts, place)
        n, size = float(now.sum()), float(then.sum())
        if n and size:
            one = _shape(name, "inputs", "pair", now, then, ordered=False)
            if one is not None:
                yield _floored(one, n * size / (n + size), inflation(f"pair {name}", n, size))


def _rates(column: Column, now: Counts, then: Counts, inflation: Inflation) -> Iterator[Tested]:
    n, size, body = float(now.sum()), float(then.sum()), column.body
    if not n or not size:
        return
    beyond = "range" if column.kind == "number" else "unseen"
    for test, x, r in (
        ("missing", float(now[-1]), float(then[-1])),
        (beyond, float(now[body:-1].sum()), float(then[body:-1].sum())),
    ):
        if x / n == r / size:
            continue
        more = 1.0 / inflation(f"{test} {column.name}", n, size)
        before, after = r / size, x / n
        if after > before:
            p = tails.excess(x * more, n * more, r, size, RATE)
        else:
            p = tails.excess(r * more, size * more, x, n, RATE) if test == "missing" else 1.0
        yield Tested(
            column.name, "quality", test, abs(after - before), abs(after - before), -1, before, after, p=p, exact=True
        )


def _spreads(column: Column, track: Track, now: Counts, then: Counts, inflation: Inflation) -> Iterator[Tested]:
    n, size = float(now.sum()), float(then.sum())
    if not n or not size or len(then) < 2:
        return
    n_eff = n * size / (n + size)
    shape = _shape(column.name, track, "shape", now, then, ordered=column.kind == "number")
    if shape is None:
        return
    yield _floored(shape, n_eff, inflation(f"shape {column.name}", n, size))
    if len(then) == 2:
        return
    if column.kind == "category":
        yield from _mix(column, track, now, then, inflation)
    else:
        apart = now / n - then / size
        middle = int(np.searchsorted(np.cumsum(then), size / 2)) + 1  # of the reference, about half lies above
        above = f"> {column.edges[middle - 1]:.6g}" if middle <= len(column.edges) else ""
        halves = (float(then[middle:].sum() / size), float(now[middle:].sum() / n)) if above else (0.0, 0.0)
        for test, direction in zip(("location", "spread"), midranks(now + then), strict=True):
            moved = float(direction @ apart)
            where: tuple[str | int, float, float] = (above, *halves)
            if test == "spread" or not above:
                where = (shape.cell, shape.before, shape.after)
            one = Tested(column.name, track, test, abs(moved), shape.share, *where, n_eff * moved**2)
            yield _floored(one, n_eff, inflation(f"{test} {column.name}", n, size))


def _mix(column: Column, track: Track, now: Counts, then: Counts, inflation: Inflation) -> Iterator[Tested]:
    """Each level that has enough rows, against all others."""
    n, size = float(now.sum()), float(then.sum())
    n_eff = n * size / (n + size)
    most = n + size - LEAST * (n + size) / min(n, size)
    for place in np.flatnonzero((now + then >= n + size - most) & (now + then <= most)).tolist():
        before, after = float(then[place] / size), float(now[place] / n)
        statistic = tails.two_rates(float(now[place]), n, float(then[place]), size)
        effect = float(np.sqrt(statistic / n_eff))
        one = Tested(column.name, track, "mix", effect, abs(after - before), place, before, after, statistic)
        yield _floored(one, n_eff, inflation(f"shape {column.name}", n, size))


def _floored(one: Tested, n_eff: float, inflated: float) -> Tested:
    one.statistic /= inflated
    one.floor = n_eff * EFFECT**2 / inflated
    return one


def _shape(name: str, track: Track, test: str, now: Counts, then: Counts, *, ordered: bool) -> Tested | None:
    """The test of all cells; None where rows are too few for two of them."""
    n, size = float(now.sum()), float(then.sum())
    expected = (now + then) * (min(n, size) / (n + size))
    c, r = now.astype(np.float64), then.astype(np.float64)
    if (expected < LEAST).any():
        merged = merge(expected, ordered=ordered)
        c, r = (np.bincount(merged, cells).astype(np.float64) for cells in (c, r))
    if len(c) < 2:
        return None
    statistic = tails.two_sample(c, r, n, size)
    n_eff = n * size / (n + size)
    apart = now / n - then / size
    most = int(np.abs(apart).argmax())
    effect = np.sqrt(max(statistic - (len(c) - 1), 0.0) / n_eff)
    share = float(np.abs(c / n - r / size).sum() / 2)
    return Tested(
        name,
        track,
        test,
        float(effect),
        share,
        most,
        float(then[most] / size),
        float(now[most] / n),
        statistic,
        float(len(c) - 1),
    )


def merge(expected: NDArray[np.floating[Any]], *, ordered: bool) -> NDArray[np.intp]:
    """To which merged cell each cell goes, so that every one has at least `LEAST` expected rows, if there are so many:
    neighbours together where cells are in order, else all rare ones together.
    """
    rare = expected < LEAST
    if ordered:
        groups, group, filled = np.zeros(len(expected), np.intp), 0, 0.0
        for place, rows in enumerate(expected.tolist()):
            if filled >= LEAST:
                group, filled = group + 1, 0.0
            groups[place] = group
            filled += rows
        if group and filled < LEAST:
            groups[groups == group] = group - 1
        return groups
    if rare.all():
        return np.zeros(len(expected), np.intp)
    groups = np.cumsum(~rare) - 1
    rest = int((~rare).sum())
    if expected[rare].sum() < LEAST:  # the rarest of the others takes them in
        rest = int(groups[np.where(rare, np.inf, expected).argmin()])
    groups[rare] = rest
    return groups
