"""What an answer says: its outcome, and whether its numbers are the expected ones."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.plan import BODY, GOOD, Request


def outcome(request: Request, status: str, head: bytes, body: bytes) -> str:
    """The outcome that the answer itself tells: ok, partial, or the kind of its problem; else its status."""
    if status in GOOD:
        errors = _has_errors(body) if request.method.endswith("Bulk") else b'"errors":[{' in body
        return "partial" if errors else "ok"
    found = _PROBLEM.search(body) or _PROBLEM.search(head)
    return found[1].decode() if found else status


_PROBLEM = re.compile(rb"urn:holdfast:problem:([a-z-]+)")


def _has_errors(message: bytes) -> bool:
    """Whether a PredictBulkResponse has its second field; both are messages, each a tag, a length and so many bytes."""
    place = 0
    while place < len(message):
        if message[place] == 0x12:
            return True
        place, length, shift = place + 1, 0, 0
        while True:
            byte = message[place]
            length |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if byte < 128:
                break
        place += length
    return False


def right(request: Request, body: bytes) -> bool:
    """Whether the answer holds the expected numbers, to the last bit."""
    wanted = np.array(request.expected, dtype=np.float64 if request.bits == 64 else np.float32)
    if request.where == BODY:  # little-endian, as in a message of protobuf, one after the other or not
        form = "<d" if request.bits == 64 else "<f"
        return all(struct.pack(form, number) in body for number in wanted.tolist())
    try:
        found = np.array(list(_at(json.loads(body), request.where)), dtype=wanted.dtype)
    except (ValueError, KeyError, TypeError, IndexError):
        return False
    return bool(np.array_equal(found, wanted))


def _at(value: Any, where: Sequence[str | int]) -> Any:
    if not where:
        yield value
    elif where[0] == "*":
        for item in value:
            yield from _at(item, where[1:])
    else:
        yield from _at(value[where[0]], where[1:])
