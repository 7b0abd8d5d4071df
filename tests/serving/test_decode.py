"""Reading requests: what the quick way accepts is what the contract accepts row by row, with the same values."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

import usecases
from features.contract import SAFE_INTEGER, Blank, Contract, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.source import Source
from serving.decode import Decoder
from serving.errors import NotAccepted, RequestError, TooLarge
from serving.rows import Rows
from serving.schema import Schema
from tests.effort import examples
from usecases import Costs, Outcome, UseCase

MOST = 40


class Everything(Contract):
    """One field of every kind, with and without bounds, and what may be missing."""

    count: int
    bounded: Annotated[int, Field(ge=-3, le=7)]
    maybe_count: int | None
    maybe_bounded: Annotated[int, Field(ge=0)] | None
    paid: Money
    at: Timestamp
    ratio: float
    maybe_ratio: Annotated[float, Field(ge=0, le=1)] | None
    blank: Annotated[float, Field(ge=0), Blank(0.5, "nobody said")]
    flag: bool
    maybe_flag: bool | None
    level: Literal["low", "high"]
    maybe_level: Literal["a", "b"] | None


class Record(Everything):
    """The same, and whose it is."""

    who: Key
    gone: bool


USECASE = UseCase(
    name="everything",
    title="Everything",
    sources={"records": Source(Record)},
    features=FeatureSet(attributes=Everything, inputs=tuple(Everything.model_fields)),
    label=Outcome("gone"),
    costs=Costs(contact=1, loss=10, rescued=0.5),
)
DECODER = Decoder(Schema(USECASE), MOST, 3)

whole = st.integers(-SAFE_INTEGER, SAFE_INTEGER)
good: dict[str, st.SearchStrategy[Any]] = {
    "count": whole,
    "bounded": st.integers(-3, 7),
    "maybe_count": st.none() | whole,
    "maybe_bounded": st.none() | st.integers(0, SAFE_INTEGER),
    "paid": whole,
    "at": whole,
    "ratio": st.floats(allow_nan=False, allow_infinity=False) | whole,
    "maybe_ratio": st.none() | st.floats(0, 1) | st.sampled_from([0, 1, -0.0]),
    "blank": st.none() | st.floats(0, 1e300),
    "flag": st.booleans(),
    "maybe_flag": st.none() | st.booleans(),
    "level": st.sampled_from(["low", "high"]),
    "maybe_level": st.sampled_from([None, "a", "b"]),
}
odd: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        8,
        -1,
        1.0,
        1.5,
        -0.5,
        2**53,
        -(2**53),
        2**63,
        2**70,
        1e308,
        "",
        "1",
        "low",
        "a",
        "c",
        [],
        {},
        [1],
    ]
)
keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128)


@st.composite
def asked(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows, most of them right, all with the same fields."""
    rows = [
        {"who": draw(keys), "attributes": {name: draw(values) for name, values in good.items()}}
        for _ in range(draw(st.integers(1, 5)))
    ]
    for _ in range(draw(st.integers(0, 2))):
        row: Any = draw(st.sampled_from(rows))
        row["attributes"][draw(st.sampled_from(sorted(good)))] = draw(odd)
    if draw(st.integers(0, 9)) == 0:
        draw(st.sampled_from(rows))["who"] = draw(odd | st.just("a\nb"))
    return rows


