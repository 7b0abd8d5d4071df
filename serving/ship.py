"""Ships sealed segments to PostgreSQL: `python -m serving.ship DIRECTORY USECASE`, started by a recorder.

HOLDFAST_PREDICTIONS_URL says where to. A line on stdin says that a segment was sealed; its end, that the worker has
closed or died: what is there is shipped then, for at most GRACE seconds. What happens is told on stdout, a JSON list
per line: what, segment, bytes, predictions, words for the log.

A segment is removed after the commit of its rows, and a row that is there already is not added again: whenever this is
killed, each prediction is in the table once in the end. Segments of processes that died are adopted from the
directories beside.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from features.store.base import StoreError, Unreachable
from model.predictions import Header
from model.predictions.outcome import Outcomes
from model.predictions.postgres import Table
from model.predictions.refusal import Refusals
from model.predictions.segment import SEALED, Record, content, records, segments
from serving.shipping import GRACE

ORPHANS = 5.0
"""Seconds between two looks for orphans."""
PAUSES = (0.2, 5.0)
"""Seconds between two tries of a server that is away: the first, doubled until the last."""
VALUES = (psycopg.DataError, ValueError, OverflowError)
"""What says that an entry holds what the table cannot."""
REFUSED = "refused"
"""Directory, beside those of processes, of segments that hold what the table cannot."""


class Shipper:
    """Ships the segments of one process's directory."""

    def __init__(self, directory: Path, table: Table) -> None:
        self.directory, self.table = directory, table
        self._connection: psycopg.Connection | None = None
        self._trouble = ""

    def run(self) -> None:
        """Ship until the worker has gone and everything is shipped."""
        orphans, pause = 0.0, PAUSES[0]
        living = True
        while True:
            if time.monotonic() >= orphans:
                self.adopt()
                orphans = time.monotonic() + ORPHANS
            done = self.ship()
            if done and not living:
                break
            pause = PAUSES[0] if done else min(PAUSES[1], pause * 2)
            if living and self._worker_gone(ORPHANS if done else pause, wake=done):
                living, pause = False, PAUSES[0]
                signal.setitimer(signal.ITIMER_REAL, GRACE)  # whatever it waits for then, it ends
                _seal(self.directory)
            elif not living:
                time.sleep(min(pause, 1.0))
        _remove(self.directory)

    def adopt(self) -> None:
        """Take over the segments of processes that died."""
        for other in sorted(self.directory.parent.iterdir()):
            if other == self.directory or other.name == REFUSED or not other.is_dir():
                continue
            with _dead(other) as dead:
                if not dead:
                    continue
                found = segments(other)
                for path in found:
                    size = path.stat().st_size
                    path.rename(self.directory / f"{path.stem}{SEALED}")
                    _tell("adopted", f"{path.stem}{SEALED}", size)
                _remove(other)
                _tell("adopted", words=f"{len(found):,} segments of {other.name}, which died, are shipped from here")

    def ship(self) -> bool:
        """Ship what is sealed, the oldest first; False where the server takes nothing now."""
        for path in segments(self.directory):
            if path.suffix != SEALED:
                continue
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self.table.writer()
                    if self._trouble:
                        self._trouble = ""
                        _tell("up", words=f"{self.table.where} takes predictions again")
                self._ship(path, self._connection)
            except StoreError as error:
                if self._connection is not None:
                    self._connection.close()
                trouble = "away" if isinstance(error, Unreachable) else str(error)
                if trouble != self._trouble:
                    self._trouble = trouble
                    _tell("down", words=f"predictions wait in {self.directory}: {error}")
                return False
        return True

    def _ship(self, path: Path, connection: psycopg.Connection) -> None:
        size, data, damage = path.stat().st_size, content(path), ""

        def whole() -> Iterator[tuple[Header, Record]]:
            """What can be read of it."""
            nonlocal damage
            try:
                yield from records(path, data)
            except StoreError as error:
                damage = str(error)

        lost = 0
        try:
            rows = self.table.insert(connection, whole())
        except VALUES as error:
            rows, damage = 0, f"{self.table.where} cannot hold some of it ({error})"
            for header, record in whole():
                try:
                    rows += self.table.insert(connection, [(header, record)])
                except VALUES:
                    if not isinstance(record, Refusals):
                        lost += len(record.items if isinstance(record, Outcomes) else record.keys)
        if not damage:
            path.unlink()
            _tell("shipped", path.name, size, rows)
            return
        aside = self.directory.parent / REFUSED
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
        _tell("shipped", path.name, size, rows)
        _tell(
            "refused",
            path.name,
            size,
            lost,
            f"{damage}; {rows:,} predictions were shipped, {aside / path.name} keeps all",
        )

    def _worker_gone(self, seconds: float, *, wake: bool) -> bool:
        """Wait so long, with `wake` only until something is sealed; whether the worker has gone."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([0], [], [], left)[0]:
                if not os.read(0, 65_536):
                    return True
                if wake:
                    return False
        return False


def _tell(what: str, name: str = "", size: int = 0, rows: int = 0, words: str = "") -> None:
    with suppress(OSError):  # nobody listens: the worker died
        os.write(1, json.dumps([what, name, size, rows, words]).encode() + b"\n")


def _seal(directory: Path) -> None:
    for path in segments(directory):
        path.rename(path.with_suffix(SEALED))


def _remove(directory: Path) -> None:
    with suppress(OSError):  # a segment in it, or another process that came first
        if not segments(directory):
            (directory / "lock").unlink(missing_ok=True)
            directory.rmdir()


@contextmanager
def _dead(directory: Path) -> Iterator[bool]:
    """Whether the process of that directory is dead, and nobody else adopts it while the block runs."""
    try:
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    except FileNotFoundError:  # adopted just now
        yield False
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(lock)


def main() -> None:
    """Run, untouched by signals that mean the worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    directory, usecase = sys.argv[1:]
    Shipper(Path(directory), Table(os.environ["HOLDFAST_PREDICTIONS_URL"], usecase)).run()


if __name__ == "__main__":
    main()
