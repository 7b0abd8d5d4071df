"""Adaptive batching in process: what arrives while one batch is computed makes the next.

BentoML's dispatcher fits a line to the latency of past batches, holds a request back while it expects that more will
come, and looks again every millisecond: after a burst a lone client goes on waiting for company that does not come.
Here is no latency model and no timer. An idle runner starts as soon as the loop has turned, a busy one when its batch
is done, with what is there by then; so load makes the batches, and a lone client waits for nobody, whatever was before.
It also differs where a batch fails (only the culprit does), in what may wait (rows are bounded; what cannot be answered
in time is refused at once) and in that an item is never split: it is computed whole, in one batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from serving.errors import Failed, Late, NotReady, Overloaded, RequestError

T = TypeVar("T", bound=Sized)
R = TypeVar("R")

WEIGHT = 0.2
"""Of the newest batch in the running mean of seconds per row."""
MARGIN = 0.5
"""Of the time to its deadline an item may be expected to take; batches are slower than the mean as often as faster."""

log = logging.getLogger("holdfast.serving")


class Observer(Protocol):
    """Who is told of every batch, on the loop, once its answers are out."""

    def batch(self, rows: int, seconds: float, /) -> None:
        """`rows` were computed in `seconds`, second attempts included."""

    def waited(self, seconds: float, /) -> None:
        """An item of the batch had waited for `seconds` when its batch was taken."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    """An item, and who waits for it; `since` and `deadline` in seconds of the monotonic clock."""

    item: T
    rows: int
    since: float
    deadline: float
    future: asyncio.Future[R]

    def answer(self, outcome: R | _Fault) -> None:
        if self.future.done():  # the client left
            return
        if isinstance(outcome, _Fault):
            self.future.set_exception(outcome.error)
        else:
            self.future.set_result(outcome)


@dataclass(slots=True, eq=False)
class _Batch(Generic[T, R]):
    """Entries that are computed together; `crowded`: others had to be left waiting."""

    entries: list[_Entry[T, R]]
    rows: int
    crowded: bool
    started: float = field(default_factory=monotonic)


@dataclass(frozen=True, slots=True)
class _Fault:
    """In the place of a result: the error of this item."""

    error: RequestError


class ModelRunner(Generic[T, R]):
    """Items in, results out, computed together where they come together; for one event loop.

    Args:
        run: computes items: one result for each, in their order. What it raises fails only the items that raise it
            alone too; a RequestError with a `retry_after` is about the service, not about the items: all get it.
        size: rows of an item, at least 1.
        max_batch_size: rows of a batch at most; an item of more is computed alone.
        max_queue_rows: rows that may wait.
        max_latency_ms: the deadline of an item that brings none.
        threaded: whether a batch of so many rows is computed on a thread; else on the loop, which stands meanwhile.
        parallel: batches under way at once; beyond 1, `run` is called by several threads.
        observe: is told of every batch.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R]],
        *,
        size: Callable[[T], int] = len,
        max_batch_size: int,
        max_queue_rows: int,
        max_latency_ms: int,
        threaded: Callable[[int], bool] = lambda rows: False,  # noqa: ARG005
        parallel: int = 1,
        observe: Observer | None = None,
    ) -> None:
        self._run, self._size, self._threaded, self._observe = run, size, threaded, observe
        self._max_batch_size, self._max_queue_rows = max_batch_size, max_queue_rows
        self._max_latency, self._parallel = max_latency_ms / 1_000, parallel
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="runner")
        self._waiting: OrderedDict[_Entry[T, R], None] = OrderedDict()  # whoever leaves is out of it at once
        self._batches: list[_Batch[T, R]] = []
        self._queued = self._running = 0
        self._gathering = self._closed = False
        self._drained = asyncio.Event()
        self._pace = 0.0  # seconds per row when there is more to do than one batch holds; 0: not known
        self._finished = 0.0  # when the last batch was done

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._queued

    @property
    def running_rows(self) -> int:
        """Rows that are being computed."""
        return self._running

    def admit(self, rows: int, deadline: float | None = None) -> None:
        """Nothing, if so many rows would be accepted now; asking is cheap. An idle runner accepts anything.

        Raises:
            Overloaded: too many wait already, or the answer might come after the `deadline`.
            Late: it has passed. NotReady: the runner is closed.
        """
        if self._closed:
            raise NotReady("the server is stopping; ask again, another one will answer", retry_after=1)
        left = self._max_latency if deadline is None else deadline - monotonic()
        if left <= 0:
            raise Late("the request's deadline had passed when it came")
        if not self._waiting and not self._batches:
            return
        seconds = (self._queued + self._running + rows) * self._pace
        if self._queued + rows > self._max_queue_rows:
            told = f"{self._queued} rows wait, {rows} more would be over {self._max_queue_rows}"
        elif seconds > left * MARGIN:
            told = f"the answer would take about {seconds:.2g} s, and the deadline is in {left:.2g} s"
        else:
            return
        raise Overloaded(told, retry_after=min(seconds, self._max_latency))  # by then all that wait are done or late

    async def async_run(self, item: T, *, deadline: float | None = None, turns: int = 1) -> R:
        """The result of one item.

        Args:
            deadline: seconds on the clock of `time.monotonic()`: by then it is taken into a batch, or never.
            turns: of the loop, at least 1, for others to arrive if the runner is idle: 1 where what the loop has read
                from all sockets comes in one turn (HTTP).

        Raises:
            RequestError: as in `admit`; Late if its turn comes after the deadline; Failed if it cannot be computed;
                what `run` raised, if that is a RequestError.
        """
        since = monotonic()
        rows = self._size(item)
        if rows < 1:
            raise ValueError(f"an item has at least one row, not {rows}")
        self.admit(rows, deadline)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        entry = _Entry(item, rows, since, since + self._max_latency if deadline is None else deadline, future)
        self._waiting[entry] = None
        self._queued += rows
        self._wake(turns)
        try:
            return await future
        except asyncio.CancelledError:
            if entry in self._waiting:
                del self._waiting[entry]
                self._queued -= rows
            raise

    async def close(self, seconds: float) -> None:
        """Refuse what comes, answer what was accepted; what is not done after `seconds` gets NotReady.

        A thread that still computes then cannot be stopped: its results are dropped.
        """
        self._closed = True
        if not self._waiting and not self._batches:
            self._drained.set()
        try:
            await asyncio.wait_for(self._drained.wait(), seconds)
        except TimeoutError:
            log.error("stopped after %g s: %d rows were not answered", seconds, self._queued + self._running)
        finally:
            stopped = _Fault(NotReady("the server stopped before this request's turn; ask again", retry_after=1))
            _settle([*self._waiting, *(entry for batch in self._batches for entry in batch.entries)], stopped)
            self._waiting.clear()
            self._queued = 0
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self, turns: int = 1) -> None:
        if not self._gathering and self._waiting and len(self._batches) < self._parallel:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._gather, turns)

    def _gather(self, turns: int) -> None:
        if turns > 1 and self._queued < self._max_batch_size:
            asyncio.get_running_loop().call_soon(self._gather, turns - 1)
            return
        self._gathering = False
        batch = self._take()
        if batch.entries:
            self._start(batch)
        else:
            self._go_on()

    def _take(self) -> _Batch[T, R]:
        """Those whose turn it is, out of the queue; on the way, whoever is late is told."""
        now, entries, rows, seen = monotonic(), list[_Entry[T, R]](), 0, 0
        for entry in self._waiting:
            if not entry.future.done():  # else cancelled in this very turn
                if entry.deadline <= now:
                    late = Late(f"its turn came after {now - entry.since:.3g} s, past its deadline")
                    entry.future.set_exception(late)
                elif entries and rows + entry.rows > self._max_batch_size:
                    break
                else:
                    entries.append(entry)
                    rows += entry.rows
            seen += 1
            self._queued -= entry.rows
        for _ in range(seen):
            self._waiting.popitem(last=False)
        return _Batch(entries, rows, crowded=bool(self._waiting))

    def _start(self, batch: _Batch[T, R]) -> None:
        self._batches.append(batch)
        self._running += batch.rows
        items = [entry.item for entry in batch.entries]
        outcome: list[R | _Fault] | BaseException
        try:
            if self._threaded(batch.rows):
                done = asyncio.get_running_loop().run_in_executor(self._pool, self._compute, items)
                done.add_done_callback(partial(self._back, batch))
                self._wake()
                return
            outcome = self._compute(items)
        except BaseException as error:
            outcome = error
        self._finish(batch, outcome)

    def _back(self, batch: _Batch[T, R], done: asyncio.Future[list[R | _Fault]]) -> None:
        self._finish(batch, done.exception() or done.result())

    def _compute(self, items: list[T]) -> list[R | _Fault]:
        """A result or a fault for each; where they fail together each half is tried again, down to the culprit."""
        failure: Exception
        try:
            results: list[R | _Fault] = list(self._run(items[:]))
            if len(results) != len(items):
                raise ValueError(f"{len(results)} results for {len(items)} items")
            return results
        except RequestError as error:
            if len(items) == 1 or error.retry_after is not None:
                return [_Fault(error)] * len(items)
            failure = error
        except Exception as error:
            if len(items) == 1:
                log.exception("an item of %d rows cannot be computed", self._size(items[0]))
                return [_failed()]
            failure = error
        middle = len(items) // 2
        parts = self._compute(items[:middle]) + self._compute(items[middle:])
        if not any(isinstance(part, _Fault) for part in parts):
            log.warning("%d items failed together, and none of them in two halves", len(items), exc_info=failure)
        return parts

    def _finish(self, batch: _Batch[T, R], outcome: list[R | _Fault] | BaseException) -> None:
        """Answers out, the next batch on its way, whatever happened."""
        now = monotonic()
        self._batches.remove(batch)
        self._running -= batch.rows
        try:
            if isinstance(outcome, BaseException):
                _settle(batch.entries, _failed())
                raise outcome  # no error of an item: the loop tells it, or the process ends as was asked
            for entry, result in zip(batch.entries, outcome, strict=True):
                entry.answer(result)
            self._measure(batch, now)
        finally:
            self._go_on()

    def _measure(self, batch: _Batch[T, R], now: float) -> None:
        """Only a batch that left others behind tells what can be done at most, with all that goes on beside it; any
        other shows that it is not less."""
        seconds = now - batch.started
        if batch.crowded:
            pace = (now - max(self._finished, batch.entries[0].since)) / batch.rows
            self._pace += (pace - self._pace) * (WEIGHT if self._pace else 1)
        else:
            self._pace = min(self._pace, seconds / batch.rows)
        self._finished = now
        if self._observe is not None:
            self._observe.batch(batch.rows, seconds)
            for entry in batch.entries:
                self._observe.waited(batch.started - entry.since)

    def _go_on(self) -> None:
        self._wake()
        if self._closed and not self._waiting and not self._batches:
            self._drained.set()


def _failed() -> _Fault:
    return _Fault(Failed("these rows cannot be scored; the server's log says why"))


def _settle(entries: Iterable[_Entry[Any, Any]], fault: _Fault) -> None:
    for entry in entries:
        entry.answer(fault)
