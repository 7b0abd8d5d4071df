"""Answers of one model, column by column: how jobs over many of them read the log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.predictions.entry import Entry, Header, Plain, Prediction, expand, inexact, plain, unpacked

Places = Sequence[int] | NDArray[np.int64]
_ROW = np.uint64(0x9E3779B97F4A7C15)
"""An odd number: rows of a bulk request have different multiples of it."""


class Block(Protocol):
    """Answers of one model: n of them, about in order of time."""

    @property
    def model(self) -> str:
        """Its tag."""

    @property
    def times(self) -> NDArray[np.int64]:
        """When each was answered, microseconds."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """Probabilities."""

    @property
    def decisions(self) -> NDArray[Any]:
        """In words."""

    @property
    def ids(self) -> NDArray[np.uint64]:
        """A hash of each prediction's id; of two ids it is the same with a chance of 2**-64."""

    @property
    def moments(self) -> NDArray[np.int64]:
        """The `request_time` of each, by the data's clock, microseconds."""

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each was decided positively."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the key of each had events that were seen."""

    @property
    def degraded(self) -> NDArray[np.bool_]:
        """Whether each was answered without the online store."""

    @property
    def ages(self) -> NDArray[np.int64]:
        """How old the aggregates of each were: `request_time` minus `as_of`, microseconds."""

    @property
    def rules(self) -> set[tuple[str, float]]:
        """Fingerprints of the features and thresholds that these answers came of."""

    def __len__(self) -> int: ...

    def keys(self) -> list[str]:
        """The key of each, as the log has it."""

    def column(self, name: str) -> NDArray[Any] | None:
        """The values of an attribute, or else of an aggregate, or else of a feature of that name: numbers (float64,
        int64 or bool), or objects; None where there is none."""

    def predictions(self, places: Places | None = None) -> Iterator[Prediction]:
        """Those at these positions, ascending, or all."""


class Part:
    """Some rows of a block, which is a block."""

    def __init__(self, whole: Block, places: NDArray[np.int64]) -> None:
        self._whole, self._places = whole, places
        self.model = whole.model
        self.times, self.scores, self.ids = whole.times[places], whole.scores[places], whole.ids[places]

    def __len__(self) -> int:
        return len(self._places)

    @cached_property
    def decisions(self) -> NDArray[Any]:
        """In words."""
        found: NDArray[Any] = self._whole.decisions[self._places]
        return found

    @property
    def moments(self) -> NDArray[np.int64]:
        """The `request_time` of each."""
        return self._whole.moments[self._places]

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each was decided positively."""
        return self._whole.flagged[self._places]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the key of each had events that were seen."""
        return self._whole.known[self._places]

    @property
    def degraded(self) -> NDArray[np.bool_]:
        """Whether each was answered without the online store."""
        return self._whole.degraded[self._places]

    @property
    def ages(self) -> NDArray[np.int64]:
        """How old the aggregates of each were."""
        return self._whole.ages[self._places]

    @property
    def rules(self) -> set[tuple[str, float]]:
        """Those of the whole block."""
        return self._whole.rules

    def keys(self) -> list[str]:
        """The key of each."""
        whole = self._whole.keys()
        return [whole[place] for place in self._places.tolist()]

    def column(self, name: str) -> NDArray[Any] | None:
        """Its values of these rows."""
        whole = self._whole.column(name)
        return None if whole is None else whole[self._places]

    def predictions(self, places: Places | None = None) -> Iterator[Prediction]:
        """Those at these positions of the part, or all."""
        return self._whole.predictions(self._places if places is None else self._places[np.asarray(places, np.int64)])


