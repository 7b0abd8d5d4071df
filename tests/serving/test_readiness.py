"""One look at the core answers all who ask meanwhile, and none who ask later."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from serving.core import Core
from serving.errors import NotReady
from serving.readiness import Readiness


class Looked:
    """Counts looks, each of which ends when it is let go."""

    def __init__(self) -> None:
        self.looks, self.go = 0, threading.Event()
        self.refuses = False

    def ready(self) -> dict[str, Any]:
        """What a core says."""
        self.looks += 1
        self.go.wait(20)
        if self.refuses:
            raise NotReady("not now")
        return {"look": self.looks}


def test_one_look_answers_all_who_ask_meanwhile_and_none_later() -> None:
    core = Looked()

    async def ask() -> None:
        readiness = Readiness(lambda: cast(Core, core))
        waiting = [asyncio.ensure_future(readiness()) for _ in range(100)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # who leaves takes the answer from nobody
        core.go.set()
        assert await asyncio.gather(*waiting[1:]) == [{"look": 1}] * 99
        assert await readiness() == {"look": 2}
        core.refuses = True
        told = await asyncio.gather(readiness(), readiness(), return_exceptions=True)
        assert [type(one) for one in told] == [NotReady, NotReady]
        assert core.looks == 3
        core.refuses = False
        assert await readiness() == {"look": 4}

    asyncio.run(ask())


def test_a_service_that_starts_is_not_ready() -> None:
    def starting() -> Core:
        raise NotReady("the service is starting")

    with pytest.raises(NotReady, match="starting"):
        asyncio.run(Readiness(starting)())
