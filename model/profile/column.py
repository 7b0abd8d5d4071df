"""A column's cells: which there are, and into which a value falls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.profile.schema import ProfileError

BINS = 20
LEVELS = 60
GROUPS = 5
Role = Literal["input", "score", "decision"]
Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Column:
    """Cells of a number: its bins, then below range, above range, missing. Of a category: its levels, unseen, missing.

    Attributes:
        edges: upper bounds (inclusive) of all bins but the last, ascending. low, high: the range: that of the
            reference, and half its width on either side.
        levels: those of the reference, the most frequent ones first; at most `LEVELS`, any other counts as unseen.
        chosen: whether the levels are some of too many.
        groups: per cell, which of at most `GROUPS` coarse cells it is in, in pairs; `GROUPS` for none.
    """

    name: str
    kind: Literal["number", "category"]
    role: Role
    edges: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    levels: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    chosen: bool = False

    @property
    def body(self) -> int:
        """How many cells are bins or levels."""
        return len(self.edges) + 1 if self.kind == "number" else len(self.levels)

    @property
    def size(self) -> int:
        """How many cells there are."""
        return self.body + (3 if self.kind == "number" else 2)

    @property
    def cells(self) -> list[str]:
        """What each cell is, in words."""
        if self.kind == "category":
            return [*self.levels, "unseen", "missing"]
        edges = [f"{edge:.6g}" for edge in self.edges]
        inner = [high if low == high else f"{low} to {high}" for low, high in pairwise(edges)]
        bins = [f"<= {edges[0]}", *inner, f"> {edges[-1]}"] if edges else ["any"]
        return [*bins, "below range", "above range", "missing"]

    def codes(self, values: NDArray[Any]) -> Codes:
        """The cell of each value, of numbers (n,) float64 or of categories (n,) codes as `Levels` gives them."""
        if self.kind == "category":
            return values.astype(np.uint8, copy=False)
        found = np.zeros(len(values), np.uint8)
        beyond = np.empty(len(values), np.bool_)
        for edge in self.edges:  # twenty comparisons are several times faster than a search per value
            np.greater(values, edge, out=beyond)
            np.add(found, beyond.view(np.uint8), out=found)
        # rarely anything is out of range: all three are asked at once
        if not len(values) or not (values.min() >= self.low and values.max() <= self.high):
            found[values < self.low] = self.body
            found[values > self.high] = self.body + 1
            found[np.isnan(values)] = self.body + 2
        return found


class Levels(dict[Any, int]):
    """The cell of any value of a category: a level, unseen, or missing (None, NaN, an empty text)."""

    KEPT = 10_000
    """Values that are remembered: unseen ones may be without end."""

    def __init__(self, levels: tuple[str, ...]) -> None:
        super().__init__()
        self._levels = {level: code for code, level in enumerate(levels)}

    def __missing__(self, value: Any) -> int:
        said = text(value)
        code = len(self._levels) + 1 if said is None else self._levels.get(said, len(self._levels))
        if len(self) < self.KEPT:
            self[value] = code
        return code


def text(value: Any) -> str | None:
    """A value of a category as a level is written; None for what is missing."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def number(name: str, role: Role, values: NDArray[np.float64]) -> Column:
    """The cells of a number, from its values in the reference (NaN: missing).

    Bins are quantiles; but a value that stands for a twentieth or more has a bin of its own, and what is left is parted
    among the others, so that a column of mostly zeros still tells how the rest is spread.
    """
    there = np.sort(values[np.isfinite(values)])
    if not len(there):
        return _grouped(Column(name, "number", role, (), -np.inf, np.inf), np.zeros(4, np.int64))
    distinct, counts = np.unique(there, return_counts=True)
    if len(distinct) <= BINS:
        edges = distinct[:-1]
    else:
        heavy = counts * BINS >= len(there)
        rest = np.repeat(distinct[~heavy], counts[~heavy])
        bins = max(BINS - int(heavy.sum()), 2)
        inner = np.quantile(rest, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
        spikes = distinct[heavy]
        edges = np.unique(np.concatenate([inner, spikes, np.nextafter(spikes, -np.inf)]))
        edges = edges[(edges >= distinct[0]) & (edges < distinct[-1])]
    low, high = float(distinct[0]), float(distinct[-1])
    margin = (high - low) / 2 or max(abs(high), 1.0) / 2
    made = Column(name, "number", role, tuple(edges.tolist()), low - margin, high + margin)
    return _grouped(made, np.bincount(made.codes(there), minlength=made.size))


def category(name: str, role: Role, values: list[Any], declared: tuple[str, ...] = ()) -> Column:
    """The cells of a category, from its values in the reference and the levels that are declared for it.

    Where there are too many levels for all to be kept, those are that are frequent among half of the rows (`choosing`);
    the other half then counts (`Column.chosen`). Rows that both choose and count would have the chosen ones seem more
    frequent than they are, and windows seem to lack them.
    """
    try:
        found = Counter(said for said in map(text, values) if said is not None)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"column {name!r} is a category, and a value is none: {error}") from None
    chosen = len({*found, *declared}) > LEVELS
    if chosen:
        half = choosing(np.arange(len(values))).tolist()
        found = Counter(said for said in map(text, compress(values, half)) if said is not None)
    known = sorted({*found, *declared}, key=lambda level: (-found[level], level))[:LEVELS]
    counts = np.array([*(found[level] for level in known), 0, 0], np.int64)
    return _grouped(Column(name, "category", role, levels=tuple(known), chosen=chosen), counts)


def choosing(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of a reference, by position, choose levels: about half of them, in no pattern (Knuth's multiplicative
    hash)."""
    hashed = rows.astype(np.uint64) * np.uint64(2_654_435_761) >> np.uint64(16)
    return np.asarray(hashed % np.uint64(2) == 0, np.bool_)


def _grouped(column: Column, counts: NDArray[np.int64]) -> Column:
    """With its coarse cells: numbers by the mass below them, categories the most frequent levels and the rest."""
    body = column.body
    if column.kind == "category":
        groups = [min(place, GROUPS - 1) for place in range(body)] + [GROUPS, GROUPS]
    else:
        mass = counts[:body] / max(counts[:body].sum(), 1)
        middle = np.cumsum(mass) - mass / 2
        coarse = np.minimum((middle * GROUPS).astype(int), GROUPS - 1).tolist()
        groups = [*coarse, 0, GROUPS - 1, GROUPS]
    return Column(**{**vars(column), "groups": tuple(groups)})