def by_column(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same by column."""
    attributes = {name: [row["attributes"][name] for row in rows] for name in good}
    return {"who": [row["who"] for row in rows], "attributes": attributes}


def told(read: Any, *given: Any) -> Any:
    """What was read, every value with its type; or what was said against it."""
    try:
        rows: Rows = read(*given)
    except RequestError as error:
        return type(error), error.detail, error.problems
    values = [[(type(value), repr(value)) for value in column] for column in rows.columns]
    return rows.keys, values, list(rows.places or ()), list(rows.errors), rows.explain


beside = st.fixed_dictionaries(
    {},
    optional={
        "explain": st.booleans() | st.sampled_from([None, 1, "true"]),
        "top": st.integers(1, 100) | st.sampled_from([0, 101, -1, 5.0, 5.5, None, True, "5"]),
    },
)
"""What a request may say of explanations; a quarter of it wrong."""


@settings(max_examples=examples(300), deadline=None)
@given(asked(), beside)
def test_rows_and_columns_read_at_once_are_what_the_contract_reads_row_by_row(
    rows: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    right = told(DECODER.accept, rows, more)
    assert told(DECODER.many, json.dumps({"rows": rows, **more}).encode()) == right
    assert told(DECODER.many, json.dumps({"columns": by_column(rows), **more}).encode()) == right
    row = {**rows[0], **more}
    assert told(DECODER.one, json.dumps(row).encode()) == told(DECODER.single, row)
    explained = told(DECODER.explained, json.dumps(row).encode())
    assert explained == told(lambda one: DECODER.single(one, kind=DECODER.schema.Explain), row)
    if more.get("explain") is True and isinstance(right[0], list):
        assert right[-1] == more.get("top", 5)
    if "explain" not in more:
        assert explained == told(DECODER.single, {**row, "explain": True})


def test_top_alone_asks_for_nothing_and_a_row_of_many_for_nothing_of_its_own() -> None:
    row = {"customer_id": "x"}
    decoder = Decoder(Schema(usecases.load("cdnow")), MOST)
    assert decoder.one(json.dumps({**row, "top": 3}).encode()).explain == 0
    assert decoder.many(json.dumps({"rows": [row], "top": 3}).encode()).explain == 0
    assert decoder.many(json.dumps({"rows": [row, {**row, "explain": True}]}).encode()).errors == [
        {"row": 1, "problems": [{"field": "explain", "problem": "Extra inputs are not permitted", "given": True}]}
    ]


def test_more_rows_to_explain_than_the_limit_are_too_many() -> None:
    decoder = Decoder(Schema(usecases.load("cdnow")), MOST, 3)
    rows = [{"customer_id": "x"}] * 4
    assert len(decoder.many(json.dumps({"rows": rows, "explain": False}).encode())) == 4
    for form in ({"rows": rows}, {"columns": {"customer_id": ["x"] * 4}}, {"rows": [0] * 4}):
        with pytest.raises(TooLarge, match="4 rows to explain; one request has at most 3 explained"):
            decoder.many(json.dumps({**form, "explain": True}).encode())
    assert decoder.many(json.dumps({"rows": rows[:3], "explain": True, "top": 7}).encode()).explain == 7


ROW = {
    "who": "x",
    "attributes": {
        "count": 1, "bounded": 2, "maybe_count": None, "maybe_bounded": 4, "paid": 5, "at": 6, "ratio": 7,
        "maybe_ratio": None, "blank": None, "flag": True, "maybe_flag": None, "level": "low", "maybe_level": None,
    },
}  # fmt: skip


def read_with(field: str, text: str) -> Rows:
    """`ROW`, with a field written like that."""
    body = json.dumps({**ROW, "attributes": {**ROW["attributes"], field: "HERE"}})  # type: ignore[dict-item]  # it is one
    return DECODER.one(body.replace('"HERE"', text).encode())


def test_rows_that_are_right_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DECODER, "accept", None)
    read = [
        DECODER.one(json.dumps(ROW).encode()),
        DECODER.many(json.dumps({"rows": [ROW]}).encode()),
        DECODER.many(json.dumps({"columns": by_column([ROW])}).encode()),
    ]
    assert [rows.keys for rows in read] == [["x"]] * 3
    assert [rows.columns for rows in read] == [read[0].columns] * 3
    assert read[0].columns[8] == [0.5]
    assert [rows.places for rows in read] == [None, range(1), range(1)]


@pytest.mark.parametrize("attributes", [{}, {"attributes": {}}, {"attributes": {"x": [1]}}, {"attributes": None}])
@pytest.mark.parametrize("key", ["1", "\x7f", "", "k" * 129, 1])
def test_a_request_of_a_use_case_without_attributes(key: Any, attributes: dict[str, Any]) -> None:
    decoder = Decoder(Schema(usecases.load("cdnow")), MOST)
    row = {"customer_id": key, **attributes}
    right = told(decoder.accept, [row])
    assert told(decoder.many, json.dumps({"rows": [row]}).encode()) == right
    assert told(decoder.one, json.dumps(row).encode()) == told(decoder.single, row)
    columns = {"columns": {"customer_id": [key], **attributes}}
    if not attributes.get("attributes"):
        assert told(decoder.many, json.dumps(columns).encode())[0] == right[0]


@pytest.mark.parametrize("form", ["rows", "columns"])
def test_more_rows_than_the_limit_are_too_many(form: str) -> None:
    row = {"who": "x", "attributes": {}}
    rows = [row] * (MOST + 1)
    body = {"rows": rows} if form == "rows" else {"columns": {"who": ["x"] * (MOST + 1)}}
    with pytest.raises(TooLarge, match=str(MOST)):
        DECODER.many(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("text", "value"), [("5.0", 5), ("5e0", 5), ("-0", 0), ("-0.0", 0), ("9007199254740991.0", 2**53 - 1)]
)
def test_a_whole_number_is_an_integer_however_it_is_written(text: str, value: int) -> None:
    rows = read_with("count", text)
    assert [(type(one), one) for one in rows.columns[0]] == [(int, value)]


@pytest.mark.parametrize(
    "text", ["5.5", "1e-1", "9007199254740992", "9007199254740992.0", "1e16", "1e400", "-1e400", "true"]
)
def test_an_integer_is_whole_and_exact(text: str) -> None:
    with pytest.raises(NotAccepted, match="not accepted"):
        read_with("count", text)


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("-0", -0.0), ("-0.0", -0.0), ("1e-400", 0.0), ("0.1", 0.1)])
def test_a_float_is_what_python_reads(text: str, value: float) -> None:
    (given,) = read_with("ratio", text).columns[6]
    assert math.copysign(1, float(given)) == math.copysign(1, value) or text == "-0"  # an integer zero has no sign
    assert float(given) == value


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" + "0" * 400])
def test_a_float_is_not_infinite(text: str) -> None:
    with pytest.raises(NotAccepted):
        read_with("ratio", text)


def test_the_last_of_two_equal_names_counts() -> None:
    """As RFC 8259 leaves it, and as JSON is read by Python, JavaScript, Go and PostgreSQL."""
    assert read_with("count", '1, "count": 2').columns[0] == [2]


@pytest.mark.parametrize("body", [{"rows": []}, {"columns": by_column([])}, {"rows": [], "columns": {}}, {}])
def test_nothing_asked_for_is_not_accepted(body: dict[str, Any]) -> None:
    with pytest.raises(NotAccepted):
        DECODER.many(json.dumps(body).encode())


def test_columns_of_other_lengths_are_told() -> None:
    columns = {"who": ["x", "y"], "attributes": {name: [] for name in good}}
    with pytest.raises(NotAccepted, match="equally long"):
        DECODER.many(json.dumps({"columns": columns}).encode())
