"""`holdfast monitor serve`, as it is run: a process of its own, asked over HTTP, stopped by a signal."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import servers
from cli.server import free_port
from cli.workspace import ROOT
from model.predictions.postgres import Table
from tests.browsing.browser import browser
from tests.cli.conftest import holdfast
from tests.monitoring.page import stage

KEY = "a-key-of-the-tests-0123456789"


@dataclass(frozen=True)
class Running:
    """A monitor that answers."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def figures(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Its metrics, by name and values of labels."""
        text = httpx.get(f"{self.url}/metrics").text
        families = text_string_to_metric_families(text)
        return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


@contextmanager
def monitor(home: Path, usecase: str = "telco", every: float = 0.2, **environ: str) -> Iterator[Running]:
    """It runs while the block does."""
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), home.parent / "monitor.log"
    command = [sys.executable, "-m", "cli.main", "monitor", "serve", usecase, "--port", str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--every", str(every)],
            cwd=ROOT,
            env={**os.environ, "HOLDFAST_HOME": str(home), **environ},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    running = Running(f"http://127.0.0.1:{port}", process, log)
    try:
        wait(running, lambda: answers(running))
        yield running
    finally:
        process.kill()
        process.wait()


def answers(running: Running) -> bool:
    """Whether it does already."""
    assert running.process.poll() is None, running.log.read_text()
    try:
        return httpx.get(f"{running.url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def wait(running: Running, until: Callable[[], Any]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One whose ledger has 24 windows."""
    home = tmp_path_factory.mktemp("history") / "var"
    stage.staged(home / "telco")
    own = home.parent / "bentoml"  # where others promote telco, they answer the staged request
    own.mkdir()
    with monitor(home, HOLDFAST_API_KEYS=f"tests={KEY}", BENTOML_HOME=str(own)) as running:
        yield running


def test_it_needs_a_key_but_for_probes_and_metrics(history: Running) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx.get(history.url + path).status_code == 200
    basic = "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()
    for path in ("/", f"/models/{stage.TAG}", f"/windows/{stage.TAG}/3", "/v1/verdicts", "/style.css", "/nowhere"):
        refused = httpx.get(history.url + path)
        assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        assert stage.TAG not in refused.text
        for wrong in ({"x-api-key": KEY + "0"}, {"authorization": "Basic !"}, {"authorization": "Basic bWU6bm8="}):
            assert httpx.get(history.url + path, headers=wrong).status_code == 401
        for right in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": basic}):
            assert httpx.get(history.url + path, headers=right).status_code == (404 if path == "/nowhere" else 200)


def test_every_answer_is_guarded_and_none_is_kept(history: Running) -> None:
    for path in ("/", f"/models/{stage.TAG}", f"/windows/{stage.TAG}/24", "/v1/verdicts", "/nowhere", "/models/x:1"):
        headers = httpx.get(history.url + path, headers={"x-api-key": KEY}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "server" not in headers


def test_a_browser_shows_it(history: Running) -> None:
    with browser() as chromium:
        page = chromium.page(375, dark=True, headers={"x-api-key": KEY})
        assert page.goto(f"{history.url}/") == 200
        assert page.problems() == []
        assert "1 model alarms" in page.text()
        assert stage.TAG in page.text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_verdicts_are_told_as_values(history: Running) -> None:
    told = httpx.get(f"{history.url}/v1/verdicts", headers={"x-api-key": KEY}).json()
    assert told["usecase"] == "telco"
    newest = {one["model"]: one["window"] for one in told["models"]}
    assert newest[stage.FORMER] is None
    window = newest[stage.TAG]
    assert (window["number"], window["state"], window["rows"]) == (24, "alarm", stage.ROWS)
    assert window["tracks"] == dict.fromkeys(("inputs", "quality", "answers", "outcomes"), True)
    assert window["verdict"]["findings"][0]["column"] == "monthly_charges"
    assert window["end"] == "2026-11-04T00:00:00Z"


def test_metrics_are_those_of_the_ledger(history: Running) -> None:
    found = history.figures()
    own = (stage.TAG,)
    assert found["holdfast_monitor_windows_total", own] == 24
    assert found["holdfast_monitor_window_rows", own] == 412
    assert found["holdfast_monitor_window_rows", (stage.FORMER,)] == 7
    for track in ("inputs", "quality", "answers", "outcomes"):
        assert found["holdfast_monitor_alarm", (stage.TAG, track)] == 1
        assert found["holdfast_monitor_adjusted_p", (stage.TAG, track)] <= 1e-3
    assert found["holdfast_monitor_effect", ("monthly_charges", stage.TAG)] > 0.3
    assert found["holdfast_monitor_effect", ("senior", stage.TAG)] < 0.1
    assert found["holdfast_monitor_records_total", ("late",)] == 51
    assert found["holdfast_monitor_outcomes_total", ("unmatched",)] == 2
    assert found["holdfast_monitor_rejected_total", ("contract",)] == 18
    assert found["holdfast_monitor_retrain_asked", ("telco",)] == 1
    assert found["holdfast_feature_skew_ratio", ("monthly_charges", stage.TAG)] == 0.01
    assert found["holdfast_feature_skew_ratio", ("tenure", stage.TAG)] == 0
    assert found["holdfast_skew_checked_rows", own] == 900
    value, low, high = (
        found["holdfast_monitor_performance", (bound, "roc_auc", stage.TAG)] for bound in ("value", "low", "high")
    )
    assert low < value < high
    assert found["holdfast_monitor_expected", ("log_loss", stage.TAG)] > 0
    assert found["holdfast_monitor_pass_failures_total", ()] == 0
    assert found["holdfast_monitor_window_end_timestamp_seconds", own] == 1_793_750_400


def test_passes_go_on_by_themselves(history: Running) -> None:
    before = history.figures()["holdfast_monitor_last_pass_timestamp_seconds", ()]
    wait(history, lambda: history.figures()["holdfast_monitor_last_pass_timestamp_seconds", ()] > before)


def test_a_pass_that_fails_is_counted_told_and_made_again_and_the_page_stays(tmp_path: Path) -> None:
    with servers.postgresql() as server:
        Table(server.url, "telco").migrate()
        server.stop()
        with monitor(tmp_path / "var", HOLDFAST_PREDICTIONS_URL=server.url) as running:
            wait(running, lambda: running.figures()["holdfast_monitor_pass_failures_total", ()] >= 3)
            page = httpx.get(running.url)
            assert page.status_code == 200
            assert "The last pass failed" in page.text
            assert running.log.read_text().count("a pass failed") == 1  # the same words are not told again
            server.start()
            wait(running, lambda: ("holdfast_monitor_last_pass_timestamp_seconds", ()) in running.figures())
            wait(running, lambda: "The last pass failed" not in httpx.get(running.url).text)


def test_a_ledger_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    ledger = tmp_path / "var" / "telco" / "monitor" / "ledger.sqlite"
    ledger.parent.mkdir(parents=True)
    ledger.write_bytes(b"no database" * 1000)
    with monitor(tmp_path / "var") as running:
        for path in ("/", "/v1/verdicts", "/readyz"):
            answer = httpx.get(running.url + path)
            assert answer.status_code == 503
            assert "ledger.sqlite" in answer.text
        assert httpx.get(f"{running.url}/metrics").status_code == 200
        assert ("holdfast_monitor_windows_total", (stage.TAG,)) not in running.figures()


def test_a_port_in_use_is_told_in_one_line_before_anything_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = holdfast(
            "monitor", "serve", "telco", "--port", port, environ={"HOLDFAST_HOME": str(tmp_path / "var")}, code=1
        )
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"port {port} of 127.0.0.1 cannot be had: somebody listens there already" in done.stderr
    assert "--port" in done.stderr


def test_a_signal_ends_it_while_it_idles_and_in_the_midst_of_a_pass(tmp_path: Path) -> None:
    with monitor(tmp_path / "idle" / "var", every=3600) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    with socket.socket() as silent:  # a server that takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"postgresql://holdfast@127.0.0.1:{silent.getsockname()[1]}/none?connect_timeout=600"
        with monitor(tmp_path / "busy" / "var", HOLDFAST_PREDICTIONS_URL=address) as running:
            with silent.accept()[0] as asked:
                asked.recv(1)  # the pass waits for what is never said
                running.process.send_signal(signal.SIGTERM)
                assert running.process.wait(20) == 0
            assert "Traceback" not in running.log.read_text()
