"""The two kinds of model, as they are stored and scored: boosted trees and a linear model. Nothing is pickled."""

from __future__ import annotations

import ctypes
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from model.numeric import Floats, linear

if TYPE_CHECKING:
    import xgboost


_CONFIG = (
    b'{"type":1,"training":false,"iteration_begin":0,"iteration_end":0,"missing":NaN,"strict_shape":false,"cache_id":0}'
)
"""Margins (type 1) of all trees, NaN being a missing value."""
_LARGEST = float(np.finfo(np.float32).max)
ROUNDING = 1e-5
"""How far contributions may miss the margin by float32's rounding, as a share of 1 + |base| + the sum of their sizes:
measured, 5e-7 with 200 trees of depth 6 and 3e-6 with 3,000 of depth 8."""


class Estimator(Protocol):
    """Turns the feature set's matrix into margins (log-odds before calibration)."""

    file: str
    algorithm: str

    def margin(self, matrix: Floats) -> Floats:
        """float64 of n from float64 (n, p)."""

    def contributions(self, matrix: Floats) -> tuple[Floats, Floats]:
        """What each column adds to the margin, float64 (n, p), and what is there before any does, float64 of n (base).

        base + the sum over columns is the margin but for float64's rounding. A row has the same bits whatever stands
        beside it.
        """

    def write(self, directory: Path) -> None:
        """Store the model as `file` in `directory`."""


class _Table(threading.local):
    """XGBoost's name for an array that is being scored: one for each thread, which does so one after the other."""

    def __init__(self) -> None:
        from xgboost import core  # late, as below

        self.proxy = core._ProxyDMatrix()


class Boosted:
    """XGBoost trees, in XGBoost's own binary JSON."""

    file, algorithm = "model.ubj", "xgboost"

    def __init__(self, booster: xgboost.Booster) -> None:
        from xgboost import core  # late: BentoML's supervisor imports all of this too, and never scores

        self.booster = booster
        self._predict, self._check = core._LIB.XGBoosterPredictFromDense, core._check_call
        self._table = _Table()

    @property
    def columns(self) -> list[str]:
        """Names of the matrix's columns, as `spelled`."""
        return list(self.booster.feature_names or [])

    def margin(self, matrix: Floats) -> Floats:
        """float32 sums of leaves, widened: float64 of n.

        It is `Booster.inplace_predict` by XGBoost's C function (XGBoosterPredictFromDense), without the 80 us in which
        the Python method finds out what kind of table it was given: half of what one row costs. Another 12 us go with a
        table that stays: each new one reads from the control group's files how many CPUs there are.
        """
        if not len(matrix):
            return np.empty(0)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        address, rows = matrix.__array_interface__["data"][0], len(matrix)
        array = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f8","version":3}' % (address, *matrix.shape)
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        margins = ctypes.POINTER(ctypes.c_float)()
        answer = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(margins))
        self._check(self._predict(self.booster.handle, array, _CONFIG, self._table.proxy.handle, *answer))
        return np.ctypeslib.as_array(margins, (rows,)).astype(np.float64)

    def contributions(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Shapley values of the trees (TreeSHAP, path-dependent: Lundberg et al. 2018, arXiv:1802.03888), by XGBoost.

        It adds in float32, so its values miss the margin by some 1e-6: each row's largest one takes up the difference.

        Raises:
            ArithmeticError: if that is more than `ROUNDING` leaves, for then they do not explain this margin.
        """
        if not len(matrix):
            return np.empty(matrix.shape), np.empty(0)
        import xgboost  # late, as above

        margin = self.margin(matrix)
        # what is too large for float32 is an infinity to `margin`, and refused here: both go the same way in each tree
        seen = xgboost.DMatrix(np.clip(matrix, -_LARGEST, _LARGEST), nthread=1)
        told = self.booster.predict(seen, pred_contribs=True, validate_features=False).astype(np.float64)
        values, base = told[:, :-1].copy(), told[:, -1].copy()
        total, size = base.copy(), 1 + np.abs(base)
        for column in values.T:
            total += column
            size += np.abs(column)
        left = margin - total
        wrong = ~(np.abs(left) <= ROUNDING * size)
        if wrong.any():
            row = int(wrong.argmax())
            raise ArithmeticError(
                f"XGBoost's contributions add up to {total[row]!r} in row {row}, and its margin is {margin[row]!r}"
            )
        values[np.arange(len(values)), np.abs(values).argmax(axis=1)] += left
        return values, base

    def write(self, directory: Path) -> None:
        """`model.ubj`."""
        (directory / self.file).write_bytes(self.booster.save_raw("ubj"))

    @staticmethod
    def read(directory: Path) -> Boosted:
        """From `model.ubj`; scoring uses one thread, as a server handles many requests at a time."""
        import xgboost  # late: BentoML's supervisor imports all of this too, and never scores

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray((directory / Boosted.file).read_bytes()))
        return Boosted(booster)


@dataclass(frozen=True)
class Linear:
    """Logistic regression on standardised columns; a missing value counts as the training median (`fill`)."""

    columns: list[str]
    fill: list[float]
    mean: list[float]
    scale: list[float]
    coefficients: list[float]
    intercept: float

    file, algorithm = "model.json", "logistic"

    def margin(self, matrix: Floats) -> Floats:
        """Added column by column: float64 of n."""
        return linear(self._standard(matrix), self.coefficients, self.intercept)

    def contributions(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Coefficient times standardised value: how far the column moves the margin from where it is at the column's
        mean in training; the base is the intercept."""
        return self._standard(matrix) * np.array(self.coefficients), np.full(len(matrix), self.intercept)

    def _standard(self, matrix: Floats) -> Floats:
        filled: Floats = np.where(np.isnan(matrix), np.array(self.fill), matrix)
        standard: Floats = (filled - np.array(self.mean)) / np.array(self.scale)
        return standard

    def write(self, directory: Path) -> None:
        """`model.json`."""
        (directory / self.file).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def read(directory: Path) -> Linear:
        """From `model.json`."""
        return Linear(**json.loads((directory / Linear.file).read_text()))


def spelled(column: str) -> str:
    """A column's name as XGBoost takes it: without brackets and `<`."""
    return column.replace("[", "(").replace("]", ")").replace("<", "lt ")


def read(algorithm: str, directory: Path) -> Boosted | Linear:
    """The stored model of that algorithm.

    Raises:
        ValueError: for an algorithm that this release does not know.
    """
    if algorithm == Boosted.algorithm:
        return Boosted.read(directory)
    if algorithm == Linear.algorithm:
        return Linear.read(directory)
    raise ValueError(f"algorithm {algorithm!r} is neither {Boosted.algorithm!r} nor {Linear.algorithm!r}")
