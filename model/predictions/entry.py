"""The record of what was answered: one entry per request, with everything that its answers were made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from features.contract import Column

Plain = str | int | float | bool | None
Cells = Literal["number", "integer", "flag", "number?", "integer?", "flag?"]
"""What is in an array of attributes: float64, int64 or bool; or, where a value may be missing, float64 with NaN."""
_DTYPES: dict[Cells, str] = {"number": "<f8", "integer": "<i8", "flag": "|b1"}
_OPTIONAL: dict[Cells, type[float | int | bool]] = {"number?": float, "integer?": int, "flag?": bool}
_TEXT = re.compile(r"-0\.0|-?Infinity|-?\d(\.\d+)?e\+\d+")


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The n answers of one request. Fields are encoded by position: a new one goes to the end and has a default.

    Arrays are bytes, row after row, little-endian: `aggregates` n x a cells of 8 bytes (int64, or float64 for a min or
    a max, as `Lookup` has them), `features` n x p float64 (the model's matrix but for `Header.given`), `margin` and
    `probability` n float64, `positive` and `known` n bytes of 0 or 1. Times are microseconds.
    """

    id: str
    """Of the request; a single prediction has just this id, row i of a bulk request `ID-i`. It begins with 12 hex
    digits: milliseconds since the epoch."""
    request_id: str
    """What the client calls it."""
    route: str
    """Path or gRPC method."""
    time: int
    """When it was answered, by the clock on the wall."""
    now: int
    """The features' `request_time`: the data's clock."""
    latency: int
    """From its arrival to its answer."""
    keys: list[str]
    places: list[int] | None = None
    """Positions of the rows in a bulk request; None for a single prediction."""
    attributes: dict[str, list[Plain]]
    """What the request said of each row, as it was accepted; empty lists are in `arrays`."""
    aggregates: bytes
    features: bytes
    margin: bytes
    probability: bytes
    positive: bytes
    known: bytes
    as_of: list[int]
    """What time each row's aggregates are for."""
    batch: int = -1
    """The last batch of events in the aggregates; -1 where the store does not tell."""
    degraded: bool = False
    arrays: dict[str, tuple[Cells, bytes]] = {}
    """Attributes that came as arrays and stayed so: what the cells are, and n of them."""

    def ids(self) -> list[str]:
        """Ids of the n predictions."""
        return [self.id] if self.places is None else [f"{self.id}-{place}" for place in self.places]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every entry behind it: the first record of a segment."""

    version: int = 1
    usecase: str
    model: str
    fingerprint: str
    threshold: float
    labels: tuple[str, str]
    """The decision in words: negative, positive."""
    key: str
    """What the use case calls its key."""
    aggregates: list[str]
    """Names; those that are float64 in `Entry.aggregates` are in `floats`."""
    floats: list[str]
    features: list[str]
    """Names of the matrix's columns."""
    given: dict[str, tuple[str, str | None]] = {}
    """Columns that are not in `Entry.features`, as they say again what the entry holds: of which attribute or aggregate
    each is the number, or whether it is that level."""
    pod: str
    hashed: str = ""
    """Which secret keys and clients' request ids are hashed with: `Pseudonyms.mark`; "" where they are plain."""
    sample: float = 1.0
    """The share of customers whose answers were recorded."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer in plain values. Times are microseconds; a missing number is NaN among aggregates and features."""

    prediction_id: str
    request_id: str
    usecase: str
    model: str
    fingerprint: str
    route: str
    pod: str
    answered_at: int
    request_time: int
    as_of: int
    key: str
    known: bool
    degraded: bool
    probability: float
    decision: str
    threshold: float
    margin: float
    attributes: dict[str, Plain]
    aggregates: dict[str, int | float]
    features: dict[str, float]
    batch: int | None
    """None where the store did not tell."""
    latency_us: int
    hashed: str = ""
    """Which secret the key is hashed with: `Pseudonyms.mark`; "" for a plain one."""


