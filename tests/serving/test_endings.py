"""How a server ends under load: killed, or told to; and what its clients and its prediction log then hold."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import servers
from cli.server import Server, serve
from cli.workspace import Workspace
from features.store.base import StoreError
from model.predictions.reading import open_log
from serving.proto import Protocol
from tests.serving.outages import until

OUTCOME = {"customer_id": "1", "at": "2026-04-01T00:00:00Z", "outcome": True, "observed_at": "2026-07-01T00:00:00Z"}


class Load:
    """Requests without end over HTTP and gRPC, each with an id of its own; and outcomes, likewise.

    Attributes:
        answered: ids with an answer. told: ids of outcomes that were acknowledged. refused: codes of what came back
        instead, over a connection that lived.
    """

    def __init__(self, server: Server, workspace: Workspace) -> None:
        self.server, self.protocol = server, Protocol(workspace.usecase)
        self.answered: list[str] = []
        self.told: list[str] = []
        self.refused: Counter[str] = Counter()
        self.over = False
        self._numbers = itertools.count()

    def http(self) -> None:
        """One client's requests, until it is over or the server is gone."""
        with httpx.Client(base_url=self.server.url, timeout=20) as client:
            while not self.over:
                own = f"h{next(self._numbers)}"
                try:
                    answer = client.post("/v1/predict", json={"customer_id": "1"}, headers={"x-request-id": own})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.answered.append(own)
                else:
                    self.refused[str(answer.status_code)] += 1

    def feedback(self) -> None:
        """Outcomes of one client, two in a request."""
        with httpx.Client(base_url=self.server.url, timeout=20) as client:
            while not self.over:
                ids = [f"o{next(self._numbers)}" for _ in range(2)]
                try:
                    answer = client.post("/v1/feedback", json={"outcomes": [{**OUTCOME, "outcome_id": i} for i in ids]})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.told += ids
                else:
                    self.refused[str(answer.status_code)] += 1

    def grpc(self) -> None:
        """Likewise."""
        request = self.protocol.message("PredictRequest")(customer_id="1").SerializeToString()
        with grpc.insecure_channel(self.server.grpc) as channel:
            ask = channel.unary_unary(f"/{self.protocol.service}/Predict")
            while not self.over:
                own = f"g{next(self._numbers)}"
                try:
                    ask(request, metadata=[("x-request-id", own)], timeout=20)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        self.refused[error.code().name] += 1
                    return
                self.answered.append(own)


@contextmanager
def loaded(server: Server, workspace: Workspace) -> Iterator[Load]:
    """Load of eight clients while the block runs."""
    load = Load(server, workspace)
    with ThreadPoolExecutor(8) as threads:
        clients: list[Callable[[], None]] = [*[load.http] * 4, *[load.grpc] * 2, *[load.feedback] * 2]
        running = [threads.submit(client) for client in clients]
        try:
            yield load
        finally:
            load.over = True
    for one in running:
        one.result()


def worker(server: Server) -> int | None:
    """Process id of the worker that answers; None while there is none."""
    pid = server.process.pid
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
        if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return children[0] if children else None


@pytest.fixture(params=["file", "postgresql"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where predictions are recorded, nothing there yet."""
    if request.param == "file":
        return f"file://{tmp_path / 'predictions'}"
    server = request.getfixturevalue("postgresql")
    name = f"endings_{os.getpid()}_{tmp_path.name.lower()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return str(server.url.rpartition("/")[0] + f"/{name}")


def recorded(sink: str, home: Path) -> Counter[str]:
    """How often each request is in the log; it may have no table yet."""
    try:
        return Counter(prediction.request_id for prediction in open_log(sink, home, "cdnow").between())
    except StoreError:
        return Counter()


def kept(sink: str, home: Path) -> Counter[str]:
    """Likewise, outcomes."""
    try:
        return Counter(outcome.outcome_id for outcome in open_log(sink, home, "cdnow").outcomes())
    except StoreError:
        return Counter()


def ready(server: Server) -> bool:
    """Whether it is."""
    try:
        return httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_worker_has_recorded_every_answer_that_was_received_once(
    sink: str, cdnow: Workspace, tmp_path: Path
) -> None:
    with serve({"HOLDFAST_PREDICTIONS_URL": sink}, log=tmp_path / "serve.log") as server:
        with loaded(server, cdnow) as load:
            until(lambda: len(load.answered) > 500 and len(load.told) > 100)
            first = worker(server)
            assert first is not None
            os.kill(first, signal.SIGKILL)
        meanwhile = httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}, timeout=60)
        assert meanwhile.status_code == 200  # it waited for the next worker
        answered = set(load.answered)
        assert {name[0] for name in answered} == {"h", "g"}
        until(lambda: worker(server) not in (first, None))
        until(lambda: ready(server))
        until(lambda: answered <= set(recorded(sink, cdnow.home)))
        until(lambda: set(load.told) <= set(kept(sink, cdnow.home)))
    for counted, acknowledged in ((recorded(sink, cdnow.home), answered), (kept(sink, cdnow.home), set(load.told))):
        assert acknowledged <= set(counted)
        assert set(counted.values()) == {1}
    assert not load.refused


def test_a_server_told_to_end_answers_all_it_has_accepted(sink: str, cdnow: Workspace, tmp_path: Path) -> None:
    environ = {"HOLDFAST_PREDICTIONS_URL": sink, "HOLDFAST_DRAIN_S": "0.5"}
    with (
        serve(environ, log=tmp_path / "serve.log") as server,
        loaded(server, cdnow) as load,
    ):
        until(lambda: len(load.answered) > 500)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert not load.refused
    counted = recorded(sink, cdnow.home)
    assert set(counted) == set(load.answered)
    assert set(counted.values()) == {1}
    assert kept(sink, cdnow.home) == Counter(load.told)
    assert {name[0] for name in counted} == {"h", "g"}


def test_answers_go_on_while_postgresql_is_away_and_all_are_recorded_when_it_is_back(
    cdnow: Workspace, tmp_path: Path
) -> None:
    with servers.postgresql() as database:
        environ = {"HOLDFAST_PREDICTIONS_URL": database.url, "HOLDFAST_HOME": str(copied(cdnow, tmp_path))}
        with serve(environ, log=tmp_path / "serve.log") as server:
            with loaded(server, cdnow) as load:
                until(lambda: len(recorded(database.url, cdnow.home)) > 100)
                database.stop()
                before = len(load.answered)
                told = len(load.told)
                until(lambda: len(load.answered) > before + 1_000 and len(load.told) > told + 100)
                assert httpx.get(f"{server.url}/readyz").status_code == 200
                database.start()
                before = len(load.answered)
                until(lambda: len(load.answered) > before + 100)
            until(lambda: set(recorded(database.url, cdnow.home)) >= set(load.answered))
            until(lambda: kept(database.url, cdnow.home) == Counter(load.told))
            dropped = [
                sample.value
                for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
                for sample in family.samples
                if sample.name == "holdfast_log_dropped_total"
            ]
        counted = recorded(database.url, cdnow.home)
    assert not load.refused
    assert set(counted.values()) == {1}
    assert set(dropped) == {0}


def copied(workspace: Workspace, to: Path) -> Path:
    """A home with the use case's online rows, so that no other server's spool is beside."""
    shutil.copytree(workspace.home, to / "var" / workspace.usecase.name, ignore=shutil.ignore_patterns("predictions"))
    return to / "var"
