"""A real `bentoml serve` while its online store's server stops, freezes and comes back, under traffic."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import Server
from cli.server import serve
from cli.workspace import Workspace
from model import store as model_store
from tests.serving.outages import KINDS, filled, frozen, until

ADDRESS = re.compile(r"127\.0\.0\.1|localhost|postgresql://|redis://")
"""Where a store is: for logs, and not for clients."""
ONE = {"customer_id": "1"}
TWO = {"rows": [{"customer_id": "1"}, {"customer_id": "nobody"}]}


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, cdnow: Workspace) -> Iterator[Server]:
    """The online store's server."""
    with filled(request.param, cdnow) as server:
        yield server


def samples(client: httpx.Client) -> dict[str, float]:
    """Holdfast's metrics, each by its name and labels as they are written."""
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {
        sample.name.removeprefix("holdfast_online_") + "".join(f" {value}" for value in sample.labels.values()): value
        for family in text_string_to_metric_families(answer.text)
        for sample, value in ((sample, sample.value) for sample in family.samples)
        if sample.name.startswith("holdfast_online_")
    }


class Traffic:
    """Requests without end from a few threads; every answer is kept."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.over = url, list[httpx.Response](), False

    def run(self, path: str, body: dict[str, Any]) -> None:
        """One thread's requests."""
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.over:
                self.answers.append(client.post(path, json=body))

    def until(self, status: int, degraded: bool, count: int = 10) -> None:
        """Wait until single predictions were answered so that many times from now on."""
        start = len(self.answers)
        until(
            lambda: (
                sum(
                    answer.status_code == status and answer.json().get("degraded", False) is degraded
                    for answer in self.answers[start:]
                    if answer.url.path == "/v1/predict"
                )
                >= count
            )
        )


@contextmanager
def traffic(url: str) -> Iterator[Traffic]:
    """Traffic while the block runs; an error of a thread is raised at its end."""
    running = Traffic(url)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(running.run, *what) for what in (("/v1/predict", ONE), ("/v1/predict/bulk", TWO)) * 2]
        try:
            yield running
        finally:
            running.over = True
    for one in asked:
        one.result()


@pytest.mark.parametrize("policy", ["refuse", "cold-start"])
def test_an_outage_under_traffic_is_told_and_ends_by_itself(
    policy: str, cdnow: Workspace, store: Server, tmp_path: Path
) -> None:
    cold = policy == "cold-start"
    log = tmp_path / "serve.log"
    environ = {"HOLDFAST_ONLINE_URL": store.url, "HOLDFAST_ONLINE_DOWN": policy}
    with serve(environ, log=log) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        right = client.post("/v1/predict", json=ONE).json()["probability"]
        unknown = client.post("/v1/predict", json={"customer_id": "nobody"}).json()["probability"]
        before = samples(client)
        assert (before["up"], before["failures_total unreachable"], before["rows_total degraded"]) == (1, 0, 0)
        assert (before["rows_total known"], before["rows_total unknown"]) == (1, 1)
        assert before["as_of_timestamp_seconds"] == cdnow.as_of / 1e6
        assert before["age_seconds"] == 0
        with traffic(server.url) as running:
            running.until(200, degraded=False)
            store.stop(signal.SIGQUIT if "postgresql" in store.url else signal.SIGKILL)
            running.until(200 if cold else 503, degraded=cold)
            ready = client.get("/readyz")
            assert client.get("/livez").status_code == 200
            during = samples(client)
            store.start()
            running.until(200, degraded=False)
        assert client.get("/readyz").json()["degraded"] is False
        after = samples(client)
        last = client.post("/v1/predict", json=ONE).json()
    assert (last["probability"], last["known"], last["degraded"]) == (right, True, False)
    assert (ready.status_code, ready.json().get("degraded")) == ((200, True) if cold else (503, None))
    assert "out of reach" in ready.json()["problems"][0]
    assert (during["up"], after["up"]) == (0, 1)
    assert during["failures_total unreachable"] > 0
    assert during["failures_total skipped"] > 0
    assert (during["rows_total degraded"] > 0) == cold
    assert after["read_seconds_count materialized"] > before["read_seconds_count materialized"]
    told = {answer.status_code for answer in running.answers}
    assert told == ({200} if cold else {200, 503})
    for answer in running.answers:
        body = answer.json()
        if answer.status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
            assert "online store: " in body["problems"][0]
            assert not ADDRESS.search(answer.text)
            continue
        for one in body.get("predictions", [body]):
            known = one["customer_id"] == "1" and not one["degraded"]
            assert (one["known"], one["probability"]) == (known, right if known else unknown)
    assert not ADDRESS.search(ready.text)
    words = log.read_text()
    assert ADDRESS.search(words.partition("online store: ")[2])  # for whoever runs the service
    assert "online store: it answers again" in words
    assert words.count("online store: ") < 20


def test_a_frozen_store_holds_up_nobody_who_does_not_ask_it(store: Server, tmp_path: Path) -> None:
    environ = {"HOLDFAST_ONLINE_URL": store.url, "HOLDFAST_ONLINE_TIMEOUT_MS": "60000"}
    with (
        serve(environ, log=tmp_path / "serve.log") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        right = client.post("/v1/predict", json=ONE).json()["probability"]
        with frozen(store):
            asked = [threads.submit(httpx.post, f"{server.url}/v1/predict", json=ONE, timeout=60) for _ in range(4)]
            for path in ("/livez", "/metrics", "/docs.json") * 5:
                assert client.get(path).status_code == 200
            assert client.post("/v1/predict", json={"customer_id": 1}).status_code == 422
            assert not any(one.done() for one in asked)
        assert [one.result().json()["probability"] for one in asked] == [right] * 4


def test_metrics_have_no_labels_that_grow(cdnow_http: httpx.Client) -> None:
    def lines(names: Iterable[str]) -> set[str]:
        for name in names:
            headers = {"x-request-id": name}
            cdnow_http.post("/v1/predict", json={"customer_id": name}, headers=headers)
            cdnow_http.post("/v1/predict", json={name: name}, headers=headers)
            cdnow_http.request(name.upper(), f"/v1/{name}", headers=headers)
            cdnow_http.get("/metrics")
        text = cdnow_http.get("/metrics").text
        return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    before = lines(["first"])
    assert lines(["second", "third", "1", "2"]) == before
    assert not [line for line in before if "first" in line.lower()]
    assert {line for line in before if line.startswith("process_")} >= {"process_cpu_seconds_total", "process_open_fds"}
    assert not list(
        (model_store.home() / "prometheus_multiproc_dir").glob("*.db")
    )  # shared by servers, cleared by each
