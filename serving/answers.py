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
    """Makes answers of one use case: `Answer` of a single prediction, `Numbered` of a bulk request."""

    def __init__(self, usecase: UseCase) -> None:
        fields = [(usecase.key, str), *FIELDS]
        self.Answer: Any = msgspec.defstruct("Answer", fields, gc=False)
        self.Numbered: Any = msgspec.defstruct("Numbered", [("row", int), *fields], gc=False)


def encode(value: Any) -> bytes:
    """A value as JSON."""
    return _ENCODER.encode(value)
