"""The two kinds of model, as they are stored and scored: boosted trees and a linear model. Nothing is pickled."""

from __future__ import annotations

import ctypes
import json
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


class Estimator(Protocol):
    """Turns the feature set's matrix into margins (log-odds before calibration)."""

    file: str
    algorithm: str

    def margin(self, matrix: Floats) -> Floats:
        """float64 of n from float64 (n, p)."""

    def write(self, directory: Path) -> None:
        """Store the model as `file` in `directory`."""


class Boosted:
    """XGBoost trees, in XGBoost's own binary JSON."""

    file, algorithm = "model.ubj", "xgboost"

    def __init__(self, booster: xgboost.Booster) -> None:
        from xgboost import core  # late: BentoML's supervisor imports all of this too, and never scores

        self.booster = booster
        self._predict, self._check = core._LIB.XGBoosterPredictFromDense, core._check_call

    def margin(self, matrix: Floats) -> Floats:
        """float32 sums of leaves, widened: float64 of n.

        It is `Booster.inplace_predict` by XGBoost's C function (XGBoosterPredictFromDense), without the 80 us in which
        the Python method finds out what kind of table it was given: half of what one row costs.
        """
        if not len(matrix):
            return np.empty(0)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        address, rows = matrix.__array_interface__["data"][0], len(matrix)
        array = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f8","version":3}' % (address, *matrix.shape)
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        margins = ctypes.POINTER(ctypes.c_float)()
        answer = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(margins))
        self._check(self._predict(self.booster.handle, array, _CONFIG, ctypes.c_void_p(), *answer))
        return np.ctypeslib.as_array(margins, (rows,)).astype(np.float64)

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
        filled = np.where(np.isnan(matrix), np.array(self.fill), matrix)
        return linear((filled - np.array(self.mean)) / np.array(self.scale), self.coefficients, self.intercept)

    def write(self, directory: Path) -> None:
        """`model.json`."""
        (directory / self.file).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def read(directory: Path) -> Linear:
        """From `model.json`."""
        return Linear(**json.loads((directory / Linear.file).read_text()))


def read(algorithm: str, directory: Path) -> Estimator:
    """The stored model of that algorithm.

    Raises:
        ValueError: for an algorithm that this release does not know.
    """
    if algorithm == Boosted.algorithm:
        return Boosted.read(directory)
    if algorithm == Linear.algorithm:
        return Linear.read(directory)
    raise ValueError(f"algorithm {algorithm!r} is neither {Boosted.algorithm!r} nor {Linear.algorithm!r}")
