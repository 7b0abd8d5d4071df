"""Values of a frame's columns as arrays, whatever they come as: pandas' dtypes, numpy's, objects, lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.profile.schema import DAY, ProfileError

NEVER = int(np.iinfo(np.int64).min)
"""A time that is missing."""
_OUTCOMES = {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0, "": np.nan}


def cut(values: Any, here: slice) -> Any:
    """Some rows of a column: a pandas Series by position, an array, a list."""
    return values.iloc[here] if hasattr(values, "iloc") else values[here]


def take(frame: Any, names: list[str], rows: NDArray[np.int64]) -> Mapping[str, Any]:
    """Some rows of a frame, by position."""
    return {
        name: frame[name].iloc[rows] if hasattr(frame[name], "iloc") else np.asarray(frame[name])[rows]
        for name in names
    }


def numbers(values: Any) -> NDArray[np.float64]:
    """As float64; what is missing or no number is NaN."""
    given = _array(values)
    if given.dtype.kind == "M":
        return micros(given).astype(np.float64)
    if given.dtype.kind in "fiub":
        return np.ascontiguousarray(given, np.float64)
    return np.array([_number(value) for value in given.tolist()], np.float64)


def flags(values: Any) -> NDArray[np.float64]:
    """Outcomes as 1, 0 and NaN: booleans, 1 and 0, or true, yes, false, no in any case; missing ones.

    Raises:
        ProfileError: for any other value.
    """
    given = _array(values)
    if given.dtype.kind in "fiub":
        found = given.astype(np.float64)
    else:
        found = np.array([_flag(value) for value in given.tolist()], np.float64)
    wrong = ~((found == 0) | (found == 1) | np.isnan(found))
    if wrong.any():
        raise _no_outcome(given[wrong][0])
    return found


def listed(values: Any) -> list[Any]:
    """As plain Python values."""
    if hasattr(values, "tolist"):
        found: list[Any] = values.tolist()
        return found
    return list(values)


def micros(values: Any, name: str = "time") -> NDArray[np.int64]:
    """Times as int64 microseconds: datetimes with or without a zone, dates, or numbers: below 10**7 those count days,
    else they are microseconds. A missing one is `NEVER`.

    Raises:
        ProfileError: for what is no time, naming the column.
    """
    given = _array(values)
    try:
        if given.dtype.kind in "OUT":
            given = np.array([np.datetime64(_naive(value), "us") for value in given.tolist()])
        if given.dtype.kind == "M":
            return given.astype("datetime64[us]").astype(np.int64)
        if given.dtype.kind == "f":
            given = np.where(np.isnan(given), NEVER, given)
        whole = given.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"column {name!r} is a time, and a value is none: {error}") from None
    there = whole[whole != NEVER]
    counts_days = len(there) and int(np.abs(there).max()) < 10**7
    return np.where(whole == NEVER, NEVER, whole * DAY) if counts_days else whole


def _array(values: Any) -> NDArray[Any]:
    given: NDArray[Any] = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    return given


def _naive(value: Any) -> Any:
    """A moment without its zone, in UTC."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return "NaT"
    if getattr(value, "tzinfo", None) is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _flag(value: Any) -> float:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return float("nan")
    if isinstance(value, str):
        if value.strip().lower() not in _OUTCOMES:
            raise _no_outcome(value)
        return _OUTCOMES[value.strip().lower()]
    return _number(value)


def _no_outcome(value: Any) -> ProfileError:
    return ProfileError(f"an outcome is true or false (or 1, 0, yes, no, or missing), not {value!r:.40}")
