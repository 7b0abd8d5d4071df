"""The quick reading of a request: a contract as msgspec's types, which reads rows in a sixth of the contract's time.

It says yes or no. What it refuses is read again by the contract itself, which alone says what is wrong: so whatever is
accepted here must be accepted there, with the same values, and a property of the tests holds that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import astuple

from features.contract import INTEGERS, SAFE_INTEGER, Column
from model.explanation import MOST, TOP

Read = tuple[list[str], tuple[list[Any], ...], int]
"""Keys, one list per field, and how many contributions are asked for."""
_KEY = Annotated[str, Meta(min_length=1, max_length=128)]
KEYS = list[_KEY]
_ASKED: Sequence[tuple[str, Any, Any]] = [("explain", bool, False), ("top", Annotated[int, Meta(ge=1, le=MOST)], TOP)]
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What no key holds; looked for in all keys at once."""


class Quick:
    """Reads requests without a problem.

    Args:
        key: what the use case calls its key; fields: of the request's contract.
    """

    def __init__(self, key: str, fields: Sequence[Column]) -> None:
        self.blanks = [(place, field.blank.value) for place, field in enumerate(fields) if field.blank is not None]
        types = {field.name: _type(field) for field in fields}
        row = _row(key, _KEY, types)
        columns = _row(key, KEYS, {field.name: column(field) for field in fields})
        either = [("rows", _list(row) | UnsetType, UNSET), ("columns", columns | UnsetType, UNSET), *_ASKED]
        one = _row(key, _KEY, types, _ASKED)
        explained = _row(key, _KEY, types, _ASKED[1:])
        many = msgspec.defstruct("Many", either, forbid_unknown_fields=True)
        self._one, self._explained, self._many = map(msgspec.json.Decoder, (one, explained, many))
        self._any = bool(fields)

    def one(self, body: bytes) -> Read:
        """A row.

        Raises:
            ValueError: if anything is wrong with it.
        """
        key, attributes, explain, top = astuple(self._one.decode(body))
        return self._single(key, attributes, top if explain else 0)

    def explained(self, body: bytes) -> Read:
        """A row to explain.

        Raises:
            ValueError: if anything is wrong with it.
        """
        return self._single(*astuple(self._explained.decode(body)))

    def many(self, body: bytes) -> Read:
        """Rows, or columns of equal length.

        Raises:
            ValueError: if anything is wrong with them.
        """
        asked = self._many.decode(body)
        if (asked.rows is UNSET) == (asked.columns is UNSET):
            raise ValueError("either rows or columns")
        explain = asked.top if asked.explain else 0
        if asked.columns is UNSET:
            return self._rows(asked.rows, explain)
        keys, attributes = astuple(asked.columns)
        columns = astuple(attributes) if self._any else ()
        if any(len(column) != len(keys) for column in columns):
            raise ValueError("columns are equally long")
        return self._checked(keys, columns, explain)

    def _single(self, key: str, attributes: Any, explain: int) -> Read:
        return self._checked([key], tuple([value] for value in astuple(attributes)), explain)

    def _rows(self, rows: Sequence[Any], explain: int) -> Read:
        if not rows:
            raise ValueError("no rows")
        keys, attributes = map(list, zip(*map(astuple, rows), strict=True))
        columns = tuple(map(list, zip(*map(astuple, attributes), strict=True))) if self._any else ()
        return self._checked(keys, columns, explain)

    def _checked(self, keys: list[str], columns: tuple[list[Any], ...], explain: int) -> Read:
        if CONTROL.search("".join(keys)):
            raise ValueError("a key has a control character")
        for place, value in self.blanks:
            columns[place][:] = [value if given is None else given for given in columns[place]]
        return keys, columns, explain


def column(field: Column) -> Any:
    """What JSON holds of a field in many rows."""
    return _list(_type(field))


def _type(field: Column) -> Any:
    """What JSON holds of a field."""
    kind: Any
    if field.kind == "category":
        kind = Literal[field.levels]
    elif field.kind == "flag":
        kind = bool
    elif field.kind in INTEGERS:
        low, high = (
            safe if bound is None else bound for bound, safe in ((field.low, -SAFE_INTEGER), (field.high, SAFE_INTEGER))
        )
        kind = Annotated[int, Meta(ge=max(low, -SAFE_INTEGER), le=min(high, SAFE_INTEGER))]
    elif field.kind == "number":
        kind = Annotated[float, Meta(ge=field.low, le=field.high)]
    else:
        kind = _KEY
    return kind | None if field.nullable or field.blank is not None else kind


def _row(key: str, keys: Any, types: dict[str, Any], more: Sequence[tuple[str, Any, Any]] = ()) -> Any:
    attributes = msgspec.defstruct("Attributes", list(types.items()), forbid_unknown_fields=True, gc=False)
    default = () if types else (msgspec.field(default_factory=attributes),)
    fields = [(key, keys), ("attributes", attributes, *default), *more]
    return msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)


def _list(one: Any) -> Any:
    return list[one]
