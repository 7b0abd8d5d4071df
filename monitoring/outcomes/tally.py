"""What performance is measured from: whole numbers that add up, so that any split and order gives the same figures."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.metrics import BINS, bins, losses
from model.numeric import Floats

ONE = 1 << 30
"""What a sum of numbers about 1 is counted in: each row is off by half of this part of 1 at most."""
STEP, REACH = 0.02, 12.0
"""Levels of the answers, in log odds: their width, and where the outermost begin. Answers of one level count as tied,
which moves a ROC-AUC by a small part of its standard error, about .0001 at most."""
LEVELS = round(2 * REACH / STEP) + 2
SUMS = ("entropy", "variance", "loss", "loss_squared", "square", "square_squared")
"""Of rows: the expected log loss and Brier score of each, and those that it came to, and their squares."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """Answers, and outcomes of those that have one. Arrays of int64; sums of probabilities are in parts of `ONE`.

    - levels: (2, LEVELS): rows of each level, and their probabilities' sum; positives: LEVELS, of those that came true;
    - reliability: (3, BINS): rows, positives and probabilities' sum in bins of equal width;
    - decided: (2, 2, 2): [flagged, outcome, rows or sum of probabilities]; without outcomes, all is at outcome 0;
    - sums: in the order of `SUMS`.
    """

    levels: Counts
    positives: Counts
    reliability: Counts
    decided: Counts
    sums: Counts

    @staticmethod
    def empty() -> Tally:
        """Of no answer."""
        return Tally(*(np.zeros(shape, np.int64) for shape in _SHAPES))

    @staticmethod
    def of(score: Floats, flagged: NDArray[np.bool_], outcome: NDArray[np.bool_] | None = None) -> Tally:
        """Of n answers.

        Args:
            score: probabilities; flagged: whether each was decided positively, at the threshold it was served with;
            outcome: whether it came true; None where that is not known of any.
        """
        true = np.zeros(len(score), bool) if outcome is None else outcome
        mass, level, place = np.rint(score * ONE).astype(np.int64), _level(score), bins(score)
        loss, square = losses(true, score), np.square(score - true)
        known = np.zeros(0) if outcome is None else np.ones(len(score))
        tiny = np.finfo(score.dtype).eps
        p = np.clip(score, tiny, 1 - tiny)
        entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
        own = [_total(entropy), _total(score * (1 - score))]
        own += [_total(values) if len(known) else 0 for values in (loss, loss**2, square, square**2)]
        flags, outcomes = flagged.astype(np.int64), true.astype(np.int64)
        return Tally(
            np.stack([_added(level, None, LEVELS), _added(level, mass, LEVELS)]),
            _added(level, outcomes, LEVELS),
            np.stack([_added(place, part, BINS) for part in (None, outcomes, mass)]),
            np.stack([_added(2 * flags + outcomes, part, 4) for part in (None, mass)], axis=-1).reshape(2, 2, 2),
            np.array(own, np.int64),
        )

    def __add__(self, other: Tally) -> Tally:
        """Of both."""
        return Tally(*(one + more for one, more in zip(self._arrays(), other._arrays(), strict=True)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and all(
            np.array_equal(one, more) for one, more in zip(self._arrays(), other._arrays(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    @property
    def rows(self) -> int:
        """How many answers."""
        return int(self.levels[0].sum())

    def text(self) -> str:
        """The same as text of about 3 kB, for `read`."""
        whole = np.concatenate([values.ravel() for values in self._arrays()])
        return base64.b85encode(zlib.compress(whole.astype("<i8").tobytes(), 6)).decode()

    @staticmethod
    def read(text: str) -> Tally:
        """What was written by `text`.

        Raises:
            ValueError: if it was not.
        """
        try:
            whole = np.frombuffer(zlib.decompress(base64.b85decode(text)), "<i8").astype(np.int64)
        except zlib.error as error:
            raise ValueError(f"no tally: {error}") from None
        ends = np.cumsum([int(np.prod(shape)) for shape in _SHAPES])
        if len(whole) != ends[-1]:
            raise ValueError(f"no tally of this version: {len(whole)} numbers, {ends[-1]} are expected")
        parts = np.split(whole, ends[:-1])
        return Tally(*(part.reshape(shape) for part, shape in zip(parts, _SHAPES, strict=True)))

    def _arrays(self) -> tuple[Counts, ...]:
        return self.levels, self.positives, self.reliability, self.decided, self.sums


_SHAPES: tuple[tuple[int, ...], ...] = ((2, LEVELS), (LEVELS,), (3, BINS), (2, 2, 2), (len(SUMS),))


def _level(score: Floats) -> NDArray[Any]:
    """Of each answer, ascending."""
    with np.errstate(divide="ignore"):
        odds = np.log(score) - np.log1p(-score)
    inside = np.clip(odds, -REACH - STEP / 2, REACH + STEP / 2)
    return np.asarray(np.floor((inside + REACH) / STEP) + 1, np.int64)


def _added(place: NDArray[Any], weight: Counts | None, length: int) -> Counts:
    """Sums of whole weights by place; without weights, how many."""
    found = np.zeros(length, np.int64)
    np.add.at(found, place, 1 if weight is None else weight)
    return found


def _total(values: Floats) -> int:
    return int(np.rint(values * ONE).astype(np.int64).sum())
