"""A load generator that is a process of its own: `python -m benchmarks.load PLAN`, at one core's full speed.

It reads a plan (msgpack), warms up, prints `ready`, and then for each line that it reads from stdin runs the phase of
that number and prints its `Result` as a line of JSON. Requests are whole bytes made beforehand. A sample of answers is
kept and checked, number by number, when the phase is over.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from benchmarks.check import outcome, right
from benchmarks.load_http import Http
from benchmarks.plan import GOOD, Client, Phase, Plan, Request, Result

SAMPLE = 500
"""Most answers of a phase that are kept to be checked, chosen evenly; every answer's status and length are."""
clock = time.perf_counter  # uvloop's own clock counts milliseconds


class Run:
    """One phase at work: its clients, and what they note."""

    def __init__(self, plan: Plan, phase: Phase, clients: Sequence[Client]) -> None:
        self.plan, self.phase, self.clients = plan, phase, clients
        self.answers: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}
        self.good: list[float] = []
        self.other: list[float] = []
        self.arrived: list[float] = []
        self.kept: list[tuple[Request, bytes]] = []
        self.sent = self.received = self.unadvised = 0
        self.every = 1

    async def run(self) -> Result:
        """Do it, and tell."""
        self.start = clock()
        self.end = self.start + self.phase.seconds
        await (self._open() if self.phase.rate else asyncio.gather(*map(self._closed, self.clients)))
        seconds = clock() - self.start
        wrong = sum(not right(request, body) for request, body in self.kept)
        seen = np.bincount(np.array(self.arrived, dtype=np.int64)) if self.arrived else np.zeros(0, dtype=np.int64)
        return Result(
            seconds=seconds,
            requests=self.answers.total(),
            answers=dict(self.answers),
            outcomes={route: dict(by) for route, by in self.outcomes.items()},
            in_time=sum(taken <= self.phase.deadline for taken in self.good),
            latency_ms=percentiles(self.good),
            refused_ms=percentiles(self.other),
            timeline=seen.tolist(),
            received=self.received,
            checked=len(self.kept),
            wrong=wrong,
            without_retry_after=self.unadvised,
        )

    async def _closed(self, client: Client) -> None:
        phase = self.phase
        while clock() < self.end and self.sent < phase.count:
            await self._one(client, clock())
            if phase.pause:
                await asyncio.sleep(phase.pause)

    async def _open(self) -> None:
        """Requests when they are due, on whichever connection is free; late ones wait, and are late."""
        loop, phase = asyncio.get_running_loop(), self.phase
        free: asyncio.Queue[Client] = asyncio.Queue()
        for client in self.clients:
            free.put_nowait(client)
        tasks: set[asyncio.Task[None]] = set()
        total = min(phase.count, int(phase.rate * phase.seconds))

        async def one(due: float) -> None:
            left = due + phase.patience - clock()
            try:
                client = free.get_nowait() if not free.empty() else await asyncio.wait_for(free.get(), max(left, 0.001))
            except TimeoutError:
                self.answers["unsent"] += 1
                return
            try:
                await self._one(client, due)
            finally:
                free.put_nowait(client)

        for number in range(total):
            due = self.start + number / phase.rate
            while clock() < due:
                await asyncio.sleep(min(due - clock(), 0.001))
            task = loop.create_task(one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if number % 64 == 63:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    async def _one(self, client: Client, due: float) -> None:
        number, self.sent = self.sent, self.sent + 1
        request = self.plan.requests[number % len(self.plan.requests)]
        try:
            status, head, body = await client.ask(request)
        except OSError:
            self.answers["broken"] += 1
            await asyncio.sleep(0.01)  # a server that is away is not asked as fast as it can be
            return
        now = clock()
        self.answers[status] += 1
        if request.route:
            self.outcomes.setdefault(request.route, Counter())[outcome(request, status, head, body)] += 1
        self.received += len(body)
        if status in GOOD:
            self.good.append(now - due)
            self.arrived.append(now - self.start)
            if request.where and number % self.every == 0:
                self.kept.append((request, body))
                if len(self.kept) >= SAMPLE:
                    self.kept, self.every = self.kept[::2], 2 * self.every
        else:
            self.other.append(now - due)
            if status in ("429", "503") and b"retry-after:" not in head.lower():
                self.unadvised += 1


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, p999 and max in milliseconds; nothing of nothing."""
    if not len(seconds):
        return {}
    found = np.percentile(np.array(seconds) * 1000, [50, 90, 99, 99.9, 100]).tolist()
    return dict(zip(("p50", "p90", "p99", "p999", "max"), found, strict=True))


def clients(plan: Plan, count: int) -> list[Client]:
    """So many of the plan's protocol."""
    if plan.protocol == "http":
        return [Http(plan.host, plan.port) for _ in range(count)]
    from benchmarks import load_grpc  # late: HTTP needs none of it

    return list(load_grpc.clients(plan.host, plan.port, count, plan.channels))


async def main(plan: Plan) -> None:
    """Warm up, then run phases as they are asked for."""
    gc.disable()  # its pauses would be told as the server's
    loop = asyncio.get_running_loop()
    pool = clients(plan, max(phase.connections for phase in plan.phases))
    warming = Phase(connections=len(pool), seconds=20, count=plan.warm)
    if plan.warm:
        await Run(plan, warming, pool[: plan.phases[0].connections]).run()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        phase = plan.phases[int(line)]
        result = await Run(plan, phase, pool[: phase.connections]).run()
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        sys.stdout.flush()
    for client in pool:
        await client.close()


if __name__ == "__main__":
    uvloop.run(main(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
