"""Folds for choosing parameters, and how these are measured on them. They lie inside train and valid: the test part
measures what was chosen, and nothing that chooses sees it.

The measure is the log loss of calibrated probabilities, as those are what is published. In each fold the model is
fitted; one half of the other examples says how many trees are used and calibrates, as the valid part will, and the
other half measures; then the halves change places. Measured by the half that chose, a model with more ways to fit
would look better than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xgboost
from numpy.typing import NDArray

from features.clock import rfc3339
from model.estimators import Boosted
from model.numeric import Floats, sigmoid
from training import fit
from training.dataset import LabelError
from training.fit import Labels
from training.split import Split, bucket
from usecases import Absence, UseCase

MOST = 4
"""Most folds: each costs every trial a fit. By key, each of the four fifths of the keys outside the test part is one
fold's, so that a fold fits and measures on as many examples as training does."""

Keys = NDArray[np.str_]
Rows = NDArray[np.int64]
"""Positions of examples, those of train first and then those of valid."""
Margins = Callable[[fit.Parameters], list[tuple[Floats, Floats]]]
"""What a fold's model of these parameters answers, as each half chooses it: on that half, and on the other one."""


@dataclass(frozen=True)
class Fold:
    """Examples to fit on, and others in two halves, parted by key: what one half chooses is measured on the other.

    Attributes:
        about: what it measures on: a label time, or a part of the keys.
    """

    about: str
    fitted: Rows
    halves: tuple[Rows, Rows]


def folds(usecase: UseCase, parts: Split) -> list[Fold]:
    """At most MOST folds, the one that fits on most examples first; one in which an outcome is missing is left out.

    With label times: the last one is measured on, and those that were decided before it are fitted on; then the last
    of these, and so on. No label window reaches into another one's fit, and none that is measured overlaps another.
    Without: by key, as all examples of a key are fitted on or measured on.

    Raises:
        LabelError: if no fold is left.
    """
    known = (parts.train, parts.valid)
    key, label = np.concatenate([part.key for part in known]), np.concatenate([part.label for part in known])
    if isinstance(usecase.label, Absence):
        cut = _by_time(np.concatenate([part.t for part in known]), usecase.label.horizon)
    else:
        cut = _by_key(key)
    side = bucket(key, 2)
    found = []
    for about, fitted, measured in cut:
        halves = np.flatnonzero(measured & (side == 0)), np.flatnonzero(measured & (side == 1))
        fold = Fold(about, np.flatnonzero(fitted), halves)
        if all(label[rows].any() and not label[rows].all() for rows in (fold.fitted, *halves)):
            found.append(fold)
    if not found:
        raise LabelError(
            f"{usecase.name}: {len(label):,} examples beside the test part, {int(label.sum()):,} of them positive, are "
            "too few for a fold with both outcomes in each of its parts: train without a search, or ingest more history"
        )
    return found


class Judge:
    """Measures parameters fold by fold; what the folds need again is made once."""

    def __init__(self, usecase: UseCase, parts: Split, algorithm: str) -> None:
        known = (parts.train, parts.valid)
        self.usecase, self.folds = usecase, folds(usecase, parts)
        self.key = np.concatenate([part.key for part in known])
        self.label = np.concatenate([part.label for part in known])
        self.matrix = np.concatenate([usecase.features.matrix(part.features) for part in known])
        margins = self._boosted if algorithm == Boosted.algorithm else self._linear
        self._margins = [margins(fold) for fold in self.folds]

    def losses(self, parameters: fit.Parameters, number: int) -> Floats:
        """The log loss of every example that fold `number` measures on, its two halves one after the other."""
        halves, told = self.folds[number].halves, []
        for side, (own, others) in enumerate(self._margins[number](parameters)):
            scale = fit.calibrate(own, self.label[halves[side]])
            label, p = self.label[halves[1 - side]], sigmoid(scale.slope * others + scale.offset)
            tiny = np.finfo(np.float64).eps
            told.append(-np.log(np.clip(np.where(label, p, 1 - p), tiny, 1)))
        return np.concatenate(told[::-1])

    def better(self, one: fit.Parameters, other: fit.Parameters) -> tuple[float, float]:
        """By how much the mean loss of `one` is lower than that of `other`, and the standard error of that, which is
        the keys': those that were measured might have been others."""
        gain = np.zeros(len(self.label))
        for number, fold in enumerate(self.folds):
            rows = np.concatenate(fold.halves)
            gain[rows] += (self.losses(other, number) - self.losses(one, number)) / len(rows) / len(self.folds)
        _, place = np.unique(self.key, return_inverse=True)
        by_key = np.bincount(place, gain)
        return float(gain.sum()), float(by_key.std() * np.sqrt(len(by_key)))

    def _boosted(self, fold: Fold) -> Margins:
        whole = np.concatenate(fold.halves)
        train, held = self._table(fold.fitted), {"whole": self._table(whole)}
        halves = [self._table(rows) for rows in fold.halves]

        def margins(parameters: fit.Parameters) -> list[tuple[Floats, Floats]]:
            booster, told = fit.grow(parameters, train, {"0": halves[0], "1": halves[1], **held})
            found = []
            for side in (0, 1):
                best = (0, int(np.argmin(told[str(side)])) + 1)
                own, others = (
                    booster.predict(table, output_margin=True, iteration_range=best).astype(np.float64)
                    for table in (halves[side], halves[1 - side])
                )
                found.append((own, others))
            return found

        return margins

    def _linear(self, fold: Fold) -> Margins:
        def margins(parameters: fit.Parameters) -> list[tuple[Floats, Floats]]:
            fitted = self.matrix[fold.fitted], self.label[fold.fitted]
            model = fit.logistic(self.usecase.features, *fitted, parameters["C"])
            one, other = (model.margin(self.matrix[rows]) for rows in fold.halves)
            return [(one, other), (other, one)]

        return margins

    def _table(self, rows: Rows) -> xgboost.DMatrix:
        return xgboost.DMatrix(self.matrix[rows], self.label[rows])


def _by_time(t: NDArray[np.int64], horizon: int) -> Iterator[tuple[str, Labels, Labels]]:
    times = np.unique(t)
    for _ in range(MOST):
        last, times = times[-1], times[times <= times[-1] - horizon]
        if not len(times):
            return
        yield rfc3339(int(last)), t <= times[-1], t == last


def _by_key(key: Keys) -> Iterator[tuple[str, Labels, Labels]]:
    place = bucket(key, MOST + 1)  # the last one is the test part's
    for number in range(MOST):
        yield f"keys, part {number + 1} of {MOST}", place != number, place == number
