"""Columns of numbers: what is read in one go is what the contract reads row by row, to the last bit."""

from __future__ import annotations

import json
import random
import struct
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from features.contract import SAFE_INTEGER, Blank, Contract, Key, Money, array
from features.featureset import FeatureSet
from features.source import Source
from serving.decode import Decoder
from serving.errors import RequestError
from serving.numbers import Numbers
from serving.schema import Schema
from tests.effort import examples
from usecases import Costs, Outcome, UseCase


class Measured(Contract):
    """Mostly numbers."""

    ratio: float
    share: Annotated[float, Field(ge=0, le=1)]
    count: int
    few: Annotated[int, Field(ge=-3, le=7)]
    paid: Money
    at_least: Annotated[float, Field(ge=-2.5)]
    flag: bool
    maybe: float | None
    blank: Annotated[float, Field(ge=0), Blank(0.5, "nobody said")]
    level: Literal["low", "high"]


class Record(Measured):
    """The same, and whose it is."""

    who: Key
    gone: bool


USECASE = UseCase(
    name="measured",
    title="Measured",
    sources={"records": Source(Record)},
    features=FeatureSet(attributes=Measured, inputs=tuple(Measured.model_fields)),
    label=Outcome("gone"),
    costs=Costs(contact=1, loss=10, rescued=0.5),
)
DECODER = Decoder(Schema(USECASE), 1_000)
FIELDS = DECODER.schema.fields
NUMBERS = Numbers("who", FIELDS, least=0)

finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-SAFE_INTEGER, SAFE_INTEGER)
good: dict[str, st.SearchStrategy[Any]] = {
    "ratio": finite | whole | st.just(-0.0) | st.integers(-(2**63), 2**64 - 1),
    "share": st.floats(0, 1),
    "count": whole,
    "few": st.integers(-3, 7),
    "paid": whole,
    "at_least": st.floats(-2.5, 1e300),
    "flag": st.booleans(),
    "maybe": st.none() | finite,
    "blank": st.none() | st.floats(0, 10),
    "level": st.sampled_from(["low", "high"]),
}
odd: list[Any] = [None, True, -1, 8, 1.5, 2.0, 2**53, 2**64, -(2**70), 1e308, "", "1", "low", [], [1], [[1.0]], {}]
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["[", "\x7f", "k" * 129, "ü"])


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    """Columns, most of them right and equally long."""
    rows = draw(st.integers(1, 5))
    made: dict[str, Any] = {"who": [draw(keys) for _ in range(rows)]}
    made["attributes"] = {name: [draw(one) for _ in range(rows)] for name, one in good.items()}
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        draw(st.sampled_from([*made["attributes"].values(), made["who"]]))[-1] = draw(st.sampled_from(odd))
    if draw(st.integers(0, 7)) == 0:
        made["attributes"][draw(st.sampled_from(sorted(good)))] = draw(
            st.sampled_from([[], [1], 1, None, "x", [[1, 2]]])
        )
    if draw(st.integers(0, 11)) == 0:
        draw(st.sampled_from([made, made["attributes"]]))["another"] = [1] * rows
    return made


def bits(read: tuple[list[str], Any]) -> Any:
    """Keys, and each column's dtype and bytes."""
    arrays = [array(field, values) for field, values in zip(FIELDS, read[1], strict=True)]
    return read[0], [(one.dtype, one.tobytes()) for one in arrays]


def contract(body: bytes) -> Any:
    """What the contract reads, if it accepts every row: else None."""
    try:
        rows = DECODER.accept(*DECODER._listed(json.loads(body)))
    except RequestError:
        return None
    return None if rows.errors else bits((rows.keys, rows.columns))


@settings(max_examples=examples(400), deadline=None)
@given(columns(), st.sampled_from([None, 1]))
def test_what_is_read_at_once_is_what_the_contract_reads(given: dict[str, Any], indent: int | None) -> None:
    body = json.dumps({"columns": given}, indent=indent).encode()
    read = NUMBERS.read(body)
    right = contract(body)
    if read is not None:
        assert bits(read) == right
    if right is not None and "[" not in "".join(given["who"]):
        assert (read is None) == any(
            name != "flag" and _left_to_others(name, value)
            for name, one in given["attributes"].items()
            for value in one
        )


