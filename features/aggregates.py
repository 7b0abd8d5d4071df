"""Aggregates over events, and the one SQL text they compile to.

The text reads two relations, `spine(row_id, key, t)` and `events(key, ts, ingested_at, ...)`, and runs unchanged on
DuckDB, SQLite, PostgreSQL 15 and Spark 4. Training, materialization, batch and on-read differ only in the spine.

An event counts at t where `ts < t` (an event at t is excluded), `ingested_at <= t` (it had arrived), and, with a window
w, `ts > t - w`: the window is open at both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from features.contract import INTEGERS, RESERVED, SYSTEM, Contract, column_of, columns
from settings import HoldfastError

Function = Literal["count", "sum", "min", "max", "count_distinct"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
TIME = "ts"
"""What the event's time is called in the SQL, whatever the contract calls it."""


class FeatureError(HoldfastError, TypeError):
    """A feature is declared in a way that cannot be computed; raised at import, naming the feature."""


@dataclass(frozen=True)
class Where:
    """Keeps the events for which `column operator value` holds; a missing value never does."""

    column: str
    operator: Operator
    value: int | str | bool


@dataclass(frozen=True)
class Aggregate:
    """One number per spine row over the events of its key. Make one with `count`, `sum`, `min`, `max`, ...

    `window` is in microseconds, None for all of the past. A count or sum over no events is 0; a min or max is NaN.
    """

    name: str
    function: Function
    column: str | None = None
    window: int | None = None
    where: tuple[Where, ...] = ()

    @staticmethod
    def count(name: str, *, window: int | None = None, where: Sequence[Where] = ()) -> Aggregate:
        """How many events."""
        return Aggregate(name, "count", None, window, tuple(where))

    @staticmethod
    def sum(name: str, column: str, *, window: int | None = None, where: Sequence[Where] = ()) -> Aggregate:
        """The sum of an integer column (money is one); missing values add nothing."""
        return Aggregate(name, "sum", column, window, tuple(where))

    @staticmethod
    def min(name: str, column: str, *, window: int | None = None, where: Sequence[Where] = ()) -> Aggregate:
        """The smallest value of an integer column; of the event's time, the first event."""
        return Aggregate(name, "min", column, window, tuple(where))

    @staticmethod
    def max(name: str, column: str, *, window: int | None = None, where: Sequence[Where] = ()) -> Aggregate:
        """The largest value of an integer column; of the event's time, the last event."""
        return Aggregate(name, "max", column, window, tuple(where))

    @staticmethod
    def count_distinct(name: str, column: str, *, window: int | None = None, where: Sequence[Where] = ()) -> Aggregate:
        """How many different values of an integer column."""
        return Aggregate(name, "count_distinct", column, window, tuple(where))


def compile_sql(aggregates: Sequence[Aggregate], events: type[Contract]) -> str:
    """The SQL text of these aggregates: columns row_id, known (events visible at t), then one per aggregate.

    Raises:
        FeatureError: for a duplicate or unusable name, an unknown column, or one that is no integer.
    """
    stamp = column_of(events, "time")
    if stamp is None or column_of(events, "key") is None:
        raise FeatureError(f"{events.__name__} needs a Key and a Timestamp to be a contract of events")
    time = stamp.name
    _check(aggregates, events)
    lines = [f"  {_expression(aggregate, time)} AS {aggregate.name}" for aggregate in aggregates]
    return "\n".join(
        [
            "SELECT",
            ",\n".join(["  s.row_id AS row_id", f"  COUNT(e.{TIME}) AS known", *lines]),
            "FROM spine s",
            f"LEFT JOIN events e ON e.key = s.key AND e.{TIME} < s.t AND e.ingested_at <= s.t",
            "GROUP BY s.row_id",
        ]
    )


