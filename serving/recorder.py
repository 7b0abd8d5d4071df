"""The prediction log as serving writes it: each entry, and each outcome, is in a file before its answer leaves.

What was written survives a killed process, for the kernel has it; a sealed segment survives the machine. In a
directory, segments are the log. For PostgreSQL they wait in HOME/USECASE/spool/PROCESS until `serving.ship` has
committed them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from features.store.base import address
from model.predictions import Entry, Header
from model.predictions.outcome import Outcomes
from model.predictions.reading import place
from model.predictions.refusal import Refusals
from model.predictions.segment import OPEN, SEALED, Record, frame, name
from serving.shipping import Shipping

log = logging.getLogger("holdfast.serving")

LARGEST = 16_000_000
"""Bytes after which a segment is sealed."""
FILES_AGE, SPOOL_AGE = 300.0, 1.0
"""Seconds after which a segment is sealed: of a log in a directory, and of one that is shipped."""
PAUSE = 0.25
"""Seconds after a failed write until the next is tried; what is answered in between is dropped."""
DROPS = ("spool", "disk", "entry", "refused")
"""Why a prediction is not recorded: the spool is at its bound, the disk took no more, it cannot be encoded, PostgreSQL
refused its values (it is kept in a file then)."""


_DISK = "the disk takes nothing; the server's log says why"


class Unkept(Exception):
    """A record is not in the log, or that is not known; `reason` is one of `DROPS`."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason, self.why = reason, why


