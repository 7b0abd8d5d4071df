"""Why a row has its margin: what each input of the feature set adds to it.

A category's one-hot columns are added up, so that an explanation speaks of what the use case declared. What a row is
told has the same bits whatever stands beside it: online, in a batch, alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np

from features.contract import INTEGERS
from features.featureset import FeatureSet
from features.rows import Arrays
from model.numeric import Floats

TOP, MOST = 5, 100
"""How many contributions are told if nothing is said of it, and at most."""


@dataclass(frozen=True)
class Explanation:
    """Of n rows: margin = base + the sum of contributions, but for float64's rounding.

    Attributes:
        inputs: names of the feature set's inputs, p of them. features: their values, arrays of n by name.
        base, margin: float64 of n, log-odds before calibration. contributions: float64 (n, p), likewise.
    """

    inputs: tuple[str, ...]
    features: Arrays
    base: Floats
    margin: Floats
    contributions: Floats
    _plain: tuple[Callable[[Any], Any], ...]

    @staticmethod
    def of(features: FeatureSet, values: Arrays, margin: Floats, columns: Floats, base: Floats) -> Explanation:
        """From what each column of the matrix adds, float64 (n, len(features.columns)).

        Raises:
            ArithmeticError: naming an input whose contribution is no finite number.
        """
        folded = np.empty((len(columns), len(features.inputs)))
        start = 0
        for place, name in enumerate(features.inputs):
            levels = len(features.levels[name])
            folded[:, place] = columns[:, start]
            for column in range(start + 1, start + levels):
                folded[:, place] += columns[:, column]
            start += levels
        wrong = ~np.isfinite(folded)
        if wrong.any():
            row, place = (int(where[0]) for where in np.nonzero(wrong))
            name = features.inputs[place]
            raise ArithmeticError(f"{name!r} contributes {folded[row, place]} in row {row}: its value is too large")
        plain = tuple(_reading(features, name) for name in features.inputs)
        return Explanation(features.inputs, values, base, margin, folded, plain)

    def __len__(self) -> int:
        return len(self.margin)

    def top(self, k: int, start: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
        """The k largest contributions by size of rows [start, stop), each row as every face tells it:

        {"base", "margin", "contributions": [{"feature", "value", "contribution"}, ...], "rest"}

        The largest comes first, equal ones in the order of the inputs. A value is what its contract or aggregate
        holds (a level as text, a flag as a boolean, money in minor units, a time in microseconds), None where it is
        missing. `rest` is what the other inputs add up to: base + the contributions + rest = margin.
        """
        stop = len(self) if stop is None else stop
        own = self.contributions[start:stop]
        order = np.argsort(-np.abs(own), axis=1, kind="stable")[:, :k]
        others = own.copy()
        np.put_along_axis(others, order, 0.0, axis=1)
        rest = np.zeros(len(own))
        for column in others.T:
            rest += column
        return [
            {
                "base": float(self.base[row]),
                "margin": float(self.margin[row]),
                "contributions": [self._told(row, place) for place in places],
                "rest": left,
            }
            for row, places, left in zip(range(start, stop), order.tolist(), rest.tolist(), strict=True)
        ]

    def _told(self, row: int, place: int) -> dict[str, Any]:
        name = self.inputs[place]
        value = self._plain[place](self.features[name][row])
        return {"feature": name, "value": value, "contribution": float(self.contributions[row, place])}


def _reading(features: FeatureSet, name: str) -> Callable[[Any], Any]:
    """From an array's element to what it stands for: an optional integer or flag, and a minimum, are kept as floats."""
    field = features.fields.get(name)
    if field is not None and field.kind == "category":
        return lambda value: str(value) or None
    kind: Callable[[Any], Any] = methodcaller("item")
    if field is not None and field.kind == "flag":
        kind = bool
    elif (field is not None and field.kind in INTEGERS) or name in {one.name for one in features.aggregates}:
        kind = int
    return lambda value: None if value != value else kind(value)
