"""A server's life: which model it serves, when it is ready, what it leaves in the journal."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cli.server import ServerError, serve
from cli.workspace import ROOT, Workspace
from model import store as model_store
from tests.serving.outages import until
from training.train import train


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def copied_home(cdnow: Workspace, tmp_path: Path) -> Path:
    """A copy of the model store that a test may break."""
    shutil.copytree(model_store.home(), tmp_path / "bentoml")
    assert cdnow.champion()
    return tmp_path / "bentoml"


def damage_model(home: Path, tag: str) -> None:
    flip(home / "models" / tag.replace(":", "/") / "model.ubj")


def damage_manifest(home: Path, tag: str) -> None:
    flip(home / "models" / tag.replace(":", "/") / "manifest.json")


@pytest.mark.parametrize(("damage", "named"), [(damage_model, "model.ubj"), (damage_manifest, "manifest.json")])
def test_a_refused_model_leaves_the_server_up_and_not_ready(
    damage: Callable[[Path, str], None], named: str, cdnow: Workspace, copied_home: Path, tmp_path: Path
) -> None:
    tag = cdnow.champion()
    assert tag is not None
    damage(copied_home, tag)
    log = tmp_path / "serve.log"
    environ = {"HOLDFAST_USECASE": "cdnow", "BENTOML_HOME": str(copied_home)}
    with serve(environ, log=log, ready=False) as server:
        assert httpx.get(f"{server.url}/livez").status_code == 200
        ready = httpx.get(f"{server.url}/readyz")
        answer = httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"})
    for refused in (ready, answer):
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert named in refused.text
        assert "restore the artefact" in refused.text
    assert named in log.read_text()


def test_a_changed_feature_is_refused_until_the_code_is_right_again(cdnow: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "usecases"
    own.mkdir()
    code = (ROOT / "usecases" / "cdnow.py").read_text()
    assert "np.log1p(orders)" in code
    (own / "cdnow.py").write_text(code.replace("np.log1p(orders)", "np.log1p(orders + 1)"))
    with serve({"HOLDFAST_USECASES": str(own)}, log=tmp_path / "serve.log", ready=False) as server:
        ready = httpx.get(f"{server.url}/readyz")
    assert ready.status_code == 503
    assert cdnow.usecase.features.fingerprint[:16] in ready.text
    assert "holdfast train cdnow" in ready.text


def test_readiness_follows_the_online_store(cdnow: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "online.sqlite"
    with serve({"HOLDFAST_ONLINE_URL": f"sqlite://{path}"}, log=tmp_path / "serve.log", ready=False) as server:
        before = httpx.get(f"{server.url}/readyz")
        refused = httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"})
        shutil.copy(cdnow.home / "online.sqlite", path)
        after = httpx.get(f"{server.url}/readyz")
        answer = httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"})
    assert (before.status_code, refused.status_code) == (503, 503)
    assert "holdfast materialize" in before.text
    assert (after.status_code, answer.status_code) == (200, 200)


def test_on_read_gives_the_same_answer_as_the_materialized_row(cdnow_http: httpx.Client, tmp_path: Path) -> None:
    asked = {"rows": [{"customer_id": str(number)} for number in range(1, 200)]}
    with serve({"HOLDFAST_ONLINE_READ": "on-read"}, log=tmp_path / "serve.log") as server:
        computed = httpx.post(f"{server.url}/v1/predict/bulk", json=asked).json()
    stored = cdnow_http.post("/v1/predict/bulk", json=asked).json()
    for answers in (computed, stored):
        for answer in answers["predictions"]:
            del answer["request_id"], answer["prediction_id"]
    assert computed == stored


def test_a_bento_serves_its_own_model_also_after_a_newer_one(cdnow: Workspace, tmp_path: Path) -> None:
    tag = cdnow.champion()
    assert tag is not None
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    built = subprocess.run(
        [bentoml, "build", "--arg", f"model={tag}", "--output", "tag"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    bento = "holdfast:" + built.stdout.strip().rsplit(":", 1)[1]
    newer = train(cdnow.usecase, cdnow.events, as_of=cdnow.now, cache=cdnow.cache, algorithm="logistic").manifest.tag
    assert newer != tag
    environ = {"HOLDFAST_HOME": os.environ["HOLDFAST_HOME"]}
    with serve(environ, target=bento, log=tmp_path / "bento.log") as server:
        assert httpx.get(f"{server.url}/readyz").json()["model"] == tag
        assert httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}).json()["model"] == tag
    # an archive may carry the model, and the Bento just the code: then it is named exactly
    with serve({**environ, "HOLDFAST_MODEL": newer}, target=bento, log=tmp_path / "other.log") as server:
        assert httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}).json()["model"] == newer
    with (
        pytest.raises(ServerError, match=r"this Bento serves .+ no alias can stand in"),
        serve({**environ, "HOLDFAST_MODEL": "cdnow@champion"}, target=bento, log=tmp_path / "alias.log"),
    ):
        pass
    with serve({"HOLDFAST_MODEL": newer}, log=tmp_path / "source.log") as server:
        assert httpx.get(f"{server.url}/readyz").json()["model"] == newer


def test_every_ready_and_stop_is_journalled(telco: Workspace, tmp_path: Path) -> None:
    before = len(telco.registry.entries("telco"))
    environ = {"HOLDFAST_USECASE": "telco", "HOLDFAST_USER": "ops", "HOLDFAST_IMAGE": "sha256:abc"}
    with serve(environ, log=tmp_path / "serve.log") as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
    entries = telco.registry.entries("telco")[before:]
    assert [(entry.action, entry.tag) for entry in entries] == [("ready", telco.champion()), ("stop", telco.champion())]
    assert {(entry.who, entry.image) for entry in entries} == {("ops", "sha256:abc")}
    assert telco.registry.serving("telco", entries[0].time) == [telco.champion()]


def test_without_a_champion_the_server_says_what_to_do(tmp_path: Path) -> None:
    program = "import service"
    environ = {**os.environ, "BENTOML_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "holdfast train cdnow" in done.stderr


def test_the_log_is_free_of_request_bodies(cdnow_http: httpx.Client, tmp_path: Path) -> None:
    with serve({}, log=tmp_path / "serve.log") as server:
        httpx.post(f"{server.url}/v1/predict", json={"customer_id": "secret-customer"})
    assert "secret-customer" not in (tmp_path / "serve.log").read_text()
    assert json.loads(cdnow_http.get("/readyz").text)["ready"] is True


@pytest.mark.usefixtures("cdnow")
@pytest.mark.parametrize("name", ["HOLDFAST_GRPC_PORT", "HOLDFAST_METRICS_PORT"])
def test_a_port_that_was_asked_for_and_is_taken_ends_the_server_with_a_word(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError) as told, serve({name: str(port)}, log=tmp_path / "serve.log"):
            pytest.fail("it serves without its port")
    said = str(told.value)
    assert f"holdfast: {name}={port} on 127.0.0.1: Address already in use; choose another port" in said
    assert "Traceback" not in said


def test_a_client_that_resets_its_connection_is_counted_and_not_in_flight_for_ever(cdnow_http: httpx.Client) -> None:
    def cancelled() -> float:
        found = re.search(r'outcome="cancelled",route="/v1/predict"} (\S+)', cdnow_http.get("/metrics").text)
        return float(found[1]) if found else 0.0

    address = (cdnow_http.base_url.host, cdnow_http.base_url.port)
    body = b'{"customer_id":"1"}'
    request = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    before = cancelled()
    for _ in range(100):
        with socket.create_connection(address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            client.sendall((request % len(body) + body) * 6 + (request % (len(body) + 9)) + body)
    until(lambda: cancelled() > before)
    until(lambda: 'holdfast_requests_in_flight{protocol="http"} 1.0' in cdnow_http.get("/metrics").text)
