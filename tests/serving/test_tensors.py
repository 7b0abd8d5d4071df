"""Tensors: what they say is what the same rows say as JSON, however they are written, or the same is wrong with it."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contract import array
from serving.datatypes import Tensor, accepted, datatype
from serving.decode import Decoder
from serving.errors import NotAccepted, TooLarge
from serving.rows import Rows
from serving.schema import Schema
from serving.tensors import Tensors
from tests.effort import examples
from tests.serving.kinds import COLUMNS, rows
from tests.serving.kinds.kinds import USECASE

SCHEMA = Schema(USECASE)
DECODER = Decoder(SCHEMA, 40, 3)
READER = Tensors("who", SCHEMA.fields, DECODER)
DTYPES = {
    "BOOL": "|b1",
    **{f"{sign}INT{8 * size}": f"<{code}{size}" for sign, code in (("", "i"), ("U", "u")) for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}


def raw(kind: str, values: list[Any]) -> bytes:
    """Elements as bytes."""
    if kind == "BYTES":
        texts = ["" if value is None else value for value in values]
        coded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        return b"".join(struct.pack("<I", len(text)) + text for text in coded)
    return np.array(values, dtype=np.float64 if None in values else None).astype(DTYPES[kind]).tobytes()


def lossless(kind: str, values: list[Any]) -> bool:
    """Whether that datatype has all of the values, which are none of BYTES, to the last bit."""
    if kind == "BOOL":
        return all(isinstance(value, bool) for value in values)
    if kind.startswith("FP"):
        numbers = np.array([math.nan if value is None else float(value) for value in values])
        with np.errstate(over="ignore"):
            return numbers.astype(DTYPES[kind]).astype(np.float64).tobytes() == numbers.tobytes()
    low, high = np.iinfo(DTYPES[kind]).min, np.iinfo(DTYPES[kind]).max
    return all(
        value is not None and str(value) != "-0.0" and float(value).is_integer() and low <= value <= high
        for value in values
    )


def tensors(asked: list[dict[str, Any]], way: Any) -> list[Tensor]:
    """The tensors of rows; `way` chooses among the datatypes of one, and whether it is raw."""
    n = len(asked)
    made = []
    for name in ["who", *COLUMNS]:
        values = [row["who"] if name == "who" else row["attributes"][name] for row in asked]
        kinds = ["BYTES"] if name == "who" else sorted(accepted(COLUMNS[name]))
        fit = [kind for kind in kinds if kind == "BYTES" or lossless(kind, values)]
        own = "BYTES" if name == "who" else datatype(COLUMNS[name])
        kind, as_bytes = way(fit or [own])
        if as_bytes:
            made.append(Tensor(name, kind, [n], raw(kind, values)))
        else:
            typed: Any = float if kind.startswith("FP") else bool if kind == "BOOL" else str if kind == "BYTES" else int
            made.append(Tensor(name, kind, [n, 1], [None if value is None else typed(value) for value in values]))
    return made


def told(read: Any, *given: Any, **more: Any) -> Any:
    """The keys, places and bits of every column; or which fields of which rows were wrong."""
    try:
        found: Rows = read(*given, **more)
        errors = found.errors
    except NotAccepted as error:
        errors = error.problems
    if errors:
        return {(one["row"], each["field"].split(".")[-1]) for one in errors for each in one["problems"]}
    arrays = [array(field, column) for field, column in zip(SCHEMA.fields, found.columns, strict=True)]
    cells = [(one.dtype.kind, one.tolist() if one.dtype.kind == "U" else one.tobytes()) for one in arrays]
    return found.keys, list(found.places or ()), cells


ODD: dict[str, list[Any]] = {
    "BYTES": ["", "c", "a\n", "Größe\0", "x" * 200],
    "FP64": [None, math.inf, -math.inf, -1.0, 1.5, 2.0**53, 1e300, -0.5],
    "INT64": [2**53, -(2**53), 701, -4, 2**63 - 1],
    "BOOL": [True],
}


@st.composite
def asked(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows, some of them wrong in ways that a tensor can be."""
    given = rows(draw(st.integers(1, 24)), draw(st.integers(0, 10**6)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name = draw(st.sampled_from(sorted(COLUMNS)))
        draw(st.sampled_from(given))["attributes"][name] = draw(st.sampled_from(ODD[datatype(COLUMNS[name])]))
    if draw(st.integers(0, 9)) == 0:
        draw(st.sampled_from(given))["who"] = draw(st.sampled_from(["", "x" * 129, "a\x00b", "ü" * 128, "\x7f"]))
    return given


@settings(max_examples=examples(150), deadline=None)
@given(asked(), st.randoms(use_true_random=False))
def test_tensors_of_any_form_say_what_the_rows_say(given: list[dict[str, Any]], random: Any) -> None:
    plain = [
        {**row, "attributes": {name: _said(name, value) for name, value in row["attributes"].items()}} for row in given
    ]
    right = told(DECODER.accept, plain)
    for as_bytes in (True, False):
        own = tensors(given, lambda kinds, as_bytes=as_bytes: (_declared(kinds), as_bytes))
        assert told(READER.rows, own) == right
        assert told(READER.rows, own, typed=False) == right
    assert told(READER.rows, tensors(given, lambda kinds: (random.choice(kinds), random.random() < 0.5))) == right


def _declared(kinds: list[str]) -> str:
    return next(kind for kind in ("BYTES", "BOOL", "INT64", "FP64") if kind in kinds)


def _said(name: str, value: Any) -> Any:
    """What JSON would say where the tensor says an empty text for a missing one."""
    column = COLUMNS[name]
    return None if value == "" and (column.nullable or column.blank is not None) else value


def test_tensors_that_are_right_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = rows(30)
    right = told(DECODER.accept, given)
    monkeypatch.setattr(DECODER, "accept", None)
    for few in (given, given[:2]):
        for as_bytes in (True, False):
            own = tensors(few, lambda kinds, as_bytes=as_bytes: (_declared(kinds), as_bytes))
            read = READER.rows(own)
            assert len(read) == len(few)
            if few is given:
                numbers = [column for column in read.columns if not isinstance(column[0], str | None)]
                assert all(isinstance(column, np.ndarray) for column in numbers)
                assert told(READER.rows, own) == right


def test_a_nan_is_a_nan_and_no_whole_number_is_less_than_zero_by_its_sign() -> None:
    own = {one.name: one for one in tensors(rows(2), lambda kinds: (_declared(kinds), True))}
    own["maybe_ratio"] = Tensor("maybe_ratio", "FP32", [2], bytes.fromhex("0100807f 010080ff"))  # signalling
    own["maybe_count"] = Tensor("maybe_count", "FP64", [2], struct.pack("<dd", -0.0, math.nan))
    read = dict(zip(SCHEMA.names, READER.rows(list(own.values())).columns, strict=True))
    assert np.isnan(read["maybe_ratio"]).all()
    assert math.copysign(1, read["maybe_count"][0]) == 1


def problems(change: Any) -> dict[str, str]:
    """What is said against the tensors of two rows after a change of them, by the tensor's name."""
    own = {one.name: one for one in tensors(rows(2), lambda kinds: (_declared(kinds), True))}
    change(own)
    with pytest.raises(NotAccepted) as caught:
        READER.rows(list(own.values()))
    return {one["field"]: one["problem"] for one in caught.value.problems}


def test_inputs_are_those_of_the_model() -> None:
    found = problems(lambda own: (own.pop("whole"), own.update(strange=Tensor("strange", "FP64", [2], []))))
    assert found == {"whole": "missing", "strange": "no input of the model"}
    assert problems(lambda own: own.update(whole=own["paid"])) == {"whole": "missing", "paid": "given twice"}


@pytest.mark.parametrize(
    "shape", [[], [0], [-1], [1], [3], [2, 2], [1, 2], [2, 1, 1], [2**62, 4], [-(2**63)], [2, -1], [2, 0], [2**70, 0]]
)
def test_a_tensor_has_one_shape_and_no_other(shape: list[int]) -> None:
    assert "every tensor is [n] or [n, 1]" in problems(lambda own: setattr(own["whole"], "shape", shape))["whole"]


@pytest.mark.parametrize("shape", [[], [0], [-1], [-(2**63), 2]])
def test_no_rows_are_no_request(shape: list[int]) -> None:
    def change(own: dict[str, Tensor]) -> None:
        for one in own.values():
            one.shape = shape

    assert set(problems(change)) == {"who", *COLUMNS}


@pytest.mark.parametrize("n", [41, 2**31, 2**63, 2**70])
def test_too_many_rows_are_told_by_their_shape_alone(n: int) -> None:
    with pytest.raises(TooLarge, match="one request carries at most 40"):
        READER.rows([Tensor(name, "FP64", [n], b"") for name in ["who", *COLUMNS]])


@pytest.mark.parametrize(
    ("name", "kind", "data", "said"),
    [
        ("whole", "FP64", bytes(16), "datatype FP64: it is INT64 (INT16, INT32, INT8, UINT16, "),
        ("ratio", "BYTES", bytes(16), "datatype BYTES: it is FP64 ("),
        ("flag", "INT8", bytes(2), "datatype INT8: it is BOOL"),
        ("level", "x" * 500, bytes(2), f"datatype {'x' * 100}...: it is BYTES"),
        ("whole", "INT64", bytes(15), "15 bytes where 2 elements of INT64 take 16"),
        ("whole", "INT64", [1], "1 elements where shape says 2"),
        ("ratio", "INT64", struct.pack("<qq", 1, 2**53), "INT64 beyond 2**53 - 1: no number of FP64 says it exactly"),
        ("ratio", "UINT64", [2**53, 0], "UINT64 beyond 2**53 - 1"),
        ("level", "BYTES", b"\3\0\0\0low\3\0\0\0lo", "bytes are not 2 elements, each with its length before it"),
        ("who", "BYTES", b"\xff\xff\xff\xff", "bytes are not 2 elements"),
        ("who", "BYTES", b"", "bytes are not 2 elements"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_wrong_as_a_whole(name: str, kind: str, data: Any, said: str) -> None:
    assert said in problems(lambda own: own.update({name: Tensor(name, kind, [2], data)}))[name]


def test_problems_of_rows_are_in_the_contract_s_words() -> None:
    own = {one.name: one for one in tensors(rows(2), lambda kinds: (_declared(kinds), True))}
    own["flag"] = Tensor("flag", "BOOL", [2], b"\1\2")
    own["whole"] = Tensor("whole", "UINT64", [2], struct.pack("<QQ", 5, 2**64 - 1))
    own["maybe_count"] = Tensor("maybe_count", "FP64", [2], struct.pack("<dd", 1.5, math.nan))
    own["ratio"] = Tensor("ratio", "FP64", [2], struct.pack("<dd", math.nan, 1))
    own["who"] = Tensor("who", "BYTES", [2], raw("BYTES", [b"\xff", b"fine"]))
    with pytest.raises(NotAccepted, match="none of the 2 rows") as caught:
        READER.rows(list(own.values()))
    said = [{one["field"]: one["problem"] for one in row["problems"]} for row in caught.value.problems]
    assert said == [
        {
            "who": "Input should be a valid string",
            "ratio": "Input should be a finite number",
            "maybe_count": "Input should be a valid integer",
        },
        {"whole": "Input should be within +/- (2**53 - 1)", "flag": "Input should be a valid boolean"},
    ]
    with pytest.raises(NotAccepted, match="1 of the 2 rows were not accepted, and this protocol answers all or none"):
        READER.rows(
            [
                *tensors(rows(2), lambda kinds: (_declared(kinds), True))[:-1],
                Tensor("blank_level", "BYTES", [2, 1], ["p", "?"]),
            ]
        )
