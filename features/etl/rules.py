"""The rules of a contract as SQL over text columns: each field's value, and the reason why it has none.

The same rules as the pydantic contract, for frames: text is parsed only where its whole form is right (a bare cast
would round 1.5 to 2), and every field of a row gives its own reason. All comparisons guard against NULL.
"""

from __future__ import annotations

import re

from features.contract import Column
from features.source import Source

_INTEGER = r"([+-]?\d{1,19})(\.0*)?"
_MONEY = r"[+-]?\d{1,15}(\.\d{0,2}0*)?"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_DATE, _HOUR = r"\d{4}-\d\d-\d\d", r"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_NAIVE = rf"{_DATE}({_HOUR})?"
_ZONED = rf"{_DATE}{_HOUR}(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_TRUE, _FALSE = "('1', 'true', 't', 'yes', 'y')", "('0', 'false', 'f', 'no', 'n')"


def text(column: Column, source: Source) -> str:
    """SQL: the field's text, trimmed and rewritten, NULL where it is blank."""
    expression = f'trim("{column.name}")'
    if column.name in source.rewrite:
        pattern, replacement = source.rewrite[column.name]
        expression = f"regexp_replace({expression}, {quote(pattern)}, {quote(replacement)})"
    return f"nullif({expression}, '')"


def value(column: Column, source: Source) -> str:
    """SQL: the typed value of the text column of this name, NULL where the text has another form."""
    x = f'"{column.name}"'
    if column.kind in ("key", "id"):
        parsed = f"CASE WHEN length({x}) <= 128 AND NOT regexp_matches({x}, '[\\x00-\\x1f\\x7f]') THEN {x} END"
    elif column.kind == "category":
        parsed = f"CASE WHEN {x} IN ({', '.join(map(quote, column.levels))}) THEN {x} END"
    elif column.kind == "integer":
        parsed = f"CASE WHEN {_is(x, _INTEGER)} THEN TRY_CAST(regexp_extract({x}, {quote(_INTEGER)}, 1) AS BIGINT) END"
    elif column.kind == "money":
        parsed = f"CASE WHEN {_is(x, _MONEY)} THEN CAST(TRY_CAST({x} AS DECIMAL(38, 15)) * 100 AS BIGINT) END"
    elif column.kind == "number":
        number = f"TRY_CAST({x} AS DOUBLE)"
        parsed = f"CASE WHEN {_is(x, _NUMBER)} AND isfinite({number}) THEN {number} END"
    elif column.kind == "flag":
        parsed = f"CASE WHEN lower({x}) IN {_TRUE} THEN 1 WHEN lower({x}) IN {_FALSE} THEN 0 END"
    else:
        parsed = _time(x, source)
    if column.blank is not None:
        parsed = f"CASE WHEN {x} IS NULL THEN {_constant(column.blank.value)} ELSE {parsed} END"
    return parsed


def reason(column: Column, source: Source) -> str:
    """SQL: why the row cannot be taken because of this field, or NULL. Reads `text` as x, `value` as v."""
    x, v, name = f't."{column.name}"', f'v."{column.name}"', column.name
    shown = f"'{name}: ' || {_shown(x)} || "
    cases = [] if column.nullable or column.blank else [f"WHEN {x} IS NULL THEN '{name}: missing'"]
    cases.append(f"WHEN {x} IS NOT NULL AND {v} IS NULL THEN {shown}{quote(_wanted(column, source))}")
    if column.low is not None and column.kind not in ("key", "id"):
        cases.append(f"WHEN {v} < {column.low!r} THEN {shown}{quote(f' is below {_unit(column, column.low)}')}")
    if column.high is not None and column.kind not in ("key", "id"):
        cases.append(f"WHEN {v} > {column.high!r} THEN {shown}{quote(f' is above {_unit(column, column.high)}')}")
    return f"CASE {' '.join(cases)} END"


def sql_type(column: Column) -> str:
    """The column's type in every engine; a flag is 0 or 1."""
    return {"number": "DOUBLE", "key": "VARCHAR", "id": "VARCHAR", "category": "VARCHAR"}.get(column.kind, "BIGINT")


def quote(plain: str) -> str:
    """A SQL string literal."""
    return "'" + plain.replace("'", "''") + "'"


def _is(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {quote(pattern)})"


def _time(x: str, source: Source) -> str:
    if source.time_format is not None and re.search("%[zZ]", source.time_format):
        return f"epoch_us(try_strptime({x}, {quote(source.time_format)}))"
    naive = f"CASE WHEN {_is(x, _NAIVE)} THEN TRY_CAST({x} AS TIMESTAMP) END"  # a bare cast drops the name of a zone
    if source.time_format is not None:
        naive = f"try_strptime({x}, {quote(source.time_format)})"
    zoned = f"epoch_us(timezone({quote(source.zone)}, {naive}))" if source.zone is not None else "NULL"
    if source.time_format is not None:
        return zoned
    return f"CASE WHEN {_is(x, _ZONED)} THEN epoch_us(TRY_CAST({x} AS TIMESTAMPTZ)) ELSE {zoned} END"


def _shown(x: str) -> str:
    return f"chr(39) || {x}[:60] || chr(39)"


def _wanted(column: Column, source: Source) -> str:
    if column.kind in ("time", "arrival"):
        form = source.time_format or "ISO 8601"
        zone = f"in {source.zone}" if source.zone else "with its zone (the source declares none)"
        return f" is no time, {form} {zone}"
    return {
        "key": " is longer than 128 or has control characters",
        "id": " is longer than 128 or has control characters",
        "category": f" is none of {', '.join(column.levels)}",
        "integer": " is no whole number",
        "money": " is no amount with at most 2 decimals",
        "number": " is no finite number",
        "flag": " is neither true nor false",
    }[column.kind]


def _unit(column: Column, bound: float | int) -> str:
    return f"{bound / 100:.2f}" if column.kind == "money" else str(bound)


def _constant(plain: object) -> str:
    if isinstance(plain, bool):
        return str(int(plain))
    return quote(plain) if isinstance(plain, str) else repr(plain)
