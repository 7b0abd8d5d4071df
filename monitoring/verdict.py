"""The verdict: whether windows are still as the reference, with a stated chance of a false alarm.

The newest window is judged alone and pooled with those before it, at several scales: a gross shift shows in one window,
a small one in many. Of all p-values the smallest, times their number and a weight (Bonferroni), is held against the
budget. Inputs and answers have one budget, outcomes another: they come at another time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.profile import Profile, ProfileError
from monitoring.statistics import concept, inputs, tails
from monitoring.statistics.inputs import Tested
from monitoring.window import Window
from usecases import Track

SCALES = (1, 7, 28)
"""Windows that are pooled."""
RING = SCALES[-1]
SMALL = 1_000
"""Rows of a reference below which a verdict says so."""
WEIGHTS = (1.5, 8.0)
"""A test of one degree of freedom gets two thirds of an equal share of the budget, one of several an eighth: their p
rests on an approximation that is worst in the tail, and makes nearly all false alarms. The rest is kept in reserve."""
OUTCOMES = (1.6, 1.6)
"""Outcomes are few tests, which use all of what they are given; and where the reference itself is off by chance, every
pool alarms that is held against it. So they are given five eighths of their budget."""
Rated = tuple[float, int, int, Tested]
"""The adjusted p of a test, the scale of its pool, the rows in it, and the test."""


@dataclass(frozen=True)
class Finding:
    """A test that alarms.

    Attributes:
        column: the name of an input, `score`, `decision`, `outcome`; of a pair, `a ~ b`.
        test: shape, location, spread, mix, pair; missing, unseen, range; level, slope, omnibus.
        scale: windows that were pooled. rows: in them.
        effect: Cohen's w; a difference of shares for missing, unseen, range and level; of log-odds' slope for slope.
        p: of this test alone. adjusted: times all tests of the verdict and the weight of this one, at most 1.
        share: of the rows that would have to be other ones to be as before.
        cell, before, after: where in the column it shows most, and the share of rows there in the reference, and now;
            without a cell, the share that is missing, unseen, out of range or happened.
    """

    column: str
    track: Track
    test: str
    scale: int
    rows: int
    effect: float
    p: float
    adjusted: float
    share: float
    cell: str
    before: float
    after: float

    def __str__(self) -> str:
        cell = f"{self.cell}: " if self.cell else ""
        where = "" if self.test == "pair" else f" ({cell}{self.before:.1%} -> {self.after:.1%})"
        windows = "1 window" if self.scale == 1 else f"{self.scale} windows"
        p = f"p {self.adjusted:.1e}" if self.adjusted else "p < 1e-300"
        return f"{self.column}: {self.test} over {windows}, effect {self.effect:.3f}, {p}{where}"


@dataclass(frozen=True)
class Effect:
    """How far a column has moved: its most significant test, be it an alarm or not."""

    column: str
    track: Track
    test: str
    scale: int
    effect: float
    share: float
    adjusted: float


@dataclass(frozen=True)
class Verdict:
    """What windows say.

    Attributes:
        findings: what alarms, the most significant first, one per column and test. columns: every column and pair.
        notes: what the verdict does not know. rows, labelled: of the newest window.
        tests: how many p-values were looked at, of inputs and answers; scales: of which pools.
    """

    alarm: bool
    findings: tuple[Finding, ...]
    columns: Mapping[str, Effect]
    notes: tuple[str, ...]
    rows: int
    labelled: int
    tests: int
    scales: tuple[int, ...]
    budget: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Verdict:
        """What `to_json` gave."""
        given = dict(said)
        given["findings"] = tuple(Finding(**one) for one in given["findings"])
        given["columns"] = {name: Effect(**one) for name, one in given["columns"].items()}
        return Verdict(**{**given, "notes": tuple(given["notes"]), "scales": tuple(given["scales"])})


def judge(profile: Profile, windows: Sequence[Window] | Window, budget: float = 1e-3) -> Verdict:
    """The verdict on the newest window.

    Args:
        windows: the newest one last, and up to `RING` - 1 before it, oldest first; earlier ones are not looked at.
        budget: the chance that a window without drift alarms.

    Raises:
        ProfileError: if there is no window, or one of another profile, or the budget is no chance.
    """
    windows = [windows] if isinstance(windows, Window) else windows
    if not 0 < budget < 1:
        raise ProfileError(f"the budget is the chance of a false alarm, between 0 and 1, not {budget}")
    if not windows:
        raise ProfileError("there is no window to judge")
    strange = [window.profile for window in windows if window.profile != profile.digest]
    if strange:
        raise ProfileError(f"a window of profile {strange[0]} cannot be held against {profile.digest}")
    pools = list(_pools(windows[-RING:]))
    scales = tuple(scale for scale, _ in pools)
    own = [
        (scale, pool.rows, one)
        for scale, pool in pools
        for one in inputs.tested(profile, pool.counts, _independent(pool))
    ]
    told = [
        (scale, pool.labelled, one)
        for scale, pool in pools
        for one in concept.tested(profile, profile.layout.outcomes(pool.counts))
    ]
    _rate([one for _, _, one in own + told])
    tests = inputs.number_of_tests(profile) * len(SCALES)
    rated = [*_adjusted(own, tests, WEIGHTS), *_adjusted(told, concept.TESTS * len(SCALES), OUTCOMES)]
    rated.sort(key=lambda rated: (rated[0], rated[3].p, -rated[3].effect))
    findings = _told(_finding(profile, *one) for one in rated if one[0] <= budget)
    columns: dict[str, Effect] = {}
    for adjusted, scale, _, one in rated:
        if one.column not in columns:
            fields = (one.column, one.track, one.test, scale, one.effect, one.share, adjusted)
            columns[one.column] = Effect(*fields)
    newest = windows[-1]
    notes = _notes(profile, windows)
    return Verdict(bool(findings), findings, columns, notes, newest.rows, newest.labelled, tests, scales, budget)


def _told(alarming: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per column and test, that of the most telling scale; of pairs those that tell something new: where a
    column alarms by itself, its pairs do too.
    """
    first: dict[tuple[str, str], Finding] = {}
    for one in alarming:
        first.setdefault((one.column, one.test), one)
    alone = {one.column for one in first.values() if one.test != "pair"}
    return tuple(one for one in first.values() if one.test != "pair" or alone.isdisjoint(one.column.split(" ~ ")))


