"""Tensors of the Open Inference Protocol V2 as rows of a contract: one of keys and one per field, all of n elements.

    field                          datatype   a missing value
    key, id, category              BYTES      empty
    number                         FP64       NaN, where it may be missing
    money, integer, time           INT64
    flag                           BOOL
    one of these four that may     FP64       NaN; whole numbers within 2**53 - 1, and 1 or 0 for a flag
    be missing

JSON's null means missing too. Other datatypes are taken where they lose nothing. What is right is read by numpy, all
tensors of a datatype at once; what that refuses is read again as plain values by the contract itself, which says what
is wrong in the words it has for every protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from features.contract import TEXT, Column
from serving.columns import CODES, Group, text
from serving.datatypes import LONG, SIZES, Tensor, accepted, datatype, elements, exact, flag, names, optional, strings
from serving.decode import Decoder
from serving.errors import NotAccepted, TooLarge
from serving.rows import Rows


class Tensors:
    """Reads the tensors of one use case; `names` are the inputs' names, the key's first."""

    def __init__(self, key: str, fields: Sequence[Column], decoder: Decoder) -> None:
        self.key, self.fields, self.decoder = key, tuple(fields), decoder
        self.names = (key, *(field.name for field in fields))
        self._accepted = {key: frozenset({"BYTES"}), **{field.name: accepted(field) for field in fields}}
        self._declared = {key: "BYTES", **{field.name: datatype(field) for field in fields}}
        self._groups = [Group(one, own) for one in CODES if (own := [f for f in self.fields if datatype(f) == one])]
        self._numbers = frozenset(field.name for field in fields if field.kind == "number")
        self._texts = [field for field in self.fields if field.kind in TEXT]

    def rows(self, tensors: Sequence[Tensor], *, typed: bool = True) -> Rows:
        """The rows that they say.

        Args:
            typed: lists hold nothing but what their datatype has, or None.

        Raises:
            NotAccepted: with every problem of every row, or what is wrong with the tensors. TooLarge: too many rows.
        """
        named = {tensor.name: tensor for tensor in tensors}
        n = self._count(tensors, named)
        if typed:
            with suppress(ValueError, OverflowError, TypeError):
                return self._quick(named, n)
        return self._slow(named, n)

    def _quick(self, named: Mapping[str, Tensor], n: int) -> Rows:
        """Raises ValueError or the like if anything is wrong, or is not looked for here."""
        keys = names(named[self.key], n)
        columns: dict[str, Any] = {}
        for group in self._groups:
            columns.update(zip(group.names, group.columns(named, n), strict=True))
        for field in self._texts:
            columns[field.name] = text(field, strings(named[field.name], n))
        return Rows(keys, tuple(columns[field.name] for field in self.fields), range(n))

    def _slow(self, named: Mapping[str, Tensor], n: int) -> Rows:
        keys, fields = elements(named[self.key], n), {f.name: _values(f, named[f.name], n) for f in self.fields}
        rows: list[dict[str, Any]] = [{self.key: key} for key in keys]
        if fields:
            for row, values in zip(rows, zip(*fields.values(), strict=True), strict=True):
                row["attributes"] = dict(zip(fields, values, strict=True))
        try:
            read = self.decoder.accept(rows)
        except NotAccepted as error:
            raise _refused(error.detail, _renamed(error.problems)) from None
        if read.errors:
            told = f"{len(read.errors)} of the {n} rows were not accepted, and this protocol answers all or none"
            raise _refused(told, _renamed(read.errors))
        return read

    def _count(self, tensors: Sequence[Tensor], named: Mapping[str, Tensor]) -> int:
        """How many rows there are; the tensors are those that are asked for, each of so many elements."""
        if len(named) != len(tensors) or named.keys() != self._declared.keys():
            raise _refused("the inputs are not those of the model", self._strangers(tensors, named))
        shape = named[self.key].shape
        n = shape[0] if shape else 0
        if n > self.decoder.max_rows:
            raise TooLarge(f"{n} rows; one request carries at most {self.decoder.max_rows}")
        shapes, declared, odd = ([n], [n, 1]) if n > 0 else (), self._declared, []
        for tensor in tensors:  # what is just as the metadata say is passed over quickly
            data, kind = tensor.data, tensor.datatype
            if tensor.shape in shapes and kind == declared[tensor.name]:
                size = n if type(data) is list else n * SIZES[kind] if kind != "BYTES" else len(data)
                if len(data) == size:
                    continue
            odd.append(tensor)
        found = [(tensor.name, self._problem(tensor, n, shapes)) for tensor in odd]
        problems = [{"field": name, "problem": problem} for name, problem in found if problem]
        if problems:
            raise _refused("the tensors are not as the model's metadata say", problems)
        return n

    def _problem(self, tensor: Tensor, n: int, shapes: Sequence[list[int]]) -> str:
        """What is wrong with a tensor as a whole, if it is to have n elements; "" if nothing is."""
        data, given = tensor.data, tensor.datatype
        if tensor.shape not in shapes:
            return f"shape {_short(tensor.shape)}: every tensor is [n] or [n, 1], of the same n, which is at least 1"
        if given not in self._accepted[tensor.name]:
            others = ", ".join(sorted(self._accepted[tensor.name] - {self._declared[tensor.name]}))
            also = f" ({others} will do)" if others else ""
            return f"datatype {_short(given)}: it is {self._declared[tensor.name]}{also}"
        if isinstance(data, list):
            if len(data) != n:
                return f"{len(data)} elements where shape says {n}"
        elif given != "BYTES" and len(data) != n * SIZES[given]:
            return f"{len(data)} bytes where {n} elements of {given} take {n * SIZES[given]}"
        if given in LONG and tensor.name in self._numbers and not exact(tensor):
            return f"{given} beyond 2**53 - 1: no number of FP64 says it exactly"
        return ""

    def _strangers(self, tensors: Sequence[Tensor], named: Mapping[str, Tensor]) -> list[dict[str, str]]:
        missing = [{"field": name, "problem": "missing"} for name in self.names if name not in named]
        unknown = [
            {"field": name[:100], "problem": "no input of the model"} for name in named if name not in self.names
        ]
        counts = Counter(tensor.name for tensor in tensors)
        twice = [{"field": name[:100], "problem": "given twice"} for name, times in counts.items() if times > 1]
        return [*missing, *unknown[:100], *twice[:100]]


def _values(field: Column, tensor: Tensor, n: int) -> list[Any]:
    """A field's values as JSON would say them."""
    values = elements(tensor, n)
    if optional(field):
        values = [None if value == "" or value != value else value for value in values]
    if datatype(field) != "FP64" or field.kind == "number":
        return values
    if field.kind == "flag":
        return [flag(value) for value in values]
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _refused(detail: str, problems: Sequence[Any]) -> NotAccepted:
    """The error with its first problem in its detail, which is all that clients of the protocol show."""
    first = problems[0]
    where = f"row {first['row']}, " if "row" in first else ""
    one = first["problems"][0] if "row" in first else first
    return NotAccepted(f"{detail}; {where}{one['field']}: {one['problem']}", problems)


def _renamed(errors: Sequence[Any]) -> list[Any]:
    """The problems of rows, with the fields' names as tensors have them."""
    return [
        {**one, "problems": [{**each, "field": each["field"].removeprefix("attributes.")} for each in one["problems"]]}
        for one in errors
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
