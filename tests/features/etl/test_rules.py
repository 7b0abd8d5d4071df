"""A contract's SQL rules and its pydantic model accept the same values, and mean the same by them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from features import clock
from features.contract import SAFE_INTEGER, Blank, Column, Contract, Key, Money, Timestamp, columns
from features.etl import rules
from features.source import Source


class Everything(Contract):
    """Every kind of column, with and without bounds, missing or not."""

    customer_id: Key
    happened_at: Timestamp
    whole: int
    bounded: Annotated[int, Field(ge=-5, le=20)]
    maybe: int | None
    real: float
    tenth: Annotated[float, Field(ge=0.1, le=0.30000000000000004)]
    tiny: Annotated[float, Field(ge=1e-7, le=1e17)] | None
    paid: Annotated[Money, Field(ge=-10_00, le=1_000_00)]
    owed: Money | None
    flag: bool
    unsure: bool | None
    kind: Literal["one", "Two words", "it's"]
    other: Literal["1", "2"] | None
    blank: Annotated[int, Field(ge=0), Blank(3, "three")]
    level: Annotated[Literal["a", "b"], Blank("b", "most")]
    ratio: Annotated[float, Blank(0.1, "a tenth")]


COLUMNS = {column.name: column for column in columns(Everything)}
CONNECTION = duckdb.connect()
CONNECTION.execute("SET TimeZone = 'UTC'")


def by_sql(column: Column, text: str, source: Source) -> tuple[bool, Any]:
    """Whether the rules for files accept a cell, and its value."""
    name = column.name
    sql = (
        f'WITH raw AS (SELECT $cell::VARCHAR AS "{name}"), t AS (SELECT {rules.text(column, source)} AS "{name}" '
        f'FROM raw), v AS (SELECT {rules.value(column, source)} AS "{name}" FROM t) '
        f'SELECT {rules.reason(column, source)}, v."{name}" FROM t, v'
    )
    row = CONNECTION.execute(sql, {"cell": text}).fetchone()
    assert row is not None
    assert row[0] is None or row[0].startswith(f"{name}: ")
    return row[0] is None, row[1] if row[0] is None else None


def by_model(column: Column, value: str) -> tuple[bool, Any]:
    """Whether the model accepts a JSON text in this field, and its value."""
    good = {"customer_id": "k", "happened_at": 0, "whole": 0, "bounded": 0, "maybe": 0, "real": 0.5, "tenth": 0.2}
    good |= {"tiny": 1, "paid": 0, "owed": 0, "flag": True, "unsure": True, "kind": "one", "other": "1"}
    good |= {"blank": 1, "level": "a", "ratio": 1.0}
    del good[column.name]
    text = json.dumps(good)[:-1] + f', "{column.name}": {value}}}'
    try:
        return True, getattr(Everything.model_validate_json(text), column.name)
    except ValidationError:
        return False, None


INTEGERS = st.integers(-30, 30) | st.sampled_from([SAFE_INTEGER, SAFE_INTEGER + 1, -SAFE_INTEGER, -SAFE_INTEGER - 1])
INTEGERS |= st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**18, 10**25])
NEAR = [
    0.1,
    0.30000000000000004,
    0.3,
    0.09999999999999999,
    0.30000000000000010,
    1e17,
    1e-7,
    9.999999999999999e-8,
    5e-324,
]
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1) | st.sampled_from(NEAR)
WORDS = [
    "one",
    "Two words",
    "it's",
    "One",
    "1",
    "2",
    "a",
    "b",
    "",
    "x" * 128,
    "x" * 129,
    "é" * 128,
    "a\tb",
    "\x00",
    "\x7f",
]
TEXTS = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs", "Zs"]), max_size=10)


@st.composite
def cells(draw: st.DrawFn) -> tuple[Column, str, str]:
    """A column, a cell of a file, and the JSON text that says the same."""
    column = draw(st.sampled_from([c for c in COLUMNS.values() if c.kind != "time"]))
    if draw(st.integers(0, 9)) == 0:
        return column, draw(st.sampled_from(["", " ", "   "])), "null"
    if column.kind in ("key", "category"):
        text = draw(TEXTS)
        return column, text, json.dumps(text) if text else "null"
    if column.kind == "flag":
        value = draw(st.booleans())
        return (
            column,
            draw(st.sampled_from(["true", "YES", "1", "t"] if value else ["false", "No", "0", "f"])),
            json.dumps(value),
        )
    if column.kind == "number":
        number = draw(FLOATS | INTEGERS)
        return (
            column,
            draw(st.sampled_from([repr(number), repr(number) if repr(number)[0] == "-" else f"+{number!r}"])),
            json.dumps(number),
        )
    whole = draw(INTEGERS)
    if column.kind == "money":
        return column, f"{Decimal(whole) / 100:.2f}", str(whole)
    return column, draw(st.sampled_from([str(whole), f"{whole:+d}", f"{whole}.0"])), str(whole)


@settings(max_examples=500, deadline=None)
@given(cells())
def test_files_and_requests_accept_the_same_values(cell: tuple[Column, str, str]) -> None:
    column, text, value = cell
    accepted, found = by_sql(column, text, Source(Everything))
    also, wanted = by_model(column, value)
    assert accepted == also, (text, value)
    assert found == wanted


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "Infinity", "-inf", "1e308", "1e-999", "0e999", "1.8e308"])
def test_numbers_too_large_or_none_at_all(text: str) -> None:
    column = COLUMNS["real"]
    assert by_sql(column, text, Source(Everything)) == by_model(column, text)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([c for c in COLUMNS.values() if c.kind != "time"]),
    st.text(max_size=8) | st.text("0123456789.+-eE_ xnaif", max_size=8),
)
def test_any_text_is_a_value_of_its_column_or_gets_a_reason(column: Column, text: str) -> None:
    accepted, found = by_sql(column, text, Source(Everything))
    if accepted and found is None:
        assert column.nullable
        assert not text.strip()
    if accepted and text.strip():
        if column.kind in ("integer", "money"):
            scale = 100 if column.kind == "money" else 1
            assert found == Decimal(text.strip()) * scale
        elif column.kind == "number":
            assert found == float(text)
        else:
            assert str(found) in text or column.kind == "flag"


MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(2250, 12, 30))
SHIFTS = st.integers(-14 * 60, 14 * 60)


@settings(max_examples=200, deadline=None)
@given(MOMENTS, SHIFTS, st.sampled_from("T "), st.booleans())
def test_times_with_a_zone_are_what_python_reads(moment: datetime, shift: int, middle: str, utc: bool) -> None:
    offset = "Z" if utc else f"{'-' if shift < 0 else '+'}{abs(shift) // 60:02d}:{abs(shift) % 60:02d}"
    text = moment.isoformat(sep=middle) + offset
    for zone in (None, "Asia/Tokyo"):
        accepted, found = by_sql(COLUMNS["happened_at"], text, Source(Everything, zone=zone))
        assert accepted == (abs(clock.parse(text)) <= SAFE_INTEGER)
        assert found in (None, clock.parse(text))


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]),
)
def test_times_without_a_zone_are_of_the_declared_one(moment: datetime, zone: str) -> None:
    text = moment.isoformat(sep=" ")
    _, found = by_sql(COLUMNS["happened_at"], text, Source(Everything, zone=zone))
    first, second = (clock.micros(moment.replace(tzinfo=ZoneInfo(zone), fold=fold)) for fold in (0, 1))
    assert found in (first, second)
    assert by_sql(COLUMNS["happened_at"], text, Source(Everything)) == (False, None)


def test_a_time_that_the_clocks_skip_or_repeat_is_one_certain_time() -> None:
    source = Source(Everything, zone="Europe/Berlin")
    answers = {
        "2024-03-31 02:30:00": "2024-03-31T01:30:00Z",  # skipped: as if the clocks had not gone forward yet
        "2024-10-27 02:30:00": "2024-10-27T01:30:00Z",  # twice: the second one
        "2024-07-01": "2024-06-30T22:00:00Z",
        "2024-01-01 00:00": "2023-12-31T23:00:00Z",
    }
    for text, wanted in answers.items():
        assert by_sql(COLUMNS["happened_at"], text, source) == (True, clock.parse(wanted)), text


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01 10:00:00 UTC",
        "2024-01-01 10:00:00 EST",
        "2024-01-01 10:00:00 America/New_York",
        "epoch",
        "infinity",
        "2024-01-01 10:00:00+05:30:15",
        "2024-01-01 (BC)",
        "-2024-01-01",
        "12024-01-01",
        "2024/01/01",
        "2024-1-5 3:04",
        "2024-01-01 24:00:00",
        "2024-01-01 23:59:60",
        "2024-02-30",
        "2024-13-01",
        "20240101",
        "10:00:00",
        "now",
        "2024-01-01 10:00:00 +02:00",
        "2024-01-01+02:00",
        "2024-01-01T10:00:00+25:00",
        "2024-01-01T10:00:00+05:99",
    ],
)
def test_a_declared_zone_makes_no_other_text_a_time(text: str) -> None:
    assert by_sql(COLUMNS["happened_at"], text, Source(Everything, zone="Europe/Berlin")) == (False, None)


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [
        ("%Y%m%d", "19970101", "1997-01-01T05:00:00Z"),
        ("%d.%m.%Y %H:%M", "31.12.2024 23:30", "2025-01-01T04:30:00Z"),
        ("%Y-%m-%d %H:%M:%S %z", "2024-06-01 12:00:00 +0200", "2024-06-01T10:00:00Z"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-06-01 12:00:00 Europe/Berlin", "2024-06-01T10:00:00Z"),
    ],
)
def test_a_declared_form_is_the_only_one(form: str, text: str, wanted: str) -> None:
    source = Source(Everything, zone="America/New_York", time_format=form)
    assert by_sql(COLUMNS["happened_at"], text, source) == (True, clock.parse(wanted))
    for other in ("2024-06-01T12:00:00Z", "1997010", f"{text}1"):
        assert by_sql(COLUMNS["happened_at"], other, source) == (False, None), other


@settings(max_examples=100, deadline=None)
@given(st.integers(-SAFE_INTEGER, SAFE_INTEGER))
def test_times_written_by_the_clock_are_read_back(moment: int) -> None:
    text = clock.rfc3339(moment)
    assert clock.parse(text) == moment
    assert by_sql(COLUMNS["happened_at"], text, Source(Everything)) == (True, moment)
    assert clock.micros(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)) == moment


def test_a_reason_shows_the_value_and_the_rule() -> None:
    reason = rules.reason(COLUMNS["paid"], Source(Everything))
    assert re.search(r"is above 1000\.00", reason)
    assert "it''s" in rules.reason(COLUMNS["kind"], Source(Everything))
