"""A toy model for the runner: it knows what it was asked, and a test holds it back for as long as it likes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ask:
    """An item of so many rows; a culprit brings the error that it causes."""

    number: int
    rows: int = 1
    error: Exception | None = None

    def __len__(self) -> int:
        return self.rows


class Toy:
    """Answers an Ask with its number and rows.

    Attributes:
        batches: all it was asked, call by call. most: threads that were in it at once.
    """

    def __init__(self) -> None:
        self.batches: list[list[Ask]] = []
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(0)

    def __call__(self, given: list[Ask]) -> list[tuple[int, int]]:
        asks = given[:]
        given.clear()  # the list is its own to do with as it likes
        with self._lock:
            self.batches.append(asks)
            self._inside += 1
            self.most = max(self.most, self._inside)
        try:
            if threading.current_thread() is not threading.main_thread():
                assert self._gate.acquire(timeout=20)
            for ask in asks:
                if ask.error is not None:
                    raise ask.error
            return [(ask.number, ask.rows) for ask in asks]
        finally:
            with self._lock:
                self._inside -= 1

    def release(self, calls: int = 1) -> None:
        """Let so many calls on threads come back, be they under way or not."""
        self._gate.release(calls)

    @property
    def numbers(self) -> list[int]:
        """Of the items that were computed, by their first time."""
        return list(dict.fromkeys(ask.number for batch in self.batches for ask in batch))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def turn(times: int = 1) -> None:
    """Let the loop turn so often."""
    for _ in range(times):
        await asyncio.sleep(0)
