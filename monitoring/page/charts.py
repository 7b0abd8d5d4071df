"""The geometry of drawings. Templates draw them; all text in them is escaped there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model.profile import Column
from model.profile.counting import Counts
from monitoring.page.words import plain, share

WIDTH, HEIGHT = 320.0, 132.0
"""Of a histogram, in its own units: about as wide as its place, so that text in it is about as large as around it."""
FLOOR, TOP = 108.0, 8.0
LEVELS = 8
"""Levels of a category that are drawn; the rest are drawn together."""


@dataclass(frozen=True)
class Row:
    """A cell in figures."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Bar:
    """A cell as drawn: where, how high it was, how high it is."""

    label: str
    x: float
    width: float
    then: float
    now: float
    said: str
    odd: bool = False
    """Out of range, unseen or missing."""


@dataclass(frozen=True)
class Histogram:
    """A column then and now. Of a number, bars stand side by side; of a category, they lie below one another."""

    name: str
    lying: bool
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    rows: list[Row]
    height: float
    about: str
    outline: str = ""
    top: str = ""
    """What the highest place is, as a share."""


def histogram(column: Column, then: Counts, now: Counts) -> Histogram:
    """The drawing of a column, from the counts of its cells in the reference and in a window."""
    before, after = then / max(int(then.sum()), 1), now / max(int(now.sum()), 1)
    cells = [(label, float(before[place]), float(after[place])) for place, label in enumerate(column.cells)]
    rows = [Row(label, share(was), share(is_)) for label, was, is_ in cells if was or is_]
    if column.kind == "number":
        return _standing(column, cells, rows)
    return _lying(column, cells, rows)


def _standing(column: Column, cells: list[tuple[str, float, float]], rows: list[Row]) -> Histogram:
    body = cells[: column.body]
    odd = [cell for cell in cells[column.body :] if cell[1] or cell[2]]
    highest = max([max(was, is_) for _, was, is_ in cells], default=0.0) or 1.0
    gap = 10.0 if odd else 0.0
    step = (WIDTH - gap) / (len(body) + 2 * len(odd))

    def high(value: float) -> float:
        return round((FLOOR - TOP) * value / highest, 2)

    bars = []
    for place, (label, was, is_) in enumerate(body):
        bars.append(Bar(label, round(place * step, 2), round(step, 2), high(was), high(is_), _told(label, was, is_)))
    begin = len(body) * step + gap
    for place, (label, was, is_) in enumerate(odd):
        x = round(begin + place * 2 * step, 2)
        bars.append(Bar(label, x, round(2 * step, 2), high(was), high(is_), _told(label, was, is_), odd=True))
    steps = [
        f"{'M' if not place else 'L'}{bar.x},{FLOOR - bar.then} H{round(bar.x + bar.width, 2)}"
        for place, bar in enumerate(bars[: len(body)])
    ]
    ticks = [(round((place + 1) * step, 2), plain(column.edges[place])) for place in _spaced(len(column.edges))]
    ticks += [(bar.x + bar.width / 2, bar.label.split()[0]) for bar in bars[len(body) :]]
    return Histogram(
        column.name,
        False,
        bars,
        ticks,
        rows,
        HEIGHT,
        f"{column.name}: shares of rows in each bin of the reference, then and now",
        " ".join(steps),
        share(highest),
    )


def _lying(column: Column, cells: list[tuple[str, float, float]], rows: list[Row]) -> Histogram:
    ranked = sorted((cell for cell in cells if cell[1] or cell[2]), key=lambda cell: -max(cell[1:]))
    drawn, rest = ranked[:LEVELS], ranked[LEVELS:]
    if rest:
        others = f"{len(rest)} others"
        drawn = [*drawn, (others, sum(cell[1] for cell in rest), sum(cell[2] for cell in rest))]
    highest = max([max(was, is_) for _, was, is_ in drawn], default=0.0) or 1.0
    room, own = 158.0, {cell[0] for cell in cells[column.body :]}
    bars = [
        Bar(
            label,
            round(6.0 + 22 * place, 2),
            16.0,
            round(room * was / highest, 2),
            round(room * is_ / highest, 2),
            _told(label, was, is_),
            odd=label in own,
        )
        for place, (label, was, is_) in enumerate(drawn)
    ]
    about = f"{column.name}: shares of rows of each level, then and now"
    return Histogram(column.name, True, bars, [], rows, 22.0 * len(bars) + 10, about)


