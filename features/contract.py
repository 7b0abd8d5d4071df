"""The contract of an input: one pydantic model per kind of row, from which everything else about it is derived.

A field is of one of these kinds. Money is an int in minor units and a time an int in microseconds, so that nothing
that is summed is ever a float:

    Key        str, 1 to 128 characters           the entity a row is about; no control characters
    EventId    str, 1 to 128 characters           the source's own id of a row; likewise
    Timestamp  int, microseconds since the epoch  when it happened
    Arrival    int, microseconds since the epoch  when the source itself learnt of it, if it says so
    Money      int, minor units (cents)           "11.77" in a file is 1177 here and in JSON
    int        int64 within +/- (2**53 - 1)       exact in JSON and in float64
    float      finite float64
    bool       true or false                      1/0, yes/no, true/false in a file
    Literal    one of the stated strings          a category

`X | None` may be missing. `Annotated[X, Blank(value, "why")]` may be missing too, and then means `value`.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, field_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from settings import HoldfastError

Kind = Literal["key", "id", "time", "arrival", "money", "integer", "number", "flag", "category"]
SYSTEM: frozenset[Kind] = frozenset({"key", "id", "time", "arrival"})
"""Kinds that say which row this is and when it was known; the stores keep them under their own names."""
INTEGERS: frozenset[Kind] = frozenset({"time", "money", "integer"})
TEXT: frozenset[Kind] = frozenset({"category", "key", "id"})
SAFE_INTEGER = 2**53 - 1
"""Largest integer that JSON readers and float64 both keep exactly (RFC 7493)."""

RESERVED = frozenset(
    """
    add all alter and any as asc autoincrement between by case cast check collate column commit constraint
    create cross current_date current_time current_timestamp default deferrable delete desc distinct do drop
    else end escape except exists false fetch filter following for foreign from full grant group having in index
    inner insert intersect into is isnull join lateral left like limit natural not nothing notnull null offset
    on only or order outer over overlaps partition primary range references returning right row rows select
    session_user set some table then to transaction true union unique update user using values when where window
    with
    row_id key t known event_id ingested_at batch as_of fingerprint ts original problem
    """.split()
)
"""Names no column may have: words of SQL in one of the engines, and Holdfast's own columns. (A time may be `ts`.)"""


class ContractError(HoldfastError, TypeError):
    """A contract declares something that cannot be kept on every engine; raised at import, naming the field."""


@dataclass(frozen=True)
class KindMark:
    """Annotation that tells an int or a str apart: a time, money, a key, an id."""

    kind: Kind


@dataclass(frozen=True)
class Blank:
    """Rule for a value that may be missing: blank text in a file, null in JSON, then means `value`.

    `value` is in the field's own unit; `why` says what makes that right.
    """

    value: int | float | str | bool
    why: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda given: self.value if given is None else given, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(schema)
        inner = {key: shown.pop(key) for key in ("type", "minimum", "maximum", "enum", "const") if key in shown}
        return {**shown, "anyOf": [inner, {"type": "null"}], "description": f"null means {self.value!r}: {self.why}"}


_NAME = Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")

Key = Annotated[str, _NAME, KindMark("key")]
EventId = Annotated[str, _NAME, KindMark("id")]
Timestamp = Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER), KindMark("time")]
Arrival = Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER), KindMark("arrival")]
Money = Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER), KindMark("money")]


@dataclass(frozen=True)
class Column:
    """One field of a contract, as every engine needs it. Bounds are inclusive, in the field's own unit."""

    name: str
    kind: Kind
    nullable: bool
    low: float | int | None
    high: float | int | None
    levels: tuple[str, ...]
    blank: Blank | None
    description: str


class Contract(BaseModel):
    """Base of every contract: strict, no unknown field, no NaN or Infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _exact(cls, value: object) -> object:
        if type(value) is int and not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise PydanticCustomError("integer_range", "Input should be within +/- (2**53 - 1)")
        return value

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        columns(cls)
        own = cls.__pydantic_decorators__
        for name in [*own.field_validators, *own.model_validators, *own.validators, *own.root_validators]:
            if name != "_exact":
                raise ContractError(f"{cls.__name__}: validator {name!r} would hold for requests but not for files")


def columns(contract: type[Contract]) -> tuple[Column, ...]:
    """The columns of a contract, in declared order.

    Raises:
        ContractError: for a field whose name or type cannot be kept on every engine, naming it.
    """
    return tuple(_column(contract.__name__, name, field) for name, field in contract.model_fields.items())


def column_of(contract: type[Contract], kind: Kind) -> Column | None:
    """The one column of that kind (the key, the time, the id), or None.

    Raises:
        ContractError: if there are two.
    """
    found = [column for column in columns(contract) if column.kind == kind]
    if len(found) > 1:
        raise ContractError(f"{contract.__name__} has two fields of kind {kind}: {found[0].name}, {found[1].name}")
    return found[0] if found else None


def describe(contract: type[Contract]) -> str:
    """The contract as canonical JSON: what the fingerprint and quarantined rows refer to. Prose is not in it."""
    return json.dumps(
        [
            [c.name, c.kind, c.nullable, c.low, c.high, list(c.levels), None if c.blank is None else c.blank.value]
            for c in columns(contract)
        ],
        separators=(",", ":"),
    )


def contract_fingerprint(contract: type[Contract]) -> str:
    """sha256 of `describe`, 64 hex digits."""
    return hashlib.sha256(describe(contract).encode()).hexdigest()


def array(column: Column, values: list[Any] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Accepted values as a 1-d array: int64, float64, bool or str; a missing number is NaN, a missing string "".

    An optional integer or flag is float64, since only a float can be missing. What is such an array already is given
    back.
    """
    if isinstance(values, np.ndarray):
        return values
    if column.kind in TEXT:
        return np.array(["" if value is None else value for value in values], dtype=np.str_)
    if column.nullable or column.kind == "number":
        try:
            return np.frombuffer(struct.pack(f"{len(values)}d", *values)).copy()  # a third of what np.array takes
        except struct.error:
            return np.array(values, dtype=np.float64)  # None becomes NaN
    return np.array(values, dtype=np.bool_ if column.kind == "flag" else np.int64)


