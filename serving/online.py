"""The online store as serving reads it: with a stated policy for when it is down, a breaker, and metrics."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np

from features.aggregates import nothing
from features.clock import SECOND
from features.store import open_online
from features.store.base import Lookup, OnlineStore, StoreError, Unreachable
from serving import metrics
from serving.errors import NotReady
from settings import Settings
from usecases import UseCase

T = TypeVar("T")
log = logging.getLogger("holdfast.serving")

FAILURES = 3
"""Failed reads in a row before reads are skipped: one slow read must not refuse those beside it."""
PAUSE = 1.0
"""Seconds between two tries of a store that is down."""


@dataclass(frozen=True)
class Found(Lookup):
    """What a read found. `degraded`: the store was out of reach, so each key is answered as one without events."""

    degraded: bool = False


class Skipped(Unreachable):
    """The store was down a moment ago and was not asked again."""


class Breaker:
    """Lets a store that is down cost one time-out per pause, not one per request.

    After `failures` failed calls in a row, calls fail at once. Every `pause` seconds one is let through; the first that
    is answered ends it. Calls may come from many threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(
        self, failures: int = FAILURES, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.failures, self.pause, self.clock = failures, pause, clock
        self._lock, self._failed, self._again, self._why = Lock(), 0, 0.0, ""

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises.

        Raises:
            Skipped: without calling it, with the words of the last failure.
        """
        with self._lock:
            if self._failed >= self.failures:
                if self.clock() < self._again:
                    raise Skipped(f"{self._why} (tried every {self.pause:g} s)")
                self._again = self.clock() + self.pause  # this call is the one that tries
        down: Unreachable | None = None
        try:
            return function()
        except Unreachable as error:
            down = error
            raise
        finally:
            with self._lock:
                self._failed = self._failed + 1 if down else 0
                self._why, self._again = str(down), self.clock() + self.pause


class Online:
    """The aggregates of a few keys, or the reason why there are none. It opens the store when it is first needed."""

    def __init__(self, usecase: UseCase, settings: Settings) -> None:
        self.usecase, self.settings = usecase, settings
        self.events = usecase.features.events is not None
        self.materialized = settings.online_read == "materialized"
        self._seconds = metrics.READ_SECONDS.labels(settings.online_read)
        self._breaker, self._lock = Breaker(), Lock()
        self._store: OnlineStore | None = None
        self._up: bool | None = None
        self._filled = False
        self._as_of = float("nan")
        metrics.AGE.set_function(self._age)

    @property
    def waits(self) -> bool:
        """Whether a read waits for a server, so that an event loop must not do it itself."""
        return self.events and not (self.settings.online_url or "sqlite:").startswith("sqlite:")

    def read(self, keys: Sequence[str], now: int) -> Found:
        """The keys' aggregates, materialized or computed as of `now` (microseconds), as the settings say.

        With HOLDFAST_ONLINE_DOWN=cold-start, a store that is out of reach is answered for: `degraded`, as of `now`.

        Raises:
            NotReady: if the store is out of reach, or does not hold what is read.
        """
        try:
            lookup = self._ask(lambda store: self._lookup(store, keys, now))
        except Unreachable as error:
            metrics.FAILURES.labels("skipped" if isinstance(error, Skipped) else "unreachable").inc()
            if self.settings.online_down == "refuse":
                raise _refusal(error) from error
            metrics.ROWS.labels("degraded").inc(len(keys))
            none = nothing(self.usecase.features.aggregates, len(keys))
            return Found(none, np.zeros(len(keys), np.bool_), np.full(len(keys), now, np.int64), degraded=True)
        except StoreError as error:
            metrics.FAILURES.labels("unusable").inc()
            raise _refusal(error) from error
        if self.events:
            known = int(np.count_nonzero(lookup.known))
            metrics.ROWS.labels("known").inc(known)
            metrics.ROWS.labels("unknown").inc(len(keys) - known)
        if self.events and self.materialized:
            self._seen(int(lookup.as_of.min()))
        return Found(lookup.aggregates, lookup.known, lookup.as_of, lookup.batch)

    def check(self) -> list[str]:
        """Why answers are degraded just now; empty where the store can be read.

        Raises:
            NotReady: where `read` would.
        """
        try:
            self._ask(self._inspect)
        except Unreachable as error:
            if self.settings.online_down == "refuse":
                raise _refusal(error) from error
            return _refusal(error).problems
        except StoreError as error:
            raise _refusal(error) from error
        return []

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def _ask(self, question: Callable[[OnlineStore], T]) -> T:
        try:
            answer = self._breaker.call(lambda: question(self._open()))
        except Skipped:
            raise
        except StoreError as error:
            self._told(up=False, why=str(error))
            raise
        self._told(up=True)
        return answer

    def _open(self) -> OnlineStore:
        if self._store is not None:
            return self._store
        home = self.settings.home / self.usecase.name
        opened = open_online(
            self.settings.online_url,
            home,
            self.usecase.features,
            name=self.usecase.name,
            read_only=True,
            events_url=self.settings.events_url,
            timeout=self.settings.online_timeout_ms / 1000,
            pool=self.settings.online_pool,
        )
        with self._lock:  # not around the opening, in which threads would wait for a dead server one after the other
            if self._store is None:
                self._store = opened
        if self._store is not opened:
            opened.close()
        return self._store

    def _lookup(self, store: OnlineStore, keys: Sequence[str], now: int) -> Lookup:
        if not self.materialized and not self._filled:
            self._inspect(store)
        if not self.events:
            return store.read(keys)
        with self._seconds.time():
            return store.read(keys) if self.materialized else store.compute(keys, now)

    def _inspect(self, store: OnlineStore) -> None:
        """See whether there is anything to read: over no events, on-read would answer everybody as unknown."""
        if not self.events:
            return
        if self.materialized:
            self._seen(store.as_of().as_of)
        elif store.last_batch() == 0:
            raise StoreError("there are no events in it to compute from: run `holdfast materialize`")
        self._filled = True

    def _seen(self, as_of: int) -> None:
        self._as_of = as_of / SECOND
        metrics.AS_OF.set(self._as_of)

    def _told(self, *, up: bool, why: str = "") -> None:
        """Set the metric, and log each change once."""
        metrics.UP.set(up)
        if up and self._up is False:
            log.info("online store: it answers again")
        elif not up and self._up is not False:
            log.error("online store: %s", why)
        self._up = up

    def _age(self) -> float:
        return self.usecase.now(self.settings.now) / SECOND - self._as_of


def _refusal(error: StoreError) -> NotReady:
    """What clients are told: the kind of trouble. Where the store is, and in its own words what is wrong with it, is in
    the log, for whoever runs the service."""
    if isinstance(error, Unreachable):
        why = "it is out of reach, or slower than HOLDFAST_ONLINE_TIMEOUT_MS"
    else:
        remedy = re.search("run `holdfast [^`]*`", str(error))
        why = f"it does not hold what this model reads, or may not be read{f': {remedy[0]}' if remedy else ''}"
    return NotReady("the online store cannot answer", [f"online store: {why}; the log says more"])
