"""The record of what was answered: one entry per request, with everything that its answers were made of."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The n answers of one request.

    Arrays are bytes, row after row, little-endian: `aggregates` n x a cells of 8 bytes (int64, or float64 for a min or
    a max, as `Lookup` has them), `features` n x p float64 (the model's matrix), `margin` and `probability` n float64,
    `positive` and `known` n bytes of 0 or 1. Times are microseconds.
    """

    id: str
    """Of the request; a single prediction has just this id, row i of a bulk request `ID-i`."""
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
    attributes: dict[str, list[str | int | float | bool | None]]
    """What the request said of each row, as it was accepted."""
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
    pod: str
