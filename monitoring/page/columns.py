"""Which columns moved, by how much, and how much the model makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.profile import Profile
from monitoring.ledger import Closed
from monitoring.page.charts import Histogram, histogram
from monitoring.page.watched import pool
from monitoring.verdict import Effect, Verdict

BAR = 72.0
"""Width of a bar in the table."""


@dataclass(frozen=True)
class Moved:
    """A column, or a pair, in the table; `effect` and `use` with the widths of their bars."""

    name: str
    alarm: bool
    test: str
    scale: int
    effect: float
    effect_bar: float
    use: float | None
    use_bar: float
    share: float
    adjusted: float


def is_pair(name: str) -> bool:
    """Whether a finding of that name is of two columns together."""
    return " ~ " in name


def moved(verdict: Verdict, use: Mapping[str, float]) -> list[Moved]:
    """Every input and answer of the verdict, pairs and outcomes left out: what alarms first, then by effect times use;
    by effect alone where the model's use of its inputs is not known."""
    alarmed = {found.column for found in verdict.findings}
    own = [one for one in verdict.columns.values() if not is_pair(one.column) and one.track != "outcomes"]
    widest, most = max((one.effect for one in own), default=0.0) or 1.0, max(use.values(), default=0.0) or 1.0

    def weight(one: Effect) -> tuple[bool, float, float]:
        return one.column not in alarmed, -one.effect * use.get(one.column, 1.0 if not use else 0.0), -one.effect

    return [
        Moved(
            one.column,
            one.column in alarmed,
            one.test,
            one.scale,
            one.effect,
            round(BAR * one.effect / widest, 2),
            use.get(one.column),
            round(BAR * use.get(one.column, 0.0) / most, 2),
            one.share,
            one.adjusted,
        )
        for one in sorted(own, key=weight)
    ]


def drawn(reference: Profile, windows: Sequence[Closed], verdict: Verdict, names: Sequence[str]) -> list[Histogram]:
    """Then and now of these columns: the reference, and of the windows, newest last, as many as the column's strongest
    test pooled. None where windows are of another profile."""
    found = []
    places = {column.name: place for place, column in enumerate(reference.columns)}
    for name in names:
        scale = verdict.columns[name].scale if name in verdict.columns else 1
        pooled = pool(reference, list(windows[-scale:]))
        if pooled is None or name not in places:
            continue
        place, layout = places[name], reference.layout
        counts = layout.column(reference.counts, place), layout.column(pooled.counts, place)
        found.append(histogram(reference.columns[place], *counts))
    return found
