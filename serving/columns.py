"""The quick reading of tensors: those of one datatype together, as one array of numpy.

It says yes or no, as `serving.quick` does for JSON: what it accepts, the contract accepts with the same values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from features.contract import INTEGERS, SAFE_INTEGER, Column
from serving.datatypes import SIZES, SOURCES, Tensor, checked, optional
from serving.rows import FEW, Values

Array = np.ndarray[Any, Any]
CODES = {"FP64": "d", "INT64": "q", "BOOL": "?"}
"""The datatypes that numbers are asked for in, as `struct` has them."""


class Group:
    """The fields of one datatype, which are read together as one array: a row of it is a field's column."""

    def __init__(self, declared: str, fields: Sequence[Column]) -> None:
        self.declared, self.fields = declared, fields
        self.names = tuple(field.name for field in fields)
        self._missing = np.array([optional(field) for field in fields])[:, None]
        self._any_missing = bool(self._missing.any())
        self._whole = [place for place, field in enumerate(fields) if declared == "FP64" and field.kind != "number"]
        self._open = all(field.kind == "number" and field.low is field.high is None for field in fields)
        self._blank = any(field.blank is not None for field in fields)
        self._plain = not self._whole and not self._blank
        low, high = zip(*map(bounds, fields), strict=True)
        dtype = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.uint8}[declared]
        self._low, self._high = (np.array(bound, dtype=dtype)[:, None] for bound in (low, high))

    def columns(self, named: Mapping[str, Tensor], n: int) -> Sequence[Values]:
        """A column per field, as `features.contract.array` makes it; of a few rows, plain values.

        Raises:
            ValueError, OverflowError, TypeError: if any value is not as the contract wants it.
        """
        given = [named[name] for name in self.names]
        cells = self._cells(given).reshape(len(given), n)
        good = np.isfinite(cells) if self._open else (cells >= self._low) & (cells <= self._high)
        if not good.all() and not (self._any_missing and (good | np.isnan(cells) & self._missing).all()):
            raise ValueError("a value is missing or out of bounds")
        if self._whole:
            whole = cells[self._whole]
            if not ((whole == np.rint(whole)) | np.isnan(whole)).all():
                raise ValueError("a number is not whole")
            cells[self._whole] = whole + 0.0  # no whole number is -0.0
        if self.declared == "BOOL":
            cells = cells.view(np.bool_)
        if n < FEW and self._plain:
            values: list[list[Any]] = cells.tolist()
            if self._any_missing:
                return [[None if value != value else value for value in one] for one in values]
            return values
        if not self._blank:
            return list(cells)
        return [_filled(field, column) for field, column in zip(self.fields, cells, strict=True)]

    def _cells(self, given: Sequence[Tensor]) -> Array:
        """All elements, a field's n after the other's; the array can be written."""
        data = [tensor.data for tensor in given]
        forms = set(map(type, data))
        if forms == {list} and not (self.declared == "BOOL" and any(None in one for one in data)):
            values = [*chain.from_iterable(data)]
            packed = bytearray(len(values) * SIZES[self.declared])
            try:
                struct.pack_into(f"<{len(values)}{CODES[self.declared]}", packed, 0, *values)
            except struct.error:
                return np.array(values, dtype=self._low.dtype)  # None becomes NaN
            return np.frombuffer(packed, SOURCES[self.declared])
        if list not in forms and {tensor.datatype for tensor in given} == {self.declared}:
            return np.frombuffer(bytearray().join(data), SOURCES[self.declared])
        return np.concatenate([self._converted(tensor) for tensor in given])

    def _converted(self, tensor: Tensor) -> Array:
        """One tensor's elements in the datatype that was asked for."""
        if isinstance(tensor.data, list):
            if self.declared == "BOOL" and None in tensor.data:
                raise ValueError("a flag is missing")
            return np.array(tensor.data, dtype=self._low.dtype)
        cells = np.frombuffer(tensor.data, SOURCES[tensor.datatype])
        if tensor.datatype == "BOOL" and (cells > 1).any():
            raise ValueError("a BOOL is neither 0 nor 1")
        if tensor.datatype == "UINT64" and (cells > SAFE_INTEGER).any():
            raise ValueError("a number beyond all bounds")
        with np.errstate(invalid="ignore"):  # a NaN is a NaN, whatever else it says
            return cells.astype(self._low.dtype)


def bounds(field: Column) -> tuple[float, float]:
    """Lowest and highest value, inclusive, as the datatype has them."""
    if field.kind == "flag":
        return 0, 1
    if field.kind in INTEGERS:
        low = -SAFE_INTEGER if field.low is None else max(math.ceil(field.low), -SAFE_INTEGER)
        return low, SAFE_INTEGER if field.high is None else min(math.floor(field.high), SAFE_INTEGER)
    most = float(np.finfo(np.float64).max)
    return -most if field.low is None else field.low, most if field.high is None else field.high


def _filled(field: Column, column: Array) -> Array:
    """The column with what its missing values mean, in the contract's own dtype."""
    if field.blank is None:
        return column
    column[np.isnan(column)] = field.blank.value
    if field.nullable or field.kind == "number":
        return column
    return column.astype(np.bool_ if field.kind == "flag" else np.int64)


def text(field: Column, values: list[Any]) -> list[Any]:
    """The column of a category or another name."""
    found = set(values)
    if optional(field) and not found.isdisjoint(("", None)):
        instead = None if field.blank is None else field.blank.value
        return _known(field, [value or instead for value in values], found - {"", None})
    return _known(field, values, found)


def _known(field: Column, values: list[Any], found: set[Any]) -> list[Any]:
    if field.kind == "category":
        if not found.issubset(field.levels):
            raise ValueError("no such level")
    else:
        checked(values)
    return values