def _told(label: str, was: float, is_: float) -> str:
    return f"{label}: {share(was)} then, {share(is_)} now"


def _spaced(count: int, most: int = 4) -> list[int]:
    """Some of so many places, about equally far apart."""
    if count <= most:
        return list(range(count))
    return [round((place + 0.5) * count / most - 0.5) for place in range(most)]


@dataclass(frozen=True)
class Point:
    """A window in a curve."""

    x: float
    y: float | None
    low: float | None
    high: float | None
    other: float | None
    said: str


@dataclass(frozen=True)
class Curve:
    """A figure over windows, with intervals, and another one beside it (expected, or that of the reference)."""

    title: str
    points: list[Point]
    line: str
    other: str
    ticks: list[tuple[float, str]]
    labels: list[tuple[float, str]]
    about: str


@dataclass(frozen=True)
class Sample:
    """What a curve is made of: a window's number, its figure and interval, and the one beside it."""

    number: int
    value: float | None
    low: float | None = None
    high: float | None = None
    other: float | None = None
    said: str = field(default="")


def curve(title: str, samples: Sequence[Sample], digits: int = 3, *, percent: bool = False) -> Curve | None:
    """The drawing of a figure over windows; None where there is no figure."""
    figures = [figure for one in samples for figure in (one.value, one.low, one.high, one.other) if figure is not None]
    if not any(one.value is not None or one.other is not None for one in samples):
        return None
    low, high = min(figures), max(figures)
    margin = (high - low) * 0.1 or abs(high) * 0.1 or 0.1
    low, high = low - margin, high + margin
    left, right = 44.0, WIDTH - 8

    def x(place: int) -> float:
        return round(left + (right - left) * (place + 0.5) / len(samples), 2)

    def y(value: float | None) -> float | None:
        return None if value is None else round(FLOOR - (FLOOR - TOP) * (value - low) / (high - low), 2)

    def text(value: float) -> str:
        return f"{value:.0%}" if percent and high - low > 0.05 else f"{value:.1%}" if percent else f"{value:.{digits}f}"

    points = [
        Point(x(place), y(one.value), y(one.low), y(one.high), y(one.other), one.said or _sampled(one, text))
        for place, one in enumerate(samples)
    ]
    ticks = [(y(value) or 0.0, text(value)) for value in (low + margin, (low + high) / 2, high - margin)]
    ends = sorted({0, len(samples) - 1})
    labels = [(x(place), str(samples[place].number)) for place in ends]
    told = f"{title}, by window: {'; '.join(point.said for point in points)}"
    return Curve(
        title, points, _path([(p.x, p.y) for p in points]), _path([(p.x, p.other) for p in points]), ticks, labels, told
    )


def _sampled(one: Sample, text: Callable[[float], str]) -> str:
    value = "none" if one.value is None else text(one.value)
    interval = f" ({text(one.low)} to {text(one.high)})" if one.low is not None and one.high is not None else ""
    beside = f", beside {text(one.other)}" if one.other is not None else ""
    return f"window {one.number}: {value}{interval}{beside}"


def _path(points: list[tuple[float, float | None]]) -> str:
    """A line through the points that are there; it breaks where one is not."""
    said, pen = [], "M"
    for x, y in points:
        if y is None:
            pen = "M"
        else:
            said.append(f"{pen}{x},{y}")
            pen = "L"
    return " ".join(said)