class Entries:
    """A block of entries whose headers name the same model and the same columns."""

    def __init__(self, records: list[tuple[Header, Entry]]) -> None:
        self._records, self._entries = records, [entry for _, entry in records]
        self._header = records[0][0]
        self.model = self._header.model
        self._sizes = np.fromiter((len(entry.keys) for entry in self._entries), np.int64, len(records))

    def __len__(self) -> int:
        return int(self._sizes.sum())

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """When each was answered."""
        return np.repeat(np.array([entry.time for entry in self._entries], np.int64), self._sizes)

    @property
    def moments(self) -> NDArray[np.int64]:
        """The `request_time` of each."""
        return np.repeat(np.array([entry.now for entry in self._entries], np.int64), self._sizes)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each was decided positively."""
        return np.frombuffer(b"".join(entry.positive for entry in self._entries), np.bool_)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the key of each had events that were seen."""
        return np.frombuffer(b"".join(entry.known for entry in self._entries), np.bool_)

    @property
    def degraded(self) -> NDArray[np.bool_]:
        """Whether each was answered without the online store."""
        return np.repeat(np.array([entry.degraded for entry in self._entries], np.bool_), self._sizes)

    @property
    def ages(self) -> NDArray[np.int64]:
        """How old the aggregates of each were."""
        return self.moments - np.array([as_of for entry in self._entries for as_of in entry.as_of], np.int64)

    @property
    def rules(self) -> set[tuple[str, float]]:
        """Fingerprints and thresholds."""
        return {(header.fingerprint, header.threshold) for header, _ in self._records}

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Probabilities."""
        return np.frombuffer(b"".join(entry.probability for entry in self._entries), "<f8")

    @cached_property
    def decisions(self) -> NDArray[Any]:
        """In words."""
        words = np.array(self._header.labels, object)
        return words[self.flagged.view(np.uint8)]

    @cached_property
    def ids(self) -> NDArray[np.uint64]:
        """Of an entry's id and the row's place."""
        own = b"".join(blake2b(entry.id.encode(), digest_size=8).digest() for entry in self._entries)
        found = np.repeat(np.frombuffer(own, "<u8"), self._sizes)
        if any(entry.places is not None for entry in self._entries):
            places = [p + 1 for e in self._entries for p in ([-1] if e.places is None else e.places)]
            found = found + np.array(places, np.uint64) * _ROW
        return found

    def keys(self) -> list[str]:
        """The key of each."""
        return [key for entry in self._entries for key in entry.keys]

    def column(self, name: str) -> NDArray[Any] | None:
        """Its values."""
        header = self._header
        if name in self._entries[0].attributes:
            return self._attribute(name)
        if name in header.aggregates:
            cells = self._aggregates[:, header.aggregates.index(name)]
            return cells.view("<f8") if name in header.floats else cells
        if name in self._stored:
            return self._matrix[:, self._stored.index(name)]
        if name not in header.given:
            return None
        source, level = header.given[name]
        values = self.column(source)
        if values is None or level is None:
            return values
        return np.array([value == level for value in values.tolist()], np.float64)

    def predictions(self, places: Places | None = None) -> Iterator[Prediction]:
        """Those at these positions, or all."""
        if places is None:
            for header, entry in self._records:
                yield from expand(header, entry)
            return
        wanted, ends = np.asarray(places, np.int64), np.cumsum(self._sizes)
        for index in np.unique(np.searchsorted(ends, wanted, side="right")).tolist():
            rows, begin = list(expand(*self._records[index])), int(ends[index] - self._sizes[index])
            yield from (rows[p - begin] for p in wanted[(wanted >= begin) & (wanted < ends[index])].tolist())

    @cached_property
    def _stored(self) -> list[str]:
        return [name for name in self._header.features if name not in self._header.given]

    @cached_property
    def _aggregates(self) -> NDArray[np.int64]:
        cells = np.frombuffer(b"".join(entry.aggregates for entry in self._entries), "<i8")
        return np.ascontiguousarray(cells.reshape(len(self), -1).T).T

    @cached_property
    def _matrix(self) -> NDArray[np.float64]:
        cells = np.frombuffer(b"".join(entry.features for entry in self._entries), "<f8")
        return np.ascontiguousarray(cells.reshape(len(self), -1).T).T

    def _attribute(self, name: str) -> NDArray[Any]:
        if len(self._entries) == 1 and name in self._entries[0].arrays:
            return unpacked(*self._entries[0].arrays[name])
        values: list[Plain] = []
        for entry in self._entries:
            own = entry.arrays.get(name)
            values += entry.attributes[name] if own is None else plain(own[0], unpacked(*own))
        return array(values)


class Predictions:
    """A block of predictions in rows: how tables give them.

    Args:
        rows: fields of `Prediction` by name; numbers among the inputs as `exact` writes them.
        made: makes the prediction of a row.
    """

    def __init__(self, rows: list[Mapping[str, Any]], made: Any) -> None:
        self._rows, self._made = rows, made
        self.model: str = rows[0]["model"]
        self.times = np.array([row["answered_at"] for row in rows], np.int64)
        self.scores = np.array([row["probability"] for row in rows], np.float64)
        self.moments = np.array([row["request_time"] for row in rows], np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each was decided positively."""
        return self.scores >= np.array([row["threshold"] for row in self._rows], np.float64)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the key of each had events that were seen."""
        return np.array([row["known"] for row in self._rows], np.bool_)

    @property
    def degraded(self) -> NDArray[np.bool_]:
        """Whether each was answered without the online store."""
        return np.array([row["degraded"] for row in self._rows], np.bool_)

    @property
    def ages(self) -> NDArray[np.int64]:
        """How old the aggregates of each were."""
        return self.moments - np.array([row["as_of"] for row in self._rows], np.int64)

    @property
    def rules(self) -> set[tuple[str, float]]:
        """Fingerprints and thresholds."""
        return {(row["fingerprint"], row["threshold"]) for row in self._rows}

    @cached_property
    def decisions(self) -> NDArray[Any]:
        """In words."""
        return np.array([row["decision"] for row in self._rows], object)

    @cached_property
    def ids(self) -> NDArray[np.uint64]:
        """Of the prediction's id."""
        own = b"".join(blake2b(row["prediction_id"].encode(), digest_size=8).digest() for row in self._rows)
        return np.frombuffer(own, "<u8")

    def keys(self) -> list[str]:
        """The key of each."""
        return [row["key"] for row in self._rows]

    def column(self, name: str) -> NDArray[Any] | None:
        """Its values."""
        for inputs in ("attributes", "aggregates", "features"):
            if name in self._rows[0][inputs]:
                values = [row[inputs].get(name) for row in self._rows]
                if any(isinstance(value, str) for value in values):
                    values = [inexact(value) for value in values]
                if inputs != "attributes":
                    values = [math.nan if value is None else value for value in values]
                return array(values)
        return None

    def predictions(self, places: Places | None = None) -> Iterator[Prediction]:
        """Those at these positions, or all."""
        rows = self._rows if places is None else [self._rows[int(place)] for place in places]
        return (self._made(row) for row in rows)


def array(values: list[Any]) -> NDArray[Any]:
    """Values of one column: bool, int64 or float64 where all are that, else objects."""
    types = set(map(type, values))
    if types in ({bool}, {float}, {int, float}):
        return np.array(values)
    if types == {int} and min(values) >= -(2**63) and max(values) < 2**63:
        return np.array(values, np.int64)
    found = np.empty(len(values), object)
    found[:] = values
    return found


def alike(header: Header) -> tuple[Any, ...]:
    """What headers of one block have in common."""
    given = tuple(sorted(header.given.items()))
    return (header.model, header.fingerprint, header.labels, tuple(header.aggregates), tuple(header.features), given)