def _left_to_others(name: str, value: Any) -> bool:
    """2.0 is whole to the contract, and an integer may have any number of digits."""
    if isinstance(value, float):
        return name in ("count", "few", "paid") and value.is_integer()
    return isinstance(value, int) and not -(2**63) <= value < 2**64


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text + " x",
        lambda text: text[:-1] + ', "explain": true}',
        lambda text: text.replace('"ratio": ', '"ratio": [1], "ratio": '),
        lambda text: text.replace('"count": ', '"ratio": '),
        lambda text: text.replace("1.5", "NaN"),
        lambda text: text.replace("1.5", "1e999"),
        lambda text: text.replace("[1.5]", "[[1.5]]"),
        lambda text: text.replace("[1.5]", "1.5"),
        lambda text: text.replace('["c1"]', '"c1"'),
        lambda text: text.replace('"c1"', '"\\u0000"'),
        lambda text: text.replace('"c1"', '"\\ud800"'),
        lambda text: text.replace('"c1"', '""'),
        lambda text: text.replace('"columns"', '"rows"'),
        lambda text: "[" + text + "]",
        lambda text: text[:40],
    ],
)
def test_what_is_not_as_it_should_be_is_left_to_others(change: Any) -> None:
    values = [1.5, 0.5, 3, 4, 5, 6.5, True, 7.5, 8.5, "low"]
    given = {"who": ["c1"], "attributes": {name: [value] for name, value in zip(good, values, strict=True)}}
    text = json.dumps({"columns": given})
    assert NUMBERS.read(text.encode()) is not None
    assert change(text) != text
    assert NUMBERS.read(change(text).encode()) is None
    assert NUMBERS.read(text.encode()) is not None  # what was refused has left nothing behind


def test_no_noise_is_taken_for_columns() -> None:
    chance = random.Random(7)  # noqa: S311  # no secret
    values = [1.5, 0.5, 3, 4, 5, 6.5, True, 7.5, 8.5, "low"]
    given = {"who": ["c1"] * 9, "attributes": {name: [value] * 9 for name, value in zip(good, values, strict=True)}}
    text = json.dumps({"columns": given}).encode()
    for _ in range(examples(6_000)):
        noisy = bytearray(text)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(noisy))
            noisy[place : place + chance.choice((0, 1, 1, 9))] = chance.randbytes(chance.choice((0, 1, 1, 2)))
        read = NUMBERS.read(bytes(noisy))
        if read is not None:
            assert bits(read) == contract(bytes(noisy)), bytes(noisy)


def test_a_thousand_rows_come_as_arrays_that_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(DECODER.quick, "_many")
    count = 1_000
    random = np.random.default_rng(3)
    ratio = [struct.unpack("d", random.bytes(8))[0] for _ in range(count)]
    ratio = [value if np.isfinite(value) else 0.0 for value in ratio]
    given = {name: [1] * count for name in good} | {"ratio": ratio, "flag": [True] * count, "level": ["low"] * count}
    body = json.dumps({"columns": {"who": [f"c{i}" for i in range(count)], "attributes": given}}).encode()
    rows = DECODER.many(body)
    found = dict(zip(DECODER.names, rows.columns, strict=True))
    assert np.asarray(found["ratio"]).tobytes() == np.array(ratio).tobytes()
    assert list(rows.places or ()) == list(range(count))
    for name, column in found.items():
        assert isinstance(column, list if name == "level" else np.ndarray)
        assert isinstance(column, list) or column.flags.writeable


def test_a_contract_of_little_else_than_text_is_read_otherwise() -> None:
    fields = [field for field in FIELDS if field.name in ("ratio", "flag", "level")]
    body = b'{"columns": {"who": ["c"], "attributes": {"ratio": [1.5], "flag": [true], "level": ["low"]}}}'
    assert Numbers("who", fields, least=0).read(body) is None
    assert Numbers("who", fields[:1], least=0).read(body[: body.index(b', "flag"')] + b"}}}") is not None
