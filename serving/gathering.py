"""Company for calls that come together: gRPC accepts them one after the other, and one batch should take them all."""

from __future__ import annotations

import asyncio

BRIEF, LONG, PATIENCE = 16, 128, 0.001
"""Turns of the loop, at least and at most, and seconds that a call waits for others."""


class Gathering:
    """Lets calls that come together go on in the same turn of the loop, and so into the same batch.

    grpc.aio accepts one call after the other, each over several turns of the loop: the first would be computed alone
    while the others wait to be accepted. Here a call waits until as many are there as went on together last time, and
    then until no other has come for `BRIEF` turns each, `LONG` at most; those that are missing are given up when none
    has come for `patience` seconds, and are half forgotten. So a lone client hardly waits, and clients that one batch
    has answered meet again in the next.

    Args:
        most: calls that go on at once.
    """

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self._most, self._patience = most, patience
        self._expected, self._quiet = 1, 0
        self._waiting: list[asyncio.Future[None]] = []
        self._counting = False
        self._timer: asyncio.TimerHandle | None = None

    async def join(self) -> None:
        """Return when it is time to go on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        self._quiet = 0
        there = len(self._waiting)
        if there >= self._expected:
            if not self._counting:
                self._counting = True
                loop.call_soon(self._turn, loop)
        elif self._timer is None:
            self._timer = loop.call_later(self._patience, self._look, loop, there)
        await future

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._quiet += 1
        if self._quiet < min(BRIEF * self._expected, LONG) and len(self._waiting) < self._most:
            loop.call_soon(self._turn, loop)
        else:
            self._go()

    def _look(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        there = len(self._waiting)
        if there > before:
            self._timer = loop.call_later(self._patience, self._look, loop, there)
        elif not self._counting:
            self._go()

    def _go(self) -> None:
        there = len(self._waiting)
        self._expected = max(there, (self._expected + there) // 2)
        self._counting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():  # its client left
                future.set_result(None)
