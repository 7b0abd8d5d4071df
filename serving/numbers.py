"""The quick reading of columns of numbers: from JSON into arrays, without a Python number in between.

simdjson (Langdale and Lemire 2019, arXiv:1902.08318) reads them in a third of the time that `serving.quick` takes. It
says yes or no as well: what is refused here is read there, and what is accepted here is accepted there with the same
values; a property of the tests holds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import simdjson

from features.contract import INTEGERS, TEXT, Column, array
from serving.columns import bounds
from serving.quick import CONTROL, KEYS, column
from serving.rows import Values

_BEGIN = b'"columns"'
"""How a request begins that is read here."""


class Numbers:
    """Reads columns where most fields are numbers that are never missing.

    Args:
        key: what the use case calls its key; fields: of the request's contract. least: bytes of a request that is read
            here, for few numbers are quick to read anyway.
    """

    def __init__(self, key: str, fields: Sequence[Column], least: int = 4_000) -> None:
        self._key, self._fields, self._least = key, fields, least
        self._others = {field.name: column(field) for field in fields if not _plain(field)}
        names = any(field.kind in TEXT and field.kind != "category" for field in fields)
        self._parser = simdjson.Parser() if len(self._others) < len(fields) / 2 and not names else None

    def read(self, body: bytes) -> tuple[list[str], tuple[Values, ...]] | None:
        """Keys, and a column per field: an array as `features.contract.array` makes it, or a list of what is text.

        None is: this is for somebody else to read, because of what it is or because of something wrong with it.
        """
        if self._parser is None or len(body) < self._least or not body.startswith(b"{") or _BEGIN not in body[:16]:
            return None
        try:
            return self._columns(self._parser.parse(body), body.count(b"["))
        except (ValueError, TypeError, KeyError, RuntimeError):  # simdjson has all of them for what it refuses
            return None

    def _columns(self, document: Any, brackets: int) -> tuple[list[str], tuple[Values, ...]]:
        given = document["columns"]
        attributes = given["attributes"]
        if (len(document), len(given), len(attributes)) != (1, 2, len(self._fields)):
            raise ValueError("another name, or one name twice")
        if brackets != 1 + len(self._fields):
            raise ValueError("a list within a list, which the parser would make flat")
        keys = msgspec.convert(_listed(given[self._key]).as_list(), KEYS)
        if CONTROL.search("".join(keys)):
            raise ValueError("a key has a control character")
        columns = tuple(self._column(field, _listed(attributes[field.name])) for field in self._fields)
        if any(len(one) != len(keys) for one in columns):
            raise ValueError("columns are equally long")
        return keys, columns

    def _column(self, field: Column, given: simdjson.Array) -> Values:
        if field.name in self._others:
            values = msgspec.convert(given.as_list(), self._others[field.name])
            if field.blank is not None:
                values = [field.blank.value if value is None else value for value in values]
            return values if field.kind in TEXT else array(field, values)
        whole = field.kind in INTEGERS
        numbers = np.frombuffer(given.as_buffer(of_type="i" if whole else "d"), np.int64 if whole else np.float64)
        if whole or (field.low, field.high) != (None, None):  # any other is finite: JSON has no other
            low, high = bounds(field)
            if not (low <= numbers.min() and numbers.max() <= high):
                raise ValueError("a value is out of bounds")
        return numbers


def _plain(field: Column) -> bool:
    """Whether it is a number in every row."""
    return field.kind in (*INTEGERS, "number") and not field.nullable and field.blank is None


def _listed(given: Any) -> simdjson.Array:
    if not isinstance(given, simdjson.Array):
        raise TypeError("a column is a list")
    return given