def _pools(windows: Sequence[Window]) -> list[tuple[int, Window]]:
    """The newest window, and sums with those before it; each sum once."""
    pools, total = [], windows[-1]
    sizes = sorted({min(scale, len(windows)) for scale in SCALES})
    for back, window in enumerate(reversed(windows), 1):
        total = total if back == 1 else total + window
        if back in sizes:
            pools.append((back, total))
    return pools


def _rate(found: list[Tested]) -> None:
    """Put p to those that lack it."""
    rest = [one for one in found if not one.exact]
    given = [np.array([getattr(one, name) for one in rest]) for name in ("statistic", "freedom", "floor")]
    for one, p in zip(rest, tails.noncentral(*given).tolist() if rest else [], strict=True):
        one.p = p


def _adjusted(found: list[tuple[int, int, Tested]], tests: int, weights: tuple[float, float]) -> list[Rated]:
    return [(min(one.p * tests * weights[one.freedom > 1], 1.0), scale, rows, one) for scale, rows, one in found]


def _finding(profile: Profile, adjusted: float, scale: int, rows: int, one: Tested) -> Finding:
    cells = next((column.cells for column in profile.columns if column.name == one.column), [])
    return Finding(
        column=one.column,
        track=one.track,
        test=one.test,
        scale=scale,
        rows=rows,
        effect=one.effect,
        p=one.p,
        adjusted=adjusted,
        share=one.share,
        cell=one.cell if isinstance(one.cell, str) else cells[one.cell] if cells and one.cell >= 0 else "",
        before=one.before,
        after=one.after,
    )


def _independent(pool: Window) -> float:
    """How many equal days would vary as much as the days of this pool: (sum n)2 / sum n2; 1 where days are unknown."""
    if not pool.days or sum(pool.days.values()) < pool.rows:
        return 1.0
    rows = np.array(list(pool.days.values()), np.float64)
    return float(rows.sum() ** 2 / (rows**2).sum())


def _notes(profile: Profile, windows: Sequence[Window]) -> tuple[str, ...]:
    notes = []
    if profile.rows < SMALL:
        notes.append(f"the reference has {profile.rows:,} rows: what is small for that many rows is not seen")
    if not (windows[-1].rows or windows[-1].labelled):
        notes.append("the newest window is empty")
    blind = inputs.blind(profile, windows[-1].counts, _independent(windows[-1]))
    if blind:
        said = ", ".join(f"{name} ({effect:.1f})" for name, effect in blind[:5])
        more = f" and {len(blind) - 5} more" if len(blind) > 5 else ""
        notes.append(
            f"days of the reference differ so much that only effects above these alarm in one window: {said}{more}"
        )
    if profile.season is None:
        notes.append("season is not modelled: the reference has no days, so a weekday that is like no other may alarm")
    if not profile.layout.judged:
        notes.append("outcomes are not judged: the reference has no score")
    elif not profile.layout.outcomes(profile.counts).any():
        notes.append("outcomes are not judged: the reference has none")
    elif not any(window.labelled for window in windows):
        notes.append("outcomes are not judged: none has come yet")
    return tuple(notes)