def expand(header: Header, entry: Entry) -> Iterator[Prediction]:
    """The n predictions of an entry, in order.

    Raises:
        ValueError: if an array is not as long as keys and names ask for.
    """
    n = len(entry.keys)
    cells = np.frombuffer(entry.aggregates, "<i8").reshape(n, len(header.aggregates))
    floats = cells.view("<f8")
    columns = [(floats if name in header.floats else cells)[:, i].tolist() for i, name in enumerate(header.aggregates)]
    stored = [name for name in header.features if name not in header.given]
    asked = {
        name: _listed(*entry.arrays[name]) if name in entry.arrays else entry.attributes[name]
        for name in entry.attributes
    }
    matrix = np.frombuffer(entry.features, "<f8").reshape(n, len(stored)).tolist()
    rows = zip(
        entry.ids(),
        entry.keys,
        zip(*columns, strict=True) if columns else [()] * n,
        matrix,
        np.frombuffer(entry.margin, "<f8").tolist(),
        np.frombuffer(entry.probability, "<f8").tolist(),
        entry.positive,
        entry.known,
        entry.as_of,
        zip(*asked.values(), strict=True) if asked else [()] * n,
        strict=True,
    )
    for id_, key, aggregates, own, margin, probability, positive, known, as_of, attributes in rows:
        yield Prediction(
            prediction_id=id_,
            request_id=entry.request_id,
            usecase=header.usecase,
            model=header.model,
            fingerprint=header.fingerprint,
            route=entry.route,
            pod=header.pod,
            answered_at=entry.time,
            request_time=entry.now,
            as_of=as_of,
            key=key,
            known=bool(known),
            degraded=entry.degraded,
            probability=probability,
            decision=header.labels[1 if positive else 0],
            threshold=header.threshold,
            margin=margin,
            attributes=(said := dict(zip(asked, attributes, strict=True))),
            aggregates=(read := dict(zip(header.aggregates, aggregates, strict=True))),
            features=_features(header, said | read, dict(zip(stored, own, strict=True))),
            batch=None if entry.batch < 0 else entry.batch,
            latency_us=entry.latency,
            hashed=header.hashed,
        )


def cells(column: Column) -> Cells:
    """What is in the array that `features.contract.array` makes of a column that is no text."""
    kind: Literal["number", "integer", "flag"] = "integer"
    if column.kind in ("number", "flag"):
        kind = column.kind
    optional: dict[str, Cells] = {"number": "number?", "integer": "integer?", "flag": "flag?"}
    return optional[kind] if column.nullable else kind


def unpacked(what: Cells, data: bytes) -> np.ndarray[Any, Any]:
    """The array of an attribute, as it came."""
    return np.frombuffer(data, _DTYPES.get(what, "<f8"))


def _listed(what: Cells, data: bytes) -> list[Plain]:
    return plain(what, unpacked(what, data))


def plain(what: Cells, values: np.ndarray[Any, Any]) -> list[Plain]:
    """The values of an attribute, as a list of them would have been recorded."""
    listed: list[Any] = values.tolist()
    kind = _OPTIONAL.get(what)
    return listed if kind is None else [None if value != value else kind(value) for value in listed]


def _features(header: Header, given: Mapping[str, Plain], own: Mapping[str, float]) -> dict[str, float]:
    """All columns of the matrix, in its order."""

    def said(field: str, level: str | None) -> float:
        value = given[field]
        if level is not None:
            return float(value == level)
        return math.nan if value is None else float(value)

    return {name: said(*header.given[name]) if name in header.given else own[name] for name in header.features}


def exact(values: Mapping[str, Plain]) -> dict[str, Any]:
    """The values as JSON, and numbers of SQL, can hold them to the last bit: NaN is null; what they have no number for,
    or would take for an integer, is text that every reader of floats understands: `-0.0`, `Infinity`, `1e+16`."""
    return {name: _exact(value) if isinstance(value, float) else value for name, value in values.items()}


def inexact(value: Any) -> Any:
    """What `exact` was given; for null that is None. No level of a category looks like its texts."""
    return float(value) if isinstance(value, str) and _TEXT.fullmatch(value) else value


def _exact(value: float) -> Any:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else value
    return repr(value) if abs(value) >= 1e16 else value
