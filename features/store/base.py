"""What every store answers: the interfaces that Parquet, SQLite and each later engine keep alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from features.rows import Arrays
from features.source import Source
from settings import HoldfastError

if TYPE_CHECKING:
    from features.etl.stage import Stage


class StoreError(HoldfastError, RuntimeError):
    """A store cannot answer; the message says what is missing and which command makes it."""


@dataclass(frozen=True)
class Spine:
    """For whom and as of when: n keys (str) with n times (int64 microseconds). Row i of an answer is row i here."""

    key: np.ndarray[Any, Any]
    t: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.key)

    @staticmethod
    def at(keys: Sequence[str] | np.ndarray[Any, Any], t: int) -> Spine:
        """Every key at one time."""
        return Spine(np.asarray(keys, dtype=np.str_), np.full(len(keys), t, dtype=np.int64))


@dataclass(frozen=True)
class Lookup:
    """Aggregates of n rows, in the order asked for.

    `known` is False where no event of the key is visible; `as_of` is the time, in microseconds, the aggregates are for.
    """

    aggregates: Arrays
    known: np.ndarray[Any, Any]
    as_of: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Batch:
    """The manifest of one committed ingest: numbered from 1 without gaps, never changed."""

    number: int
    table: str
    committed_at: str
    ingested_at: str
    source: str
    form: str
    header: tuple[str, ...]
    rows: int
    quarantined: int
    content: str
    contract: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Appended:
    """What became of the rows of one ingest; new + known + quarantined is the number of rows read."""

    batch: int | None
    read: int
    new: int
    known: int
    quarantined: int


class EventStore(Protocol):
    """Where accepted rows are kept for ever, and where wide questions are asked of them. Times are microseconds."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """The tables and what their rows must hold."""

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch, atomically; rows already stored are not stored again."""

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""

    def content(self) -> str:
        """Digest over the contents of all batches: changes whenever a row is added."""

    def keys(self, before: int) -> np.ndarray[Any, Any]:
        """Sorted keys of all who have an event visible at `before`, or a record, where there are no events."""

    def aggregate(self, spine: Spine, *, cut: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; `cut` hides every event at or after it."""

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon)."""

    def span(self) -> tuple[int, int]:
        """Times of the first and the last event."""

    def records(self, spine: Spine) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t: one array per field of the record contract."""

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch, by column, for an online store."""

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows that wait in quarantine: id, batch, table, row, reasons, original bytes."""


class OnlineStore(Protocol):
    """Where serving reads the aggregates of one or a few keys."""

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Take over the events of one committed batch; loading a batch again changes nothing."""

    def last_batch(self) -> int:
        """Number of the last batch taken over, 0 for none."""

    def materialize(self, keys: np.ndarray[Any, Any], rows: Lookup, as_of: int, batch: int) -> None:
        """Replace all materialized rows of the feature set's fingerprint, in one transaction, verified before."""

    def as_of(self) -> tuple[int, int, int]:
        """Time, last event batch and number of the materialized rows."""

    def read(self, keys: Sequence[str]) -> Lookup:
        """The materialized rows of these keys; a key without one is answered as a key without events."""

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """The same SQL text over these keys' events, now: on-read."""

    def close(self) -> None:
        """Let go of the connection."""
