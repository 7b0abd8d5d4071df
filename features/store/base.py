"""What every store answers: the interfaces that Parquet, SQLite and each later engine keep alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from features.clock import rfc3339
from features.rows import Arrays
from features.source import Source
from settings import HoldfastError, miswritten, redacted

if TYPE_CHECKING:
    from features.etl.stage import Stage
    from features.featureset import FeatureSet


class StoreError(HoldfastError, RuntimeError):
    """A store cannot answer; the message says what is missing and which command makes it."""


class Unreachable(StoreError):
    """A store's server is down, turns us away or is too slow: a connection or a time-out failed; later it may answer.

    Stores raise it for just that. Rows that are missing, of another fingerprint, or not what was written are a plain
    StoreError: serving may answer for a store that is down (HOLDFAST_ONLINE_DOWN), never for one that answers wrongly.
    """


class Held(StoreError):
    """Another process is writing, and only one may; the message names it."""


def address(url: str) -> str:
    """The address of a server, as it was given.

    Raises:
        StoreError: if its password is not escaped; no driver has seen it then.
    """
    if miswritten(url):
        raise StoreError(
            f"{redacted(url)} is no address: write what is special in its password as %XX (@ is %40, / is %2F, a blank "
            "is %20, % is %25)"
        )
    return url


class NoRecord(StoreError):
    """Keys of a spine have no record that was known at their time; `rows` are their positions (int64)."""

    def __init__(self, spine: Spine, absent: np.ndarray[Any, Any]) -> None:
        self.rows = np.flatnonzero(absent)
        key, t = str(spine.key[self.rows[0]]), rfc3339(int(spine.t[self.rows[0]]))
        more = f" (nor of {len(self.rows) - 1:,} more)" if len(self.rows) > 1 else ""
        super().__init__(
            f"no record of {key!r} was known at {t}{more}: ingest the table of records (`holdfast ingest FILE --table "
            "records`, with --backfill if it is history)"
        )


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

    `known` is False where no event of the key is visible; `as_of` is the time, in microseconds, the aggregates are for;
    `batch` is the last batch of events in materialized rows, None where nobody asked.
    """

    aggregates: Arrays
    known: np.ndarray[Any, Any]
    as_of: np.ndarray[Any, Any]
    batch: int | None = None

    def take(self, rows: np.ndarray[Any, Any]) -> Lookup:
        """Some of the rows; `rows` are positions or a mask."""
        aggregates = {n: values[rows] for n, values in self.aggregates.items()}
        return Lookup(aggregates, self.known[rows], self.as_of[rows], self.batch)


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
    watermark: str = ""
    """How far an incremental source has been read; empty where the source is a file."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> Batch:
        """From plain values; what an older manifest lacks has its default."""
        given = {field.name: stored[field.name] for field in fields(Batch) if field.name in stored}
        return Batch(**{**given, "header": tuple(given["header"])})


@dataclass(frozen=True)
class Materialized:
    """What the online rows of a fingerprint are: as of when (microseconds), up to which event batch, how many."""

    as_of: int
    batch: int
    rows: int
    begun: int | None = None
    """Where a store has no transactions: the as_of that an interrupted run of changed rows had begun to write, each
    row with its own. A run to that time or later writes them all again; one to an earlier time writes everyone."""


Transform = Callable[[np.ndarray[Any, Any], Lookup, Arrays], Arrays]
"""Keys of n rows, their aggregates and their record's fields in; arrays of n, by name, out. It is called with parts of
a spine, on Spark in another process: it pickles, and a row's answer does not depend on the rows beside it."""

Rows = tuple[np.ndarray[Any, Any], Lookup]
"""Some keys and their aggregates, as they are materialized."""


@dataclass(frozen=True)
class Appended:
    """What became of the rows of one ingest; new + known + quarantined is the number of rows read."""

    batch: int | None
    read: int
    new: int
    known: int
    quarantined: int


def watermark(batches: Sequence[Batch], table: str, source: str) -> str:
    """How far that incremental source of that table has been read; empty where it never was."""
    return next((b.watermark for b in reversed(batches) if (b.table, b.source) == (table, source)), "")