def arrays(contract: type[Contract], rows: list[Mapping[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Validated rows as one array per field of the contract."""
    return {column.name: array(column, [row[column.name] for row in rows]) for column in columns(contract)}


def _column(owner: str, name: str, field: FieldInfo) -> Column:
    where = f"{owner}.{name}"
    annotation, nullable = _without_none(field.annotation)
    marks = [*field.metadata]
    while get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        marks = [*_flatten(inner), *marks]
    kind = next((mark.kind for mark in marks if isinstance(mark, KindMark)), None) or _plain_kind(where, annotation)
    reserved = name in RESERVED and (name, kind) != ("ts", "time")
    if reserved or not name.isidentifier() or name != name.lower() or name.startswith("_"):
        raise ContractError(f"{where}: a column is lower_case and no word of SQL or of Holdfast; choose another name")
    low, high = (
        _bound(marks, annotated_types.Ge, "ge", max),
        _bound(marks, annotated_types.Le, "le", min),
    )
    if any(isinstance(mark, annotated_types.Gt | annotated_types.Lt) for mark in marks):
        raise ContractError(f"{where}: bounds are inclusive here; write ge= and le= instead of gt= and lt=")
    if kind == "integer":
        low, high = (-SAFE_INTEGER if low is None else low), (SAFE_INTEGER if high is None else high)
    blank = next((mark for mark in marks if isinstance(mark, Blank)), None)
    for mark in marks:
        held = isinstance(mark, annotated_types.Ge | annotated_types.Le | KindMark | Blank) or mark in _NAME.metadata
        if not held:
            raise ContractError(f"{where}: {mark!r} would hold for requests but not for files; only ge= and le= do")
    if blank is not None:
        _fits(where, blank.value, annotation, low, high)
    if nullable and kind in SYSTEM:
        raise ContractError(f"{where}: a {kind} cannot be missing")
    if field.default is not None and not field.is_required():
        raise ContractError(f"{where}: a default hides a missing value; use Blank(value, why) to state what it means")
    return Column(
        name=name,
        kind=kind,
        nullable=nullable,
        low=low,
        high=high,
        levels=get_args(annotation) if kind == "category" else (),
        blank=blank,
        description=field.description or "",
    )


def _fits(where: str, value: object, annotation: Any, low: float | None, high: float | None) -> None:
    accepted = [float, int] if annotation is float else [annotation]
    fits = value in get_args(annotation) if get_origin(annotation) is Literal else type(value) in accepted
    if fits and isinstance(value, int | float):
        fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    if not fits:
        raise ContractError(f"{where}: Blank({value!r}) is no value that the field itself accepts")


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [argument for argument in get_args(annotation) if argument is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return annotation, False


def _flatten(marks: list[Any]) -> list[Any]:
    return [mark for item in marks for mark in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _plain_kind(where: str, annotation: Any) -> Kind:
    plain: dict[Any, Kind] = {bool: "flag", int: "integer", float: "number"}
    if annotation in plain:
        return plain[annotation]
    levels = get_args(annotation)
    if get_origin(annotation) is Literal and levels and all(isinstance(level, str) and level for level in levels):
        for level in levels:
            if level != level.strip():
                raise ContractError(f"{where}: level {level!r} has blanks at an end, which files are read without")
        return "category"
    raise ContractError(
        f"{where}: {annotation!r} is no kind of column; use Key, EventId, Timestamp, Money, int, float, bool or a "
        "Literal of non-empty strings"
    )


def _bound(marks: list[Any], mark: type, attribute: str, tightest: Callable[..., Any]) -> int | float | None:
    bounds = [getattr(found, attribute) for found in marks if isinstance(found, mark)]
    return tightest(bounds) if bounds else None
