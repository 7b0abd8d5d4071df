"""Whether predictions can be asked for, as probes ask it: one look answers all who ask meanwhile.

It takes no key to ask, so a flood must neither hold up a probe nor reach the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from serving.core import Core


class Readiness:
    """Asks a core; `core` is asked for it, and raises NotReady while the service starts."""

    def __init__(self, core: Callable[[], Core]) -> None:
        self.core = core
        self._thread = CapacityLimiter(1)  # its own: requests that wait for the store do not hold it up
        self._look: asyncio.Future[dict[str, Any]] | None = None

    async def __call__(self) -> dict[str, Any]:
        """What `Core.ready` says.

        Raises:
            NotReady: likewise.
        """
        if self._look is None:
            self._look = asyncio.ensure_future(run_sync(self.core().ready, limiter=self._thread))
            self._look.add_done_callback(self._seen)
        return await asyncio.shield(self._look)

    def _seen(self, look: asyncio.Future[dict[str, Any]]) -> None:
        self._look = None
        if not look.cancelled():
            look.exception()  # is told to those who asked, if they are still there