class EventStore(Protocol):
    """Where accepted rows are kept for ever, and where wide questions are asked of them. Times are microseconds."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """The tables and what their rows must hold."""

    def migrate(self) -> str:
        """Make or bring up to date what rows are kept in; again, it changes nothing. Says what there is then."""

    def append(self, stage: Stage) -> Appended:
        """Commit the staged rows as the next batch, atomically; rows already stored are not stored again."""

    def batches(self) -> list[Batch]:
        """Every committed batch, oldest first."""

    def content(self) -> str:
        """Digest over the contents of all batches: changes whenever a row is added."""

    def keys(self, before: int, low: str = "", high: str | None = None) -> np.ndarray[Any, Any]:
        """Sorted keys of all who have an event visible at `before`, or a record, where there are no events; only
        those in [low, high), in the order of their code points."""

    def ranges(self, before: int, size: int) -> list[str]:
        """Where parts of `size` keys begin: the first is "", the next is the key after the first `size`, and so on."""

    def changed(self, since: Materialized, t: int) -> np.ndarray[Any, Any]:
        """Sorted keys whose aggregates at t may be others than they were materialized: of batches that came after,
        and those whose events entered or left a window in between."""

    def relevant(self, t: int, horizon: int) -> list[Batch]:
        """The batches with a part in an example at t: a row visible at t, or an event in [t, t + horizon)."""

    def aggregate(self, spine: Spine, *, cut: int | None = None, upto: int | None = None) -> Lookup:
        """The feature set's one SQL text over this spine; an empty Lookup of known rows where there are no events.

        Args:
            cut: hide every event at or after this time (microseconds): what a leakage check compares with.
            upto: hide every batch after this number: what was answered when it was the last one.
        """

    def transform(self, spine: Spine, function: Transform, *, records: bool) -> Arrays:
        """`function` over every row of the spine, in order: where the engine is, so next to the data.

        Args:
            records: hand over the newest record of each row too; else an empty mapping.
        """

    def active(self, spine: Spine, horizon: int) -> np.ndarray[Any, Any]:
        """How many events each spine row has in [t, t + horizon)."""

    def span(self) -> tuple[int, int]:
        """Times of the first and the last event."""

    def records(self, spine: Spine, *, upto: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The newest record of each spine row that was known at its t: one array per field of the record contract;
        `upto` hides later batches, as `aggregate` does.

        Raises:
            NoRecord: telling every row without one.
        """

    def events(self, batch: int) -> dict[str, list[Any]]:
        """The events of one batch, by column, for an online store."""

    def quarantined(self) -> list[dict[str, Any]]:
        """Rows that wait in quarantine: id, batch, table, row, reasons, original bytes."""


class OnlineStore(Protocol):
    """Where serving reads the aggregates of one or a few keys."""

    def migrate(self) -> str:
        """Make or bring up to date what rows are kept in; again, it changes nothing. Says what there is then."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the right to write while the block runs.

        Raises:
            Held: if another process holds it.
        """

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Take over the events of one committed batch; loading a batch again changes nothing."""

    def last_batch(self) -> int:
        """Number of the last batch taken over, 0 for none."""

    def materialize(self, parts: Iterable[Rows], as_of: int, batch: int, *, full: bool) -> None:
        """Write rows of the feature set's fingerprint: all of them, or with `full` false the changed ones.

        Every part is read back and compared; only then does `as_of` move. What is interrupted is as if it had never
        begun, or is made whole by the next run.

        Raises:
            StoreError: if what is read back is not what was written.
        """

    def as_of(self) -> Materialized:
        """What the materialized rows of this fingerprint are.

        Raises:
            StoreError: if there are none, naming those that are there.
        """

    def read(self, keys: Sequence[str]) -> Lookup:
        """The materialized rows of these keys, in one round trip; a key without one is answered as a key without
        events."""

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """The same SQL text over these keys' events, now: on-read."""

    def fingerprints(self) -> list[str]:
        """Of all rows that are kept, sorted."""

    def drop(self, fingerprint: str) -> None:
        """Forget the rows of a fingerprint."""

    def clear(self) -> None:
        """Forget everything that is kept for this use case."""

    def close(self) -> None:
        """Let go of the connection."""


def unmaterialized(where: str, there: Sequence[str], features: FeatureSet) -> StoreError:
    """The error of a store without rows of the feature set's fingerprint."""
    return StoreError(
        f"{where} holds online rows of fingerprint {', '.join(found[:16] for found in there) or 'none'}, but the "
        f"features here are {features.fingerprint[:16]}: run `holdfast materialize`"
    )