def convert(aggregates: Sequence[Aggregate], raw: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What an engine answered, as every engine's answer: counts and sums int64 with 0 for nothing, min and max
    float64 with NaN for nothing.

    `raw` maps each name to integers in which a missing one is None or masked (DuckDB answers masked arrays).
    """
    return {aggregate.name: _convert(aggregate, raw[aggregate.name]) for aggregate in aggregates}


def nothing(aggregates: Sequence[Aggregate], rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """The aggregates of `rows` keys without events."""
    return convert(aggregates, {aggregate.name: [None] * rows for aggregate in aggregates})


def _convert(aggregate: Aggregate, values: Any) -> np.ndarray[Any, Any]:
    empty: int | float
    dtype: type[np.int64] | type[np.float64]
    empty, dtype = (np.nan, np.float64) if aggregate.function in ("min", "max") else (0, np.int64)
    if isinstance(values, np.ma.MaskedArray):  # what DuckDB answers where some row is NULL
        return np.asarray(np.ma.filled(values.astype(dtype), empty))
    if isinstance(values, np.ndarray):
        return values.astype(dtype)
    return np.array([empty if value is None else value for value in values], dtype=dtype)


def _expression(aggregate: Aggregate, time: str) -> str:
    def named(column: str) -> str:
        return f"e.{TIME if column == time else column}"

    conditions = [f"e.{TIME} > s.t - {aggregate.window}"] if aggregate.window is not None else []
    conditions += [f"{named(where.column)} {where.operator} {_literal(where.value)}" for where in aggregate.where]
    target = named(aggregate.column or time)
    call = {
        "count": f"COUNT({target})",
        "sum": f"SUM({target})",
        "min": f"MIN({target})",
        "max": f"MAX({target})",
        "count_distinct": f"COUNT(DISTINCT {target})",
    }[aggregate.function]
    if conditions:
        call = f"{call} FILTER (WHERE {' AND '.join(conditions)})"
    return f"CAST({call} AS BIGINT)" if aggregate.function == "sum" else call


def _literal(value: int | str | bool) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _check(aggregates: Sequence[Aggregate], events: type[Contract]) -> None:
    known = {c.name: c for c in columns(events) if c.kind == "time" or c.kind not in SYSTEM}
    seen: set[str] = set()
    for aggregate in aggregates:
        name = aggregate.name
        if name in seen:
            raise FeatureError(f"aggregate {name!r} is declared twice")
        seen.add(name)
        if not name.isidentifier() or name != name.lower() or name in RESERVED:
            raise FeatureError(f"aggregate {name!r}: a name is lower_case and no word of SQL or of Holdfast")
        if aggregate.window is not None and aggregate.window <= 0:
            raise FeatureError(f"aggregate {name!r}: a window is a positive number of microseconds")
        for column in filter(None, [aggregate.column, *(where.column for where in aggregate.where)]):
            if column not in known:
                raise FeatureError(
                    f"aggregate {name!r} reads {column!r}, which {events.__name__} does not have; it has "
                    f"{', '.join(known)}"
                )
        if aggregate.column is not None and known[aggregate.column].kind not in INTEGERS:
            raise FeatureError(
                f"aggregate {name!r}: {aggregate.column!r} is a {known[aggregate.column].kind}; only whole numbers "
                "aggregate to the same bits on every engine"
            )
        for where in aggregate.where:
            kind = known[where.column].kind
            if where.operator not in (get_args(Operator) if kind != "category" else ("=", "!=")):
                raise FeatureError(f"aggregate {name!r}: {where.column!r} is a {kind}, compared by {where.operator!r}")
            fits = isinstance(where.value, str) if kind == "category" else isinstance(where.value, int)
            if not fits or kind == "number":
                raise FeatureError(f"aggregate {name!r}: {where.column!r} is a {kind}, compared with {where.value!r}")
            levels = known[where.column].levels
            if levels and where.value not in levels:
                raise FeatureError(
                    f"aggregate {name!r}: {where.column!r} is never {where.value!r}; it is one of {', '.join(levels)}"
                )
