"""The messages of a use case: the .proto text says what the descriptor is, and a row is the same by either protocol."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

import usecases
from features.contract import Blank, Contract, ContractError, Key, Money, Timestamp, columns
from features.featureset import FeatureSet
from features.source import Source
from serving.answers import FIELDS
from serving.decode import Decoder
from serving.errors import Malformed, RequestError
from serving.proto import Protocol
from serving.schema import Schema
from tests.effort import examples
from usecases import Costs, Outcome, UseCase


class Everything(Contract):
    """A field of every kind."""

    name: Literal["a", "b c"]
    seen_at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=1_000_00, description="Last month.")]
    visits: Annotated[int, Field(ge=-5)]
    rating: Annotated[float, Field(le=5)]
    active: bool
    maybe_level: Literal["x", "y"] | None
    maybe_paid: Money | None
    maybe_rating: float | None
    maybe_active: bool | None
    blank_visits: Annotated[int, Blank(7, "seven is usual")]


class Record(Everything):
    """With its outcome."""

    member: Key
    gone: bool


def made(attributes: type[Contract], record: type[Contract]) -> UseCase:
    """A use case of these contracts."""
    return UseCase(
        name="every-thing",
        title="Every kind",
        sources={"records": Source(record)},
        features=FeatureSet(attributes=attributes, rows=(), inputs=tuple(attributes.model_fields)),
        label=Outcome("gone"),
        costs=Costs(contact=1, loss=10, rescued=0.5),
    )


USECASE = made(Everything, Record)
PROTOCOL = Protocol(USECASE)
DECODER = Decoder(Schema(USECASE), 1_000)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "key": st.text(max_size=130),
    "category": st.sampled_from(["a", "b c", "x", "y", "z", ""]),
    "time": st.integers(-(2**63), 2**63 - 1),
    "money": st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 1_000_01),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(-6, 10),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
}
OPTIONAL = ("maybe_level", "maybe_paid", "maybe_rating", "maybe_active", "blank_visits")


def parsed(text: str) -> dict[str, list[tuple[str, str, str, int]]]:
    """Messages of a .proto text: label, type, name and number of each field."""
    bare = re.sub(r"//.*", "", text)
    found = {}
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", bare, re.DOTALL):
        fields = re.findall(r'(optional |repeated |)(\w+) (\w+) = (\d+)(?: \[json_name = "(\w+)"\])?;', body)
        assert body.count(";") == len(fields)
        assert all(told in (field, "") for _, _, field, _, told in fields)
        found[name] = [(label.strip(), kind, field, int(number)) for label, kind, field, number, _ in fields]
    return found


def described(protocol: Protocol) -> dict[str, list[tuple[str, str, str, int]]]:
    """The same of the descriptor."""
    found = {}
    for message in protocol.file.message_type:
        fields = []
        for field in message.field:
            repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
            label = "repeated" if repeated else "optional" if field.proto3_optional else ""
            kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
            fields.append((label, field.type_name.split(".")[-1] or kind, field.name, field.number))
        found[message.name] = fields
    return found


@pytest.mark.parametrize("usecase", [USECASE, usecases.load("cdnow"), usecases.load("telco")], ids=lambda u: u.name)
def test_the_text_says_what_the_descriptor_is(usecase: UseCase) -> None:
    protocol = Protocol(usecase)
    text = protocol.text()
    assert parsed(text) == described(protocol)
    assert f"package {protocol.file.package};" in text
    assert re.findall(r"rpc (\w+)\((\w+)\) returns \((\w+)\);", text) == [
        ("Predict", "PredictRequest", "Prediction"),
        ("PredictBulk", "PredictBulkRequest", "PredictBulkResponse"),
        ("GetModel", "GetModelRequest", "Model"),
        ("Feedback", "FeedbackRequest", "FeedbackResponse"),
    ]


def test_kinds_have_their_types_and_numbers_follow_the_contract() -> None:
    assert described(PROTOCOL)["Attributes"] == [
        ("optional", "string", "name", 1),
        ("optional", "int64", "seen_at", 2),
        ("optional", "int64", "paid", 3),
        ("optional", "int64", "visits", 4),
        ("optional", "double", "rating", 5),
        ("optional", "bool", "active", 6),
        ("optional", "string", "maybe_level", 7),
        ("optional", "int64", "maybe_paid", 8),
        ("optional", "double", "maybe_rating", 9),
        ("optional", "bool", "maybe_active", 10),
        ("optional", "int64", "blank_visits", 11),
    ]


def test_comments_say_descriptions_units_bounds_levels_and_what_may_be_left_out() -> None:
    text = PROTOCOL.text()
    for comment in (
        "// Last month. Minor units (cents). 0 to 100000.",
        "// Microseconds since the epoch, UTC.",
        '// One of "a", "b c".',
        '// One of "x", "y". May be left out: missing.',
        "// At least -5.",
        "// At most 5.",
        "// May be left out: means 7, seven is usual.",
    ):
        assert f"  {comment}\n" in text


def test_a_prediction_has_the_fields_of_the_json_answer_and_its_row() -> None:
    own = [name for _, _, name, _ in described(PROTOCOL)["Prediction"]]
    assert own == ["member", *(name for name, _ in FIELDS), "row", "explanation"]


def test_the_package_is_a_name_that_protobuf_can_have() -> None:
    assert PROTOCOL.service == "holdfast.every_thing.v1.Predictions"
    assert Protocol(replace(USECASE, name="2nd")).service == "holdfast._2nd.v1.Predictions"


def test_a_field_that_protobuf_cannot_name_is_told() -> None:
    class Foreign(Contract):
        """One."""

        größe: float

    class ForeignRecord(Foreign):
        """With its outcome."""

        member: Key
        gone: bool

    with pytest.raises(ContractError, match="'größe' cannot be a field of a protobuf message"):
        Protocol(made(Foreign, ForeignRecord))


def outcome(call: Any) -> Any:
    """Rows as plain values, or the problems."""
    try:
        rows = call()
    except RequestError as error:
        return type(error), error.detail, json.dumps(error.problems)
    return rows.keys, rows.columns, rows.places and list(rows.places), json.dumps(list(rows.errors))


@st.composite
def given_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A row as a client may write it: any field may be left out, any value be out of bounds."""
    names = {column.name: column.kind for column in columns(Everything)}
    attributes = {name: draw(VALUES[kind]) for name, kind in names.items() if draw(st.integers(0, 9))}
    row: dict[str, Any] = {"attributes": attributes} if draw(st.integers(0, 9)) else {}
    return row | ({"member": draw(VALUES["key"])} if draw(st.integers(0, 9)) else {})


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """What JSON says where a message leaves out what may be missing."""
    if "attributes" not in row:
        return row
    return {**row, "attributes": dict.fromkeys(OPTIONAL) | row["attributes"]}


