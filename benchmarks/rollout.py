"""`python -m benchmarks.rollout`: what clients see of upgrades, ways back, drains, kills and a model that is refused.

Three real servers behind a proxy that does what a Service does (benchmarks/cluster.py), asked all the time over HTTP,
with connections that are kept and with new ones, and over gRPC. Every answer but a right one is counted. This is no
cluster: scheduling, pulling of images and the network between nodes are not in it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import grpc.aio
import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cluster import Cluster, Pod
from benchmarks.wayback import asked
from cli.console import Json, Out, table
from serving.examples import value
from serving.proto import Protocol
from usecases.telco import USECASE

PODS, PAUSE = 3, 0.03
"""Pods that serve, and seconds that a client waits between two requests."""
SECONDS = 15.0
"""A client's own deadline: while a killed worker is replaced, connections wait for the next one."""
ROW = {USECASE.key: "1", "attributes": {field.name: value(field) for field in USECASE.features.fields.values()}}


class Load:
    """Clients that ask without end.

    Attributes:
        answered: right answers, by way and by model. failed: what else came, in words.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.answered: Counter[tuple[str, str]] = Counter()
        self.failed: Counter[str] = Counter()

    async def http(self, *, kept: bool) -> None:
        """One client over connections that are kept, or over a new one for each request."""
        url = f"http://{self.cluster.address['http']}/v1/predict"
        while True:
            async with httpx.AsyncClient(timeout=SECONDS) as client:
                while True:
                    await self._counted("kept" if kept else "new", client.post(url, json=ROW))
                    await asyncio.sleep(PAUSE)
                    if not kept:
                        break

    async def grpc(self) -> None:
        """One client over one channel, which connects again where it is told to."""
        protocol = Protocol(USECASE)
        asked, told = protocol.message("PredictRequest"), protocol.message("PredictResponse")
        async with grpc.aio.insecure_channel(self.cluster.address["grpc"]) as channel:
            ask = channel.unary_unary(f"/{protocol.service}/Predict", asked.SerializeToString, told.FromString)
            while True:
                await self._counted("gRPC", ask(asked(**ROW), timeout=SECONDS, wait_for_ready=False))
                await asyncio.sleep(PAUSE)

    async def _counted(self, way: str, call: Awaitable[Any]) -> None:
        try:
            told = await call
        except httpx.HTTPError as error:
            self.failed[f"{way}: {type(error).__name__}"] += 1
        except grpc.aio.AioRpcError as error:
            self.failed[f"{way}: {error.code().name} {error.details()}"] += 1
        else:
            if way == "gRPC":
                self.answered[way, told.model] += 1
            elif told.status_code == 200:
                self.answered[way, told.json()["model"]] += 1
            else:
                self.failed[f"{way}: {told.status_code}"] += 1


@asynccontextmanager
async def loaded(cluster: Cluster) -> AsyncIterator[Load]:
    """Eight clients while the block runs."""
    load = Load(cluster)
    ways = [load.http(kept=True) for _ in range(3)]
    ways += [load.http(kept=False) for _ in range(3)] + [load.grpc() for _ in range(2)]
    clients = [asyncio.create_task(way) for way in ways]
    try:
        yield load
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def measured(home: Path, first: str, second: str, broken: Path, out: Out) -> list[dict[str, Any]]:
    """Every change in turn, under load: seconds, right answers by model, and what failed."""
    environ = {"HOLDFAST_USECASE": "telco", "HOLDFAST_PREDICTIONS_URL": "none:"}
    found: list[dict[str, Any]] = []
    async with Cluster(home, environ) as cluster:
        pods = [await cluster.start(f"installed-{number}", HOLDFAST_MODEL=first) for number in range(PODS)]
        if not await cluster.ready(pods):
            raise RuntimeError(f"the servers did not become ready: {home}/*.log")
        await asyncio.sleep(2)  # until the proxy knows
        async with loaded(cluster) as load:

            async def change(name: str, *steps: Awaitable[Any]) -> None:
                answered, failed, started = load.answered.copy(), load.failed.copy(), time.monotonic()
                for step in steps:
                    await step
                seconds = time.monotonic() - started
                await asyncio.sleep(3)
                right, wrong = load.answered - answered, load.failed - failed
                by_model = {m: sum(n for (_, model), n in right.items() if model == m) for m in (first, second)}
                found.append(
                    {"change": name, "seconds": seconds, "answered": right.total(), "models": by_model}
                    | {"failed": dict(wrong)}
                )
                out.say(f"{name}: {seconds:.1f} s, {right.total():,} answered, {wrong.total():,} failed")

            await change("nothing", asyncio.sleep(3))
            await change("upgrade", cluster.replace(PODS, "upgraded", HOLDFAST_MODEL=second))
            await change("rollback", cluster.replace(PODS, "back", HOLDFAST_MODEL=first))
            await change("broken model", _refused(cluster, broken))
            await change("worker killed", _killed(cluster.pods[0]))
            await change("one drained", _drained(cluster, first))
            await change("scaled down", asyncio.gather(*map(cluster.remove, cluster.pods[1:])))
    return found


async def _refused(cluster: Cluster, broken: Path) -> None:
    """A pod whose artefact was changed by one byte: it is never ready, is never asked, and is taken away."""
    pod = await cluster.start("broken", BENTOML_HOME=str(broken))
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        told = ""
        while "calibration.json" not in told:  # until the gate has refused it, and says why
            with suppress(httpx.TransportError):
                told = (await client.get(f"http://127.0.0.1:{pod.ports['http']}/readyz")).text
            await asyncio.sleep(0.5)
        if await cluster.ready([pod], 10):
            raise RuntimeError("a changed model became ready")
        text = (await client.get(f"http://127.0.0.1:{pod.ports['metrics']}/metrics")).text
    asked = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "holdfast_requests_total" and sample.labels["route"] == "/v1/predict"
    )
    if asked:
        raise RuntimeError(f"a changed model was asked {asked:,.0f} times")
    await cluster.remove(pod)


async def _killed(pod: Pod) -> None:
    worker = pod.worker()
    if worker is None:
        raise RuntimeError(f"{pod.name} has no worker")
    os.kill(worker, signal.SIGKILL)
    while pod.worker() in (None, worker):
        await asyncio.sleep(0.05)
    async with httpx.AsyncClient(timeout=60) as client:  # it waits at the socket
        (await client.get(f"http://127.0.0.1:{pod.ports['http']}/readyz")).raise_for_status()


async def _drained(cluster: Cluster, model: str) -> None:
    """As an eviction: the pod goes at once, and another one comes elsewhere."""
    pod, _ = cluster.pods[0], await cluster.start("evicted", HOLDFAST_MODEL=model)
    await cluster.remove(pod)
    await cluster.ready(cluster.pods)


def main(as_json: Annotated[bool, Json] = False) -> None:
    """Measure, and print a table."""
    out = Out(as_json)
    with tempfile.TemporaryDirectory(prefix="holdfast-rollout-") as directory:
        home = Path(directory)
        own = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        environ = {**own, "HOLDFAST_HOME": str(home / "var"), "BENTOML_HOME": str(home / "bentoml")}
        (home / "bentoml").mkdir()
        first, second = (
            asked(environ, "retrain", "telco", "--promote", "--algorithm", algorithm)["model"]
            for algorithm in ("xgboost", "logistic")
        )
        os.environ["BENTOML_HOME"] = environ["BENTOML_HOME"]
        broken = home / "broken"
        shutil.copytree(home / "bentoml", broken)
        for path in (broken / "models").glob("telco/*/calibration.json"):
            path.write_bytes(path.read_bytes() + b" ")
        found = asyncio.run(measured(home, first, second, broken, out))
    rows = [
        [
            one["change"],
            f"{one['seconds']:.1f}",
            f"{one['answered']:,}",
            ", ".join(f"{count} x {what}" for what, count in one["failed"].items()) or "0",
        ]
        for one in found
    ]
    out.say(table(rows, ["change", "seconds", "answered", "failed"]))
    out.result({"models": [first, second], "changes": found})


if __name__ == "__main__":
    typer.run(main)
