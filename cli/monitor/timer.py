"""Passes on a timer, in a thread beside the page: one that fails is counted, told and made again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from monitoring.metrics import Passes
from settings import HoldfastError

log = logging.getLogger("holdfast.monitoring")


class Timer:
    """Makes a pass at once, and then again so many seconds after each has ended.

    Nothing has to wait for the thread when the process ends: what a pass learns is committed at once, or not at all.

    Attributes:
        passes: what metrics tell. trouble: why the last pass failed; "" while it did not.
    """

    def __init__(self, make: Callable[[], object], every: float) -> None:
        self.passes, self.trouble = Passes(), ""
        self._make, self._every = make, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="passes", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> bool:
        """Make no other pass; whether one is still under way."""
        self._stop.set()
        self._thread.join(0.05)
        return self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether passes are made."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._make()
                self.trouble = ""
            except HoldfastError as error:  # another pass was first, a store is away
                self._failed(str(error))
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
                log.exception("a pass failed")
            if self._stop.wait(self._every):
                return

    def _failed(self, why: str) -> None:
        self.passes.failures += 1
        if why != self.trouble:
            log.error("a pass failed, and is made again in %g s: %s", self._every, why)
        self.trouble = why
