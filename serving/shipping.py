"""The shipper as its worker sees it: a child process that is started, told of segments, heard, and started again."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model.predictions.segment import OPEN, SEALED, segments

log = logging.getLogger("holdfast.serving")

ROOT = Path(__file__).parent.parent
GRACE = 10.0
"""Seconds that a shipper has for what is left, once its worker has closed or died."""
LONGEST = 30.0
"""Seconds, at most, between two starts of a shipper that keeps dying; they begin with 0.1 and double."""


class Shipping:
    """Keeps a shipper running, and the account of what waits for it.

    Args:
        url: of PostgreSQL, which the shipper gets by its environment; directory: of the process's segments.
        refused: told how many predictions PostgreSQL refused for their values.

    Attributes:
        shipped: predictions committed. waiting: bytes that wait. process: the shipper, while there is one.
        lock: a descriptor of the directory's lock, which the shipper holds with its worker.
    """

    def __init__(self, url: str, usecase: str, directory: Path, refused: Callable[[int], None]) -> None:
        self.url, self.usecase, self.directory, self._refused = url, usecase, directory, refused
        self.shipped, self.waiting = 0, 0
        self.lock: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._sealed: dict[str, int] = {}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="shipping", daemon=True)

    @property
    def segments(self) -> int:
        """How many wait."""
        return len(self._sealed)

    def start(self) -> None:
        """Start the shipper, and again whenever it ends."""
        self._thread.start()

    def sealing(self, name: str, size: int) -> None:
        """A segment will be there under that name, of so many bytes; of 0, there is none after all."""
        self._account({name: size})

    def notify(self) -> None:
        """Tell the shipper that there is something to ship."""
        with suppress(OSError, ValueError, AttributeError):  # it dies, or reads later: it looks by itself then
            os.write(self.process.stdin.fileno(), b"\n")  # type: ignore[union-attr]  # None is an AttributeError

    def close(self) -> None:
        """Let the shipper finish, for at most its grace; what is left stays where it is."""
        self._closing.set()
        process = self.process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        self._thread.join(GRACE + 1)
        process = self.process
        if process is not None:
            process.kill()
            self._thread.join()

    def _supervise(self) -> None:
        pause = 0.1
        while not self._closing.is_set():
            self._take_stock()
            try:
                heard = self._run()
            except OSError as error:
                heard = False
                log.error("prediction log: the shipper cannot be started: %s", error)
            if self._closing.is_set():
                return
            pause = 0.1 if heard else min(LONGEST, pause * 2)
            log.error("prediction log: the shipper ended; it is started again in %.1f s", pause)
            self._closing.wait(pause)

    def _run(self) -> bool:
        """A shipper's life; whether it shipped anything."""
        given = {**os.environ, "HOLDFAST_PREDICTIONS_URL": self.url, "OPENBLAS_NUM_THREADS": "1"}
        given.pop("HOLDFAST_PREDICTIONS_URL_FILE", None)
        given["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-P", "-m", "serving.ship", str(self.directory), self.usecase]
        before = self.shipped
        with subprocess.Popen(  # noqa: S603  # our own; a session of its own, for Ctrl-C is for the worker
            command,
            env=given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if self.lock is None else (self.lock,),
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise OSError("no pipes")
            os.set_blocking(process.stdin.fileno(), False)
            self.process = process
            if self._closing.is_set():
                process.stdin.close()
            for line in process.stdout:
                self._hear(*json.loads(line))
        self.process = None
        return self.shipped > before

    def _hear(self, what: str, name: str, size: int, rows: int, words: str) -> None:
        if what == "adopted":
            self._account({name: size})
        elif what in ("shipped", "refused"):
            self._account({name: 0})
            self.shipped += rows if what == "shipped" else 0
            if what == "refused":
                self._refused(rows)
        if words:
            log.log(logging.INFO if what in ("adopted", "up") else logging.ERROR, "prediction log: %s", words)

    def _take_stock(self) -> None:
        """What the last shipper did and did not tell: the directory says what waits."""
        there = {path.name: path for path in segments(self.directory)}
        gone = {name: 0 for name in list(self._sealed) if not {name, f"{Path(name).stem}{OPEN}"} & there.keys()}
        found = {name: path.stat().st_size for name, path in there.items() if path.suffix == SEALED}
        self._account({**gone, **found})

    def _account(self, changes: dict[str, int]) -> None:
        with self._lock:
            for name, size in changes.items():
                if size:
                    self._sealed[name] = size
                else:
                    self._sealed.pop(name, None)
            self.waiting = sum(self._sealed.values())
