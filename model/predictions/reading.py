"""Reading the prediction log, wherever it is kept."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from features.clock import MINUTE
from features.store import POSTGRESQL
from features.store.base import StoreError
from model.predictions.entry import Entry, Header, Prediction, expand
from model.predictions.outcome import Answered, Outcome, Settled, about, answered, by_key, joined, settle, unique
from model.predictions.segment import SEALED, began, content, outcomes, read, segments
from settings import redacted

SLACK = MINUTE
"""How far an entry may lie outside the times that a file's name and its last change tell, microseconds: clocks are set
while servers run, and an id is made before its answer."""


class Log(Protocol):
    """Where predictions of one use case are kept. Every method raises StoreError where it cannot be read."""

    def between(self, start: int | None = None, end: int | None = None) -> Iterator[Prediction]:
        """All that were answered in [start, end), microseconds; about in order of time."""

    def find(self, name: str) -> list[Prediction]:
        """Those with that prediction id, or else of the requests with that id; none where there is no such."""

    def newest(self, limit: int, key: str | None = None) -> list[Prediction]:
        """The last ones answered, newest first; of one key, if it is given."""

    def outcomes(self, start: int | None = None, end: int | None = None) -> Iterator[Outcome]:
        """All that were received, for the first time, in [start, end), microseconds; in order of time.

        What waited in a spool is there late, so a job that reads on from where it stopped must not go by this time. To
        read each outcome once: in PostgreSQL, `WHERE number > LAST ORDER BY number`, for outcomes are numbered in the
        order of their commits; in files, by how far each segment was read, for they only grow, at the end, and keep
        their names but for `.open`; there an id may come again.
        """

    def latest(self, limit: int) -> list[Outcome]:
        """The last ones received, newest first."""

    def settled(self, found: Iterable[Prediction]) -> Iterator[Settled]:
        """These predictions of this log, each with the outcome that holds now."""

    def about(self, told: Iterable[Outcome]) -> dict[str, int]:
        """When the prediction was answered that each is about, microseconds, by outcome id; of those about one in the
        log."""


@dataclass(frozen=True)
class Directory:
    """A log in a directory of segments; also one that servers are writing to. Reading outcomes reads all of it."""

    path: Path
    usecase: str

    def between(self, start: int | None = None, end: int | None = None) -> Iterator[Prediction]:
        """All that were answered in [start, end), file by file, the oldest first."""
        for path in segments(self.path):
            if (end is not None and began(path) - SLACK > end) or (start is not None and _ended(path) < start):
                continue
            for header, entry in self._entries(path):
                if (start is None or entry.time >= start) and (end is None or entry.time < end):
                    yield from expand(header, entry)

    def find(self, name: str) -> list[Prediction]:
        """Those with that prediction id, or else of the requests with that id.

        An id made here tells when, so files of that time come first; for a client's id all are searched, the newest
        first. Where one is found, the files of about that time are searched too, and no others.
        """
        paths = segments(self.path)[::-1]
        made = re.match("[0-9a-f]{12}", name)
        near = _about(paths, int(made[0], 16) * 1_000) if made else []
        for path in [*near, *(path for path in paths if path not in set(near))]:
            if first := self._named(path, name):
                beside = [other for other in _about(paths, first[0].answered_at) if other != path]
                found = [one for other in [path, *beside] for one in self._named(other, name)]
                found.sort(key=lambda one: (one.answered_at, len(one.prediction_id), one.prediction_id))
                return [one for one in found if one.prediction_id == name] or found
        return []

    def newest(self, limit: int, key: str | None = None) -> list[Prediction]:
        """The last ones answered, newest first; of one key, if it is given."""
        kept: list[tuple[int, int, Prediction]] = []
        number = count()
        for path in sorted(segments(self.path), key=_ended, reverse=True):
            if len(kept) == limit and kept[0][0] > _ended(path):
                break
            for header, entry in reversed(list(self._entries(path))):
                if (key is not None and key not in entry.keys) or (len(kept) == limit and entry.time <= kept[0][0]):
                    continue
                for one in expand(header, entry):
                    if key is None or one.key == key:
                        (heapq.heappush if len(kept) < limit else heapq.heappushpop)(
                            kept, (one.answered_at, next(number), one)
                        )
        return [one for _, _, one in sorted(kept, reverse=True)]

    def outcomes(self, start: int | None = None, end: int | None = None) -> Iterator[Outcome]:
        """All that were received, for the first time, in [start, end), in order of time."""
        found = (one for one in unique(self._told()).values() if start is None or one.received_at >= start)
        yield from sorted((one for one in found if end is None or one.received_at < end), key=_received)

    def latest(self, limit: int) -> list[Outcome]:
        """The last ones received, newest first."""
        return heapq.nlargest(limit, self.outcomes(), key=_received)

    def settled(self, found: Iterable[Prediction]) -> Iterator[Settled]:
        """These predictions of this log, each with the outcome that holds now."""
        told = list(self._told())
        keys = {one.key for one in told if one.key is not None}
        entries = (entry for path in segments(self.path) if keys for _, entry in self._entries(path))
        answers = (
            (key, answered(entry.time, id_))
            for entry in entries
            if not keys.isdisjoint(entry.keys)
            for key, id_ in zip(entry.keys, entry.ids(), strict=True)
            if key in keys
        )
        holds = settle(told, by_key(answers))
        for one in found:
            yield joined(one, holds.get(one.prediction_id))

    def about(self, told: Iterable[Outcome]) -> dict[str, int]:
        """When the prediction was answered that each is about, by outcome id; of those about one in the log."""
        asked = list(told)
        keys = {one.key for one in asked if one.key is not None}
        ids = {one.prediction_id for one in asked if one.prediction_id is not None}
        requests = {id_.partition("-")[0] for id_ in ids}
        times, answers = dict[str, int](), list[tuple[str, Answered]]()
        for path in segments(self.path) if asked else ():
            for _, entry in self._entries(path):
                if entry.id not in requests and keys.isdisjoint(entry.keys):
                    continue
                for key, id_ in zip(entry.keys, entry.ids(), strict=True):
                    if id_ in ids:
                        times[id_] = entry.time
                    if key in keys:
                        answers.append((key, answered(entry.time, id_)))
        own = by_key(answers)
        found = ((one.outcome_id, about(one, own)) for one in asked)
        times |= {id_: time for time, _, id_ in (one for _, one in answers)}
        return {outcome_id: times[id_] for outcome_id, id_ in found if id_ in times}

    def _told(self) -> Iterator[Outcome]:
        """Every outcome as often as it was received."""
        for path in segments(self.path):
            for header, record in outcomes(path):
                if header.usecase == self.usecase:
                    yield from record.items

    def _entries(self, path: Path, data: bytes | None = None) -> Iterator[tuple[Header, Entry]]:
        return (both for both in read(path, data) if both[0].usecase == self.usecase)

    def _named(self, path: Path, name: str) -> list[Prediction]:
        """What `find` looks for, of one segment."""
        data, request = content(path), re.sub(r"-\d+$", "", name)
        if name.encode() not in data and request.encode() not in data:  # much faster than decoding
            return []
        return [
            one
            for header, entry in self._entries(path, data)
            if name in (entry.id, entry.request_id) or entry.id == request
            for one in expand(header, entry)
            if name in (entry.id, entry.request_id, one.prediction_id)
        ]


def _received(one: Outcome) -> tuple[int, str]:
    return one.received_at, one.outcome_id


def _about(paths: list[Path], time: int) -> list[Path]:
    """Segments that may hold an entry of that time, microseconds."""
    return [path for path in paths if began(path) - SLACK <= time <= _ended(path)]


def _ended(path: Path) -> int:
    """A time after which nothing in the file was answered, microseconds."""
    try:
        return path.stat().st_mtime_ns // 1_000 + SLACK
    except FileNotFoundError:  # it was sealed just now
        return path.with_suffix(SEALED).stat().st_mtime_ns // 1_000 + SLACK


def place(url: str | None, home: Path) -> Path | None:
    """The directory that a log is in; None where it is a table.

    Args:
        url: HOLDFAST_PREDICTIONS_URL, by default files in `home`, the directory of the use case.

    Raises:
        StoreError: if no log is kept, or nothing serves that URL.
    """
    if url is None:
        return home / "predictions"
    scheme = url.partition(":")[0]
    if scheme in POSTGRESQL:
        return None
    parts = urlsplit(url)
    if scheme == "none":
        raise StoreError(f"HOLDFAST_PREDICTIONS_URL={url}: no prediction is recorded")
    if scheme != "file" or not parts.path:
        raise StoreError(
            f"HOLDFAST_PREDICTIONS_URL={redacted(url)}: use file:///DIRECTORY, postgresql://USER@HOST/DATABASE or none:"
        )
    return Path(unquote(parts.netloc + parts.path))


def open_log(url: str | None, home: Path, usecase: str) -> Log:
    """The log of a use case at `url`, as `place` reads it.

    Raises:
        StoreError: if none is kept, or nothing serves that URL.
    """
    directory = place(url, home)
    if directory is not None:
        return Directory(directory, usecase)
    from model.predictions.postgres import Table

    return Table(url or "", usecase)
