"""Outcomes that a job brings: written to the log as servers write those of clients."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from features.store.base import StoreError
from model.predictions.entry import Header
from model.predictions.outcome import Outcome, Outcomes, unique
from model.predictions.reading import Directory, Log
from model.predictions.segment import SEALED, frame, name

_ITEMS = 1_000
"""Outcomes in a record."""
_PART = 100_000
"""Outcomes in a segment, about 15 MB, and in a transaction."""
_Put = Callable[[list[Outcome]], int]
"""Writes those that are not there yet; how many."""


@dataclass(frozen=True)
class Told:
    """How many outcomes are new in the log, and how many were there already, or came twice."""

    new: int
    known: int


def tell(log: Log, told: Iterable[Outcome]) -> Told:
    """Bring outcomes into the log; an id that is there stays as it was received first. What was written is on the disk
    when this returns; if it does not return, all of it may be brought again.

    Raises:
        StoreError: if the log cannot be read or written.
    """
    put = _files(log) if isinstance(log, Directory) else _table(log)
    rest, new, known = iter(told), 0, 0
    while part := list(islice(rest, _PART)):
        added = put(list(unique(part).values()))
        new, known = new + added, known + len(part) - added
    return Told(new, known)


def _files(log: Directory) -> _Put:
    there = {one.outcome_id for one in log.outcomes()}
    header = Header(
        usecase=log.usecase,
        model="",
        fingerprint="",
        threshold=0,
        labels=("", ""),
        key="",
        aggregates=[],
        floats=[],
        features=[],
        pod=socket.gethostname(),
    )
    numbers = count()

    def put(told: list[Outcome]) -> int:
        fresh = [one for one in told if one.outcome_id not in there]
        if fresh:
            path = log.path / (name(time.time_ns() // 1_000, header.pod, os.getpid(), next(numbers)) + SEALED)
            _write(path, header, fresh)
            there.update(one.outcome_id for one in fresh)
        return len(fresh)

    return put


def _write(path: Path, header: Header, told: list[Outcome]) -> None:
    """A sealed segment, whole or not at all."""
    made = path.with_suffix(".new")
    records: list[Header | Outcomes] = [
        header,
        *(Outcomes(items=told[start : start + _ITEMS]) for start in range(0, len(told), _ITEMS)),
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with made.open("wb") as file:
            os.fchmod(file.fileno(), 0o640)  # as servers make theirs
            for record in records:
                file.writelines(frame(record))
            file.flush()
            os.fsync(file.fileno())
        made.rename(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreError(f"{path}: outcomes cannot be written: {error}") from error
    finally:
        with suppress(OSError):  # it is what the log is in that is out of order
            made.unlink(missing_ok=True)


def _table(log: Log) -> _Put:
    from model.predictions.postgres import Table  # psycopg, where it is asked for

    if not isinstance(log, Table):
        raise TypeError(f"{type(log).__name__} is no log that outcomes are written to")
    return log.tell
