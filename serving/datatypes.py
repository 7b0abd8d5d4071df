"""The datatypes of the Open Inference Protocol V2: which a field of a contract has, and what a tensor's cells are."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from features.contract import SAFE_INTEGER, TEXT, Column
from serving.errors import NotAccepted
from serving.quick import CONTROL

SOURCES = {
    "BOOL": "|u1",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
"""The datatypes that are numbers, and their cells as raw bytes; BYTES is the one that is not."""
SIZES = {name: int(source[2:]) for name, source in SOURCES.items()}
_WHOLE = frozenset(name for name in SOURCES if "INT" in name)
_FLOATS = _WHOLE | {"FP16", "FP32", "FP64"}
LONG = ("INT64", "UINT64")
LONGEST = 128
"""Characters of a key."""
MANY = 16
"""Elements from which on numpy is quicker than a loop."""


class Tensor(msgspec.Struct):
    """A tensor as it came: `data` are plain values, or the cells as raw bytes, little-endian, of BYTES each with its
    length before it in 4 bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: Any


def datatype(field: Column) -> str:
    """Of the field's tensor."""
    if field.kind in TEXT:
        return "BYTES"
    if optional(field) or field.kind == "number":
        return "FP64"
    return "BOOL" if field.kind == "flag" else "INT64"


def optional(field: Column) -> bool:
    """Whether a value may be missing."""
    return field.nullable or field.blank is not None


def accepted(field: Column) -> frozenset[str]:
    """The datatypes of which every value can be kept."""
    declared = datatype(field)
    if declared == "FP64":
        return _FLOATS | {"BOOL"} if field.kind == "flag" else _FLOATS
    return _WHOLE if declared == "INT64" else frozenset({declared})


def strings(tensor: Tensor, n: int) -> list[Any]:
    """BYTES as str, or None for JSON's null.

    Raises:
        ValueError: if they are not all UTF-8 without control characters. NotAccepted: as `split`.
    """
    data = tensor.data
    if not isinstance(data, list):
        values = _delimited(data, n) if n >= MANY else None
        if values is not None:
            return values
        data = split(tensor, n)
    elif not isinstance(data[0], bytes):
        return data
    values = b"\0".join(data).decode().split("\0")
    if len(values) != n:
        raise ValueError("a control character")
    return values


def names(tensor: Tensor, n: int) -> list[str]:
    """BYTES that can be keys.

    Raises:
        ValueError, TypeError: if they cannot. NotAccepted: as `split`.
    """
    found = _delimited(tensor.data, n) if n >= MANY and not isinstance(tensor.data, list) else None
    return checked(strings(tensor, n)) if found is None else found


def checked(values: list[Any]) -> list[str]:
    """They can be keys, or else a ValueError."""
    lengths = set(map(len, values))
    if not 1 <= min(lengths) <= max(lengths) <= LONGEST or CONTROL.search("".join(values)):
        raise ValueError("no key")
    return values


def _delimited(data: bytes | memoryview, n: int) -> list[str] | None:
    """The n texts of raw BYTES, in a quarter of the time of `split`; None where it has to say what they are.

    A text that may be no key, of 0 or more than 128 bytes or with a control character, is not looked for here: so the
    last three bytes of each length are 0, and no others are.
    """
    cells = np.frombuffer(data, np.uint8)
    zeros = np.flatnonzero(cells == 0)
    if len(zeros) != 3 * n:
        return None
    starts = zeros[::3] - 1
    ends = np.append(starts[1:], len(cells))
    if starts[0] or (zeros[1::3] != starts + 2).any() or (zeros[2::3] != starts + 3).any():
        return None
    lengths = cells[starts]
    if (ends - starts != lengths + np.int64(4)).any() or lengths.max() > LONGEST:
        return None
    keep = np.ones(len(cells), dtype=np.bool_)
    keep[zeros] = False
    cells = cells.copy()
    cells[starts] = 0
    texts = cells[keep]
    if np.count_nonzero(texts < 32) != n or (texts == 127).any():
        return None
    return texts.tobytes().decode().split("\0")[1:]


def split(tensor: Tensor, n: int) -> list[bytes]:
    """n elements of raw BYTES.

    Raises:
        NotAccepted: if the bytes are not just so many.
    """
    data, parts, at = bytes(tensor.data), [], 0
    for _ in range(n):
        begin = at + 4
        at = begin + int.from_bytes(data[at:begin], "little")
        parts.append(data[begin:at])
    if at != len(data):
        problem = f"{len(data)} bytes are not {n} elements, each with its length before it in 4 bytes"
        raise NotAccepted(
            "the tensors are not as the model's metadata say", [{"field": tensor.name, "problem": problem}]
        )
    return parts


def exact(tensor: Tensor) -> bool:
    """Whether float64 has all of its whole numbers."""
    if isinstance(tensor.data, list):
        return all(not isinstance(value, int) or abs(value) <= SAFE_INTEGER for value in tensor.data)
    cells = np.frombuffer(tensor.data, SOURCES[tensor.datatype])
    return bool(((cells >= (-SAFE_INTEGER if tensor.datatype == "INT64" else 0)) & (cells <= SAFE_INTEGER)).all())


def elements(tensor: Tensor, n: int) -> list[Any]:
    """All n as JSON would say them. Bytes that are no UTF-8 stay bytes: the contract says that they are no text."""
    if not isinstance(tensor.data, list):
        if tensor.datatype != "BYTES":
            values = np.frombuffer(tensor.data, SOURCES[tensor.datatype]).tolist()
            return [flag(value) for value in values] if tensor.datatype == "BOOL" else values
        return [_decoded(value) for value in split(tensor, n)]
    return [_decoded(value) if isinstance(value, bytes) else value for value in tensor.data]


def flag(value: Any) -> Any:
    """1 and 0 as true and false; anything else as it is."""
    return bool(value) if type(value) in (int, float) and value in (0, 1) else value


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
