"""Answers as they leave: one struct per use case, written to JSON so that reading it gives the same bits."""

from __future__ import annotations

from typing import Any

import msgspec

from usecases import UseCase

FIELDS: tuple[tuple[str, type], ...] = (
    ("probability", float),
    ("decision", str),
    ("threshold", float),
    ("model", str),
    ("fingerprint", str),
    ("as_of", str),
    ("known", bool),
    ("degraded", bool),
    ("request_id", str),
    ("prediction_id", str),
)
"""An answer's fields behind the key, in order."""
_ENCODER = msgspec.json.Encoder()


class Answers:
    """Makes answers of one use case."""

    def __init__(self, usecase: UseCase) -> None:
        fields, row, why = [(usecase.key, str), *FIELDS], ("row", int), ("explanation", dict[str, Any])
        self._kinds: dict[tuple[bool, bool], Any] = {
            (False, False): msgspec.defstruct("Answer", fields, gc=False),
            (True, False): msgspec.defstruct("Numbered", [row, *fields], gc=False),
            (False, True): msgspec.defstruct("Explained", [*fields, why], gc=False),
            (True, True): msgspec.defstruct("NumberedExplained", [row, *fields, why], gc=False),
        }

    def of(self, *, numbered: bool, explained: bool) -> Any:
        """The struct of one answer: first its place in a bulk request, if it is `numbered`, and last its explanation,
        if it is `explained`."""
        return self._kinds[numbered, explained]


def encode(value: Any) -> bytes:
    """A value as JSON."""
    return _ENCODER.encode(value)
