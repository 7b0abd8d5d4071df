"""What the columns of a frame are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import islice
from numbers import Number
from typing import Any, Literal

import numpy as np

from settings import HoldfastError

Kind = Literal["number", "category", "score", "decision", "outcome", "time", "skip"]
Schema = Mapping[str, str | tuple[str, ...]]
"""A `Kind`, or one of `WORDS`, by name of the column; for a category also the tuple of its declared levels.

score     the model's answer: watched as a number, and what outcomes are held against
decision  what was decided: watched as a category
outcome   whether it happened: true, false, or missing while nobody knows
time      when a row happened: datetimes, or int64 microseconds; its days are the blocks of the season
"""
WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("numeric", "numerical", "float", "int", "integer"), "number"),
    **dict.fromkeys(("categorical", "string", "str", "text", "bool", "boolean", "flag"), "category"),
    **dict.fromkeys(("probability", "prediction"), "score"),
    **dict.fromkeys(("label", "target"), "outcome"),
    **dict.fromkeys(("timestamp", "datetime", "date", "day"), "time"),
    **dict.fromkeys(("ignore", "key", "id"), "skip"),
}
"""What others call these kinds."""
NAMED: Mapping[str, Kind] = {
    "score": "score",
    "probability": "score",
    "decision": "decision",
    "outcome": "outcome",
    "label": "outcome",
    "day": "time",
    "date": "time",
    "time": "time",
    "timestamp": "time",
    "ts": "time",
    "answered_at": "time",
}
"""What a column of that name is where nothing is said of it and its values can be that."""
DAY = 86_400_000_000


class ProfileError(HoldfastError, ValueError):
    """A frame, a window and a profile do not fit together; the message names the column."""


def read(frame: Any, schema: Any) -> dict[str, Kind | tuple[str, ...]]:
    """The schema of a frame, from what is given of it.

    Args:
        frame: a pandas DataFrame, or a mapping of arrays by name.
        schema: a `Schema` (it may leave columns out: those are not watched), a contract (a class, or its columns), or
            None, where names and dtypes tell.

    Raises:
        ProfileError: for a column that the frame lacks, a kind that there is not, or a kind that can be there only once
            and is there twice.
    """
    if not (isinstance(frame, Mapping) or hasattr(frame, "iloc")) or not len(list(frame)):
        raise ProfileError(
            f"a frame is a pandas DataFrame or a mapping of arrays by name, with a column at least, not {frame!r:.80}"
        )
    if not (schema is None or isinstance(schema, Mapping | type | tuple)):
        raise ProfileError(f"a schema is a kind per column by name, a contract, or None, not {schema!r:.80}")
    if schema is None:
        strange = [name for name in frame if not isinstance(name, str)]
        if strange:
            raise ProfileError(f"columns have names that are texts; {strange[0]!r} is none: rename it")
        found: dict[str, Any] = {name: _told(name, frame[name]) for name in frame}
        times = [name for name, kind in found.items() if kind == "time"]
        if len(times) > 1:
            found |= {name: "skip" for name in times if name.lower() not in NAMED}
    elif isinstance(schema, Mapping):
        found = {str(n): WORDS.get(kind, kind) if isinstance(kind, str) else tuple(kind) for n, kind in schema.items()}
    else:
        found = _contract(schema)
        answers: tuple[Kind, ...] = ("score", "decision", "outcome")
        found |= {name: name for name in answers if name in frame and name not in found}
    kinds = Kind.__args__  # type: ignore[attr-defined]
    for name, kind in found.items():
        if name not in frame:
            raise ProfileError(
                f"the schema has a column {name!r}, the frame has not; it has {', '.join(map(str, frame))}"
            )
        if isinstance(kind, str) and kind not in kinds:
            raise ProfileError(f"column {name!r} is {kind!r}; there are {', '.join(kinds)}, or a tuple of levels")
        if np.ndim(frame[name]) != 1:
            raise ProfileError(f"column {name!r} has {np.ndim(frame[name])} dimensions; a column has one value per row")
    for once in ("score", "decision", "outcome", "time"):
        same = [name for name, kind in found.items() if kind == once]
        if len(same) > 1:
            raise ProfileError(
                f"{' and '.join(same)} are both {once!r}; one can be: say which in a schema, and 'skip' for the others"
            )
    return {name: kind for name, kind in found.items() if kind != "skip"}


def _told(name: str, column: Any) -> Kind:
    """What a column is, by its name and dtype."""
    dtype = getattr(column, "dtype", np.asarray(column).dtype)
    kind = getattr(dtype, "kind", "O")
    if kind == "M":
        return "time"
    named = NAMED.get(name.lower())
    if named == "score" and kind not in "fiu":
        named = None
    if named == "time" and kind not in "iu" and not (kind == "O" and _dated(column)):
        named = None
    if named is not None:
        return named
    return "number" if kind in "fiu" or (kind == "O" and _numeric(column)) else "category"


def _numeric(column: Any) -> bool:
    """Whether the first objects that are there are numbers, as decimals are."""
    there = list(islice((value for value in column if value is not None and isinstance(value, Number | str)), 100))
    return bool(there) and all(isinstance(value, Number) and not isinstance(value, bool) for value in there)


def _dated(column: Any) -> bool:
    """Whether the first object that is there is a date."""
    return isinstance(next((value for value in column if value is not None), None), date)


def _contract(schema: Any) -> dict[str, Kind | tuple[str, ...]]:
    """Of a contract: categories have its levels, its first time is when a row happened; keys are not watched."""
    from features.contract import Column, columns

    own: Iterable[Column] = columns(schema) if isinstance(schema, type) else schema
    found: dict[str, Kind | tuple[str, ...]] = {}
    for column in own:
        if column.kind == "time" and "time" not in found.values():
            found[column.name] = "time"
        elif column.kind not in ("key", "id", "time", "arrival"):
            found[column.name] = column.levels or ("category" if column.kind == "flag" else "number")
    return found