class Recorder:
    """Appends records to the active segment. One per process; its methods are called by one thread.

    Args:
        url: HOLDFAST_PREDICTIONS_URL; home: directory of the use case; bound: bytes that may wait for PostgreSQL.

    Attributes:
        written, dropped: predictions, the dropped ones by reason of `DROPS`.

    Raises:
        StoreError: if nothing serves that URL. A disk or a server that is out of order is no error: it may come back.
    """

    def __init__(self, url: str | None, home: Path, header: Header, bound: int) -> None:
        self.header, self.bound = header, bound
        self.written = 0
        self.dropped = dict.fromkeys(DROPS, 0)
        self._shipping: Shipping | None = None
        self._lock: int | None = None
        self._file: int | None = None
        self._path, self._size, self._begun, self._number = Path(), 0, 0.0, 0
        self._retry, self._trouble = 0.0, ""
        self._sealer = ThreadPoolExecutor(1, "seal")
        self._flush: Future[None] | None = None
        self.off = url is not None and url.startswith("none:")
        if self.off:
            return
        directory = place(url, home.absolute())
        if directory is not None:
            self.directory, self._age = directory, FILES_AGE
            return
        process = name(time.time_ns() // 1_000, header.pod or socket.gethostname(), os.getpid(), 0)
        self.directory, self._age = home.absolute() / "spool" / process, SPOOL_AGE
        self._shipping = Shipping(address(url or ""), header.usecase, self.directory, self._refused)
        try:
            self._hold()
        except OSError as error:
            self._note("disk", str(error))
        self._shipping.start()

    @property
    def waiting(self) -> int:
        """Bytes that wait to be shipped, those of processes that died and were adopted among them."""
        return 0 if self._shipping is None else self._shipping.waiting + self._size

    @property
    def shipped(self) -> int:
        """Predictions that PostgreSQL has committed, adopted ones too."""
        return 0 if self._shipping is None else self._shipping.shipped

    def append(self, entry: Entry) -> None:
        """Write the entry, or count its predictions as dropped; it does not raise. Not to be called after `close`."""
        if self.off:
            return
        rows = len(entry.keys)
        try:
            self._put(entry, entry.time)
        except Unkept as unkept:  # an answer is worth more than its record
            self.dropped[unkept.reason] += rows
        else:
            self.written += rows

    def keep(self, told: Outcomes) -> Future[None]:
        """Write outcomes: they survive a killed process when this returns, and the machine when its result is there.
        Not to be called after `close`, nor where no log is kept.

        Raises:
            Unkept: now, or as the result; they may be there all the same, and may be sent again.
        """
        self._put(told, told.items[0].received_at)
        if self._file is None or self._flush is None or self._flush.running() or self._flush.done():
            try:
                file = None if self._file is None else os.dup(self._file)  # None: the same thread is sealing it
            except OSError as error:
                self._note("disk", str(error))
                raise Unkept("disk", _DISK) from None
            self._flush = self._sealer.submit(_flushed, file, self.directory)
        return self._flush

    def note(self, told: Refusals) -> bool:
        """Write what was refused, if the log takes it now. Not to be called after `close`, nor where no log is kept."""
        try:
            self._put(told, told.time)
        except Unkept:
            return False
        return True

    def tick(self) -> None:
        """Seal a segment that is old enough: to be called about twice a second, also when nothing is asked."""
        if self._file is not None:
            # with many files waiting, as when PostgreSQL is away, new ones are made more slowly
            many = 0.0 if self._shipping is None else 0.05 * self._shipping.segments
            if time.monotonic() - self._begun >= self._age + many:
                self._seal()

    def close(self) -> None:
        """Seal, and give the shipper its last seconds; what is not shipped then is adopted by a later process."""
        if self._file is not None:
            self._seal()
        self._sealer.shutdown()
        if self._shipping is not None:
            self._shipping.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _put(self, record: Record, moment: int) -> None:
        """Write a record; `moment` is its time, microseconds.

        Raises:
            Unkept: if it cannot be.
        """
        try:
            head, payload = frame(record)
        except Exception as error:
            if not self.dropped["entry"]:
                log.error("prediction log: an entry cannot be encoded: %s: %s", type(error).__name__, error)
            raise Unkept("entry", "it cannot be encoded") from None
        if self._shipping is not None and self.waiting + len(head) + len(payload) > self.bound:
            self._note("spool", f"{self.bound:,} bytes wait for PostgreSQL in {self.directory}")
            raise Unkept("spool", f"{self.bound:,} bytes wait for PostgreSQL")
        if self._retry and time.monotonic() < self._retry:
            raise Unkept("disk", _DISK)
        try:
            if self._file is None:
                self._open(moment)
            self._write(head, payload)
        except OSError as error:
            self._retry = time.monotonic() + PAUSE
            self._seal()
            self._note("disk", str(error))
            raise Unkept("disk", _DISK) from None
        if self._trouble:
            self._recovered()
        if self._size >= LARGEST:
            self._seal()

    def _open(self, began: int) -> None:
        if self._shipping is not None:
            self._hold()
        else:
            self.directory.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            self._number += 1
            self._path = self.directory / (name(began, self.header.pod, os.getpid(), self._number) + OPEN)
            with suppress(FileExistsError):  # another recorder of this process
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._begun = time.monotonic()
        self._write(*frame(self.header))

    def _write(self, head: bytes, payload: bytes) -> None:
        """Write a frame.

        Raises:
            OSError: then the segment may end in part of it, which readers leave out, and nothing may be appended.
        """
        if self._file is None or os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError(f"{self._path} was removed")
        whole = len(head) + len(payload)
        if os.writev(self._file, (head, payload)) != whole:  # the disk is full, or nearly
            raise OSError(f"{self._path}: no room for {whole:,} bytes more")
        self._size += whole

    def _seal(self) -> None:
        """Let another thread bring the segment to the disk and rename it, for that may take long."""
        file, path, size = self._file, self._path, self._size
        self._file, self._size, self._flush = None, 0, None
        if file is None:
            return
        if self._shipping is not None and size:
            self._shipping.sealing(path.with_suffix(SEALED).name, size)
        self._sealer.submit(self._sealed, file, path, size)

    def _sealed(self, file: int, path: Path, size: int) -> None:
        sealed = path.with_suffix(SEALED)
        try:
            os.fsync(file)
        except OSError as error:
            log.error("prediction log: whether %s is on the disk is not known: %s", path, error)
        os.close(file)
        try:
            path.rename(sealed) if size else path.unlink()
        except OSError as error:
            log.error("prediction log: what was written to %s is lost: %s", path, error)
            if self._shipping is not None:
                self._shipping.sealing(sealed.name, 0)
        if self._shipping is not None:
            self._shipping.notify()

    def _hold(self) -> None:
        """Have the process's own directory, and the lock that says that it is alive."""
        lock = self.directory / "lock"
        while True:
            try:
                if self._lock is not None and os.path.samestat(os.fstat(self._lock), lock.stat()):
                    return
            except FileNotFoundError:
                pass
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # another one's for a moment, if it looks for orphans
            if self._shipping is not None:
                self._shipping.lock = self._lock

    def _refused(self, rows: int) -> None:
        self.dropped["refused"] += rows

    def _note(self, reason: str, why: str) -> None:
        """Log each change once."""
        if reason != self._trouble:
            self._trouble = reason
            log.error("prediction log: answers are not recorded now: %s", why)

    def _recovered(self) -> None:
        told = ", ".join(f"{rows:,} ({reason})" for reason, rows in self.dropped.items() if rows)
        self._trouble, self._retry = "", 0.0
        log.warning("prediction log: answers are recorded again; not recorded since the start: %s", told or "none")


def _flushed(file: int | None, directory: Path) -> None:
    """Bring a file to the disk, and its name, and close it."""
    if file is None:
        return
    try:
        os.fdatasync(file)
        names = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(names)
        finally:
            os.close(names)
    except OSError as error:
        log.error("prediction log: whether outcomes are on the disk is not known: %s", error)
        raise Unkept("disk", _DISK) from None
    finally:
        os.close(file)
