"""Company for gRPC calls: nobody waits for ever, and those that met once meet again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gathering import Gathering
from tests.effort import examples

SECONDS = 60.0


async def arrive(gathering: Gathering, turns: int, gone: list[int], turn: Callable[[], int]) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    await gathering.join()
    gone.append(turn())


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=20), min_size=1, max_size=6), st.integers(1, 20))
@settings(max_examples=examples(60), deadline=None)
def test_whoever_waits_for_company_goes_on(rounds: list[list[int]], most: int) -> None:
    async def all_of_them() -> None:
        gathering = Gathering(most)
        for arrivals in rounds:
            gone: list[int] = []
            leaves = asyncio.ensure_future(gathering.join())
            tasks = [asyncio.ensure_future(arrive(gathering, turns, gone, lambda: 0)) for turns in arrivals]
            await asyncio.sleep(0)
            leaves.cancel()  # it waits by now; a client that leaves holds up nobody
            await asyncio.wait_for(asyncio.gather(*tasks), 5)
            assert len(gone) == len(arrivals)

    uvloop.run(all_of_them())


def test_those_that_met_once_meet_again() -> None:
    async def twice() -> list[set[int]]:
        gathering, turns = Gathering(1_000, SECONDS), 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting, met = asyncio.ensure_future(count()), []
        for spread in (1, 5):  # the second time too far apart to meet by chance
            gone: list[int] = []
            await asyncio.gather(*(arrive(gathering, spread * i * 4, gone, lambda: turns) for i in range(8)))
            met.append(set(gone))
        counting.cancel()
        return met

    assert [len(turns) for turns in uvloop.run(twice())] == [1, 1]