@given(given_rows())
@settings(max_examples=examples(300), deadline=None)
def test_a_row_by_message_is_the_row_by_json_or_has_the_same_problems(row: dict[str, Any]) -> None:
    message = PROTOCOL.message("PredictRequest")(**row).SerializeToString()
    body = json.dumps(as_json(row)).encode()
    by_message = outcome(lambda: DECODER.single(PROTOCOL.row(message)))
    assert by_message == outcome(lambda: DECODER.one(body))


@given(st.lists(given_rows(), min_size=1, max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_many_rows_likewise(rows: list[dict[str, Any]]) -> None:
    message = PROTOCOL.message("PredictBulkRequest")(rows=rows).SerializeToString()
    body = json.dumps({"rows": [as_json(row) for row in rows]}).encode()
    assert outcome(lambda: DECODER.accept(*PROTOCOL.rows(message))) == outcome(lambda: DECODER.many(body))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_a_problem_of_its_field(number: float) -> None:
    message = PROTOCOL.message("PredictRequest")(member="1", attributes={"rating": number})
    with pytest.raises(RequestError) as refused:
        DECODER.single(PROTOCOL.row(message.SerializeToString()))
    assert [one["problem"] for one in refused.value.problems if one["field"] == "attributes.rating"] == [
        "Input should be a finite number"
    ]


def test_a_field_that_nobody_knows_is_a_problem() -> None:
    known = PROTOCOL.message("PredictRequest")(member="1").SerializeToString()
    newer = b"\x12\x03\xf8\x01\x01" + b"\x50\x01"  # attributes with a field 31, and a field 10 beside them
    row = PROTOCOL.row(known + newer)
    assert row["field 10"] is None
    assert "field 31" in row["attributes"]
    with pytest.raises(RequestError) as refused:
        DECODER.single(row)
    extra = [one["field"] for one in refused.value.problems if one["problem"] == "Extra inputs are not permitted"]
    assert sorted(extra) == ["attributes.field 31", "field 10"]


@given(st.binary(max_size=40))
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_are_rows_or_malformed(data: bytes) -> None:
    for read in (PROTOCOL.row, PROTOCOL.rows, PROTOCOL.nothing):
        with contextlib.suppress(Malformed):
            read(data)
