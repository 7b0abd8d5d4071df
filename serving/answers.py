"""Answers as they leave: one struct per use case, written to JSON so that reading it gives the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import msgspec

from features import clock
from model.gate import Loaded
from serving.call import Call
from serving.parts import Part
from serving.rows import FEW, Rows
from usecases import UseCase

SHARED: tuple[tuple[str, type], ...] = (
    ("decision", str),
    ("threshold", float),
    ("model", str),
    ("fingerprint", str),
    ("as_of", str),
    ("known", bool),
    ("degraded", bool),
    ("request_id", str),
)
"""Neighbours among an answer's fields, of which the answers of a request have few different ones."""
FIELDS: tuple[tuple[str, type], ...] = (("probability", float), *SHARED, ("prediction_id", str))
"""An answer's fields behind the key, in order."""
_ENCODER = msgspec.json.Encoder()
_Shared = msgspec.defstruct("_Shared", SHARED, gc=False)
_NUMBERS = tuple(map(str, range(1_000)))
"""The ends of most ids of bulk requests, written once."""


class Answers:
    """Makes answers of one use case."""

    def __init__(self, usecase: UseCase) -> None:
        row, why = ("row", int), ("explanation", dict[str, Any])
        key = (usecase.key, str)
        # where what is shared is encoded already, it is the value of its first field
        packed = [key, FIELDS[0], (SHARED[0][0], msgspec.Raw), FIELDS[-1]]
        self._kinds: dict[tuple[bool, bool, bool], Any] = {
            (numbered, explained, short): msgspec.defstruct(
                "Answer", [*[row] * numbered, *fields, *[why] * explained], gc=False
            )
            for short, fields in ((False, [key, *FIELDS]), (True, packed))
            for numbered in (False, True)
            for explained in (False, True)
        }

    def told(self, loaded: Loaded, rows: Rows, part: Part, call: Call, *, packed: bool = False) -> list[Any]:
        """The answers of a part: structs of the key and `FIELDS`; before them a row's place in a bulk request, and
        behind them the explanation that was asked for.

        Args:
            packed: they are for `encode` alone, which then writes the same bytes in less than half of the time.
        """
        found, scores, here = part.batch.found, part.batch.scores, slice(part.start, part.stop)
        probability, positive, known = scores.probability[here].tolist(), scores.positive[here], found.known[here]
        words, as_of = (loaded.scorer.decision.negative, loaded.scorer.decision.positive), found.as_of[here]
        rule = (loaded.scorer.decision.threshold, loaded.manifest.tag, loaded.manifest.fingerprint)
        of_one_time = len(rows) == 1 or not (as_of != as_of[0]).any()
        when = clock.rfc3339(int(as_of[0]))
        packed = packed and of_one_time and len(rows) >= FEW
        columns: list[Iterable[Any]] = [rows.keys, probability]
        if packed:
            last = (found.degraded, call.request_id)
            texts = [_text(_Shared(words[yes], *rule, when, seen, *last)) for seen in (False, True) for yes in (0, 1)]
            columns.append(map(texts.__getitem__, (positive + 2 * known).tolist()))
        else:
            times: Iterable[str] = repeat(when) if of_one_time else map(clock.rfc3339, as_of.tolist())
            columns += [map(words.__getitem__, positive.tolist()), *map(repeat, rule), times, known.tolist()]
            columns += [repeat(found.degraded), repeat(call.request_id)]
        columns.append([call.id] if rows.places is None else _ids(call.id, rows.places))
        if rows.explain:
            columns.append(part.reasons)
        kind = self._kinds[rows.places is not None, bool(rows.explain), packed]
        return list(map(kind, *columns) if rows.places is None else map(kind, rows.places, *columns))


def _ids(prefix: str, places: Sequence[int]) -> Iterable[str]:
    """Ids of a bulk request's predictions."""
    numbers = _NUMBERS[: len(places)] if places == range(min(len(places), len(_NUMBERS))) else map(str, places)
    return map(f"{prefix}-".__add__, numbers)


def _text(shared: Any) -> msgspec.Raw:
    """What is shared as JSON, without the name of its first field."""
    return msgspec.Raw(encode(shared)[len(SHARED[0][0]) + 4 : -1])


def encode(value: Any) -> bytes:
    """A value as JSON."""
    return _ENCODER.encode(value)
