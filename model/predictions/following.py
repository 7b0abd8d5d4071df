"""A log in files, read on: segments side by side, so that records come about in order of time, whoever wrote them."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from features.store.base import StoreError
from model.predictions import segment
from model.predictions.block import Block, Entries, alike
from model.predictions.chunk import Chunk
from model.predictions.entry import Entry, Header
from model.predictions.outcome import Outcome, Outcomes
from model.predictions.reading import Directory
from model.predictions.refusal import Refusals
from model.predictions.segment import OPEN, SEALED, began, segments, taken

_HEAD, _PIECE = 1 << 16, 1 << 20
"""Bytes that are read of a segment at once, for its header and then; more where a record is larger."""
Record = tuple[int, Header, segment.Record]
"""With the offset behind it."""


def follow(log: Directory, cursor: Mapping[str, str], rows: int) -> Iterator[Chunk]:
    """What is in the segments behind a cursor: offsets by the segment's name without its end, for `.open` becomes
    `.seg`. A segment that retention removed is forgotten."""
    waiting = deque(path for path in segments(log.path) if _size(path) != int(cursor.get(path.stem, 0)))
    filling = _Filling(_gone(log.path, cursor))
    ready: list[tuple[int, int, Record, Iterator[Record], str]] = []

    def put(records: Iterator[Record], part: str, number: int) -> None:
        try:
            found = next(records, None)
        except StoreError as error:
            filling.trouble.append(str(error))
            return
        if found is not None:
            heapq.heappush(ready, (_time(found[2]), number, found, records, part))

    number = 0
    while ready or waiting:
        while waiting and (not ready or began(waiting[0]) <= ready[0][0]):
            path, number = waiting.popleft(), number + 1
            put(_records(path, int(cursor.get(path.stem, 0)), log.usecase), path.stem, number)
        if not ready:
            continue
        _, own, (behind, header, record), records, part = heapq.heappop(ready)
        filling.add(part, behind, header, record)
        if filling.rows >= rows:
            yield filling.chunk()
            filling = _Filling(set())
        put(records, part, own)
    yield filling.chunk(last=True)


class _Filling:
    """A chunk in the making."""

    def __init__(self, forgotten: set[str]) -> None:
        self.rows, self.trouble, self._forgotten = 0, list[str](), forgotten
        self._entries = defaultdict[tuple[Any, ...], list[tuple[Header, Entry]]](list)
        self._alike = dict[int, tuple[Header, tuple[Any, ...]]]()
        self._outcomes, self._refusals = list[Outcome](), list[Refusals]()
        self._cursor = dict[str, int]()

    def add(self, part: str, behind: int, header: Header, record: segment.Record) -> None:
        """A record more."""
        self._cursor[part] = behind
        if isinstance(record, Outcomes):
            self._outcomes += record.items
            self.rows += len(record.items)
            return
        if isinstance(record, Refusals):
            self._refusals.append(record)
            return
        known = self._alike.get(id(header))
        if known is None:
            known = self._alike[id(header)] = (header, alike(header))
        self._entries[known[1]].append((header, record))
        self.rows += len(record.keys)

    def chunk(self, *, last: bool = False) -> Chunk:
        """All of it."""
        blocks: list[Block] = [Entries(records) for records in self._entries.values()]
        cursor = {part: str(behind) for part, behind in self._cursor.items()}
        return Chunk(blocks, self._outcomes, cursor, self._forgotten, self.trouble, last, refusals=self._refusals)


def _records(path: Path, start: int, usecase: str) -> Iterator[Record]:
    """The records of a segment behind an offset, up to where it ends now; a last one that is not whole is not there
    yet. None of another use case.

    Raises:
        StoreError: at a record that is not what was written; or if the segment is shorter than it was.
    """
    try:
        file = _opened(path)
    except FileNotFoundError:  # retention removed it
        return
    with file:
        end = file.seek(0, 2)
        if end < start:
            raise StoreError(
                f"{path} has {end:,} bytes, and {start:,} of it were read before: it is not the file that it was; put "
                "that one back, or give this one another name"
            )
        header, position, size = None, 0, _HEAD
        while position < end:
            file.seek(position)
            data, before = file.read(min(size, end - position)), position
            for position, own, record in taken(path, data, before, header):
                if record is not None:
                    yield position, own, record
                    continue
                if own.usecase != usecase:
                    return
                header, position = own, max(position, start)
                break
            size = _PIECE if position > before else size * 4
            if position == before and before + len(data) >= end:
                return


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return path.with_suffix(SEALED).open("rb")


def _time(record: segment.Record) -> int:
    return record.items[0].received_at if isinstance(record, Outcomes) else record.time


def _size(path: Path) -> int:
    """Bytes of a segment; -1 where it is no more under that name."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _gone(directory: Path, cursor: Mapping[str, str]) -> set[str]:
    """Parts of which there is no file, under either name: a listing may miss one that is renamed meanwhile."""
    there = {path.stem for path in segments(directory)}
    lacking = {part for part in cursor if part not in there}
    return {p for p in lacking if not any((directory / f"{p}{end}").exists() for end in (OPEN, SEALED))}
