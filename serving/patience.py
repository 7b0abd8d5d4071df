"""While a request is on its way: whether its body comes in time, and then whether its client is still there."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from serving.errors import Slow

WATCH = 0.05
"""Seconds after which what still waits is looked at: a quick request pays for one timer."""


class Left(Exception):  # no error of ours
    """The client is gone."""


class Patience:
    """Cancels the task that it is made in when the body is not whole in `seconds`, and then when the client leaves.

    Attributes:
        why: for what it has cancelled the task; None: it has not.
    """

    def __init__(self, receive: Receive, seconds: float) -> None:
        self.why: Slow | Left | None = None
        self._receive, self._seconds, self._reading = receive, seconds, True
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCH, self._look)
        self._late = False

    def whole(self) -> None:
        """The body is there."""
        self._reading = False
        if self._late:  # the timer is that of a slow body
            self._timer.cancel()
            self._look()

    def stop(self) -> None:
        """The request is answered, or nothing more will be done for it."""
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _look(self) -> None:
        if self._reading:
            self._late = True
            self._timer = self._loop.call_later(max(0.0, self._seconds - WATCH), self._slow)
        else:
            self._watching = self._loop.create_task(self._watch())

    def _slow(self) -> None:
        self._end(Slow(f"the body was not whole {self._seconds:g} s after its headers"))

    async def _watch(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._end(Left())

    def _end(self, why: Slow | Left) -> None:
        self.why = why
        if self._task is not None:
            self._task.cancel()
