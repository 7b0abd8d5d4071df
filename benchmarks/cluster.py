"""What a cluster does to pods, with real servers as pods: readiness decides who is asked, and who goes is told first.

A proxy of connections stands for a Service: each new connection goes to one of its endpoints by chance, and those that
are there are left alone, as kube-proxy does. Changes of the endpoints take a second to reach it. A pod that is taken
away leaves the endpoints, its preStop sleeps, then comes SIGTERM, all as the chart has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from benchmarks.processes import Process
from cli.server import free_ports
from cli.workspace import ROOT

PRE_STOP, DRAIN = 5.0, 5.0
"""Seconds, the chart's defaults of `serving.preStopSeconds` and `serving.drainSeconds`."""
PROBE, FAILURES = 3.0, 3
"""Seconds between two readiness probes, and how many in a row have to fail, as the chart has it."""
LAG = 1.0
"""Seconds until a change of the endpoints has reached every node."""
Port = Literal["http", "grpc"]


@dataclass(eq=False)
class Pod:
    """A server with ports and a disk of its own."""

    name: str
    ports: Mapping[str, int]
    process: asyncio.subprocess.Process
    ready: bool = False
    going: bool = False
    watched: asyncio.Task[None] | None = field(default=None, repr=False)

    def worker(self) -> int | None:
        """Id of the process that answers; another one starts it."""
        for pid in Process(self.process.pid).tree():
            with contextlib.suppress(OSError):
                if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None


class Cluster:
    """Pods, and a Service's two ports before them: `address` of each, HOST:PORT."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self.home, self.environ = home, environ
        self.pods: list[Pod] = []
        self.address: dict[Port, str] = {}
        self._endpoints: set[Pod] = set()
        self._servers: list[asyncio.Server] = []
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Cluster:
        ports: tuple[Port, ...] = ("http", "grpc")
        for port, number in zip(ports, free_ports(2), strict=True):
            self._servers.append(await asyncio.start_server(self._proxy(port), "127.0.0.1", number))
            self.address[port] = f"127.0.0.1:{number}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await asyncio.gather(*(self.remove(pod, patient=False) for pod in list(self.pods)))
        for pipe in self._pipes:
            pipe.cancel()

    async def start(self, name: str, **environ: str) -> Pod:
        """A new pod; nobody waits for it to be ready."""
        http, grpc, metrics = free_ports(3)
        own = {
            "HOLDFAST_HOST": "127.0.0.1",
            "HOLDFAST_GRPC_PORT": str(grpc),
            "HOLDFAST_METRICS_PORT": str(metrics),
            "HOLDFAST_HOME": str(self.home / name),
            "HOLDFAST_DRAIN_S": str(DRAIN),
            "OMP_NUM_THREADS": "1",
        }
        bentoml = str(Path(sys.executable).with_name("bentoml"))
        with (self.home / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(bentoml, "serve", ".", "--host", "127.0.0.1", "--port", str(http)),
                cwd=ROOT,
                env={**os.environ, **self.environ, **own, **environ},
                stdout=log,
                stderr=log,
            )
        pod = Pod(name, {"http": http, "grpc": grpc, "metrics": metrics}, process)
        pod.watched = asyncio.create_task(self._probe(pod))
        self.pods.append(pod)
        return pod

    async def ready(self, pods: Iterable[Pod], seconds: float = 120) -> bool:
        """Whether all of them are, before that time is over."""
        deadline = time.monotonic() + seconds
        while not all(pod.ready for pod in pods):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    async def remove(self, pod: Pod, *, patient: bool = True) -> int | None:
        """Take a pod away as a rollout or a drain does; its exit code. Without patience, at once."""
        pod.going = True
        self._change(pod, False)
        if pod.watched is not None:
            pod.watched.cancel()
        if patient:
            await asyncio.sleep(PRE_STOP)
        with contextlib.suppress(ProcessLookupError):
            pod.process.send_signal(signal.SIGTERM if patient else signal.SIGINT)
        await pod.process.wait()
        self.pods.remove(pod)
        return pod.process.returncode

    async def replace(self, count: int, name: str, **environ: str) -> list[Pod]:
        """A rollout: new pods beside the old ones, and for each that is ready an old one goes."""
        old = list(self.pods)
        new = [await self.start(f"{name}-{number}", **environ) for number in range(count)]
        going = [asyncio.create_task(self._swap(one, other)) for one, other in zip(new, old, strict=True)]
        await asyncio.gather(*going)
        return new

    async def _swap(self, new: Pod, old: Pod) -> None:
        if not await self.ready([new]):
            raise RuntimeError(f"{new.name} did not become ready: {self.home / new.name}.log")
        if code := await self.remove(old):
            raise RuntimeError(f"{old.name} ended with {code}: {self.home / old.name}.log")

    async def _probe(self, pod: Pod) -> None:
        """Until it goes: fast while it starts, then as the readiness probe."""
        failed = 0
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.ports['http']}", timeout=PROBE) as client:
            while True:
                try:
                    fine = (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    fine = False
                failed = 0 if fine else failed + 1
                if fine != pod.ready and (fine or failed >= FAILURES):
                    pod.ready = fine
                    self._change(pod, fine)
                await asyncio.sleep(PROBE if pod.ready else 0.5)

    def _change(self, pod: Pod, there: bool) -> None:
        def arrive() -> None:
            (self._endpoints.add if there and not pod.going else self._endpoints.discard)(pod)

        asyncio.get_running_loop().call_later(LAG, arrive)

    def _proxy(self, port: Port) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not self._endpoints:
                writer.close()
                return
            pod = random.choice(list(self._endpoints))  # noqa: S311  # no secret
            try:
                there, back = await asyncio.open_connection("127.0.0.1", pod.ports[port])
            except OSError:
                writer.transport.abort()
                return
            for one in (_pipe(reader, back), _pipe(there, writer)):
                task = asyncio.create_task(one)
                self._pipes.add(task)
                task.add_done_callback(self._pipes.discard)

        return serve


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
