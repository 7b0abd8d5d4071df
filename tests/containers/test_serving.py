"""The serving image at work: asked from outside, told to end, its worker killed."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import grpc
import httpx
import psycopg

from benchmarks.servers import Server
from cli.workspace import Workspace
from deploy.image.build import Image
from deploy.image.engine import Engine
from serving.proto import Protocol
from tests.containers.conftest import told
from tests.containers.container import Serving, ready, run, serving
from tests.serving.outages import until
from tests.serving.test_endings import kept, loaded, recorded


def test_http_and_grpc_answer_from_outside_with_the_same_bits(served: Serving, cdnow: Workspace) -> None:
    told(f"serving: ready after {served.seconds:.1f} s on 1 CPU (bar: 10 s)")
    protocol = Protocol(cdnow.usecase)
    asked, answered = protocol.message("PredictRequest"), protocol.message("Prediction")
    with grpc.insecure_channel(served.grpc) as channel:
        call = channel.unary_unary(
            f"/{protocol.service}/Predict",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        for key in map(str, range(1, 50)):
            over_http = httpx.post(f"{served.url}/v1/predict", json={"customer_id": key}).json()
            over_grpc = call(asked(customer_id=key), timeout=10)
            assert over_http["model"] == cdnow.champion()
            assert over_http["known"] is True
            assert over_grpc.probability == over_http["probability"]


def test_the_jobs_image_finds_the_service_as_it_should_be(
    engine: Engine, images: dict[str, Image], served: Serving, cdnow: Workspace
) -> None:
    tag = cdnow.champion()
    assert tag is not None
    words = ("rollout", "check", served.url, "--grpc", served.grpc, "--model", tag, "--json")
    assert json.loads(run(engine, images["jobs"].name, *words))["passed"] is True


def test_metrics_name_the_image_and_the_model(images: dict[str, Image], served: Serving, cdnow: Workspace) -> None:
    metrics = httpx.get(f"http://{served.metrics}/metrics").text
    assert f'image="{images["serving"].id}"' in metrics
    assert f'model="{cdnow.champion()}"' in metrics


def test_told_to_end_under_load_it_answers_all_it_has_accepted(
    engine: Engine,
    images: dict[str, Image],
    online: str,
    postgresql: Server,
    cdnow: Workspace,
    tmp_path: Path,
) -> None:
    database = f"containers_{os.getpid()}"
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    sink = f"{postgresql.url.rpartition('/')[0]}/{database}"
    environ = {"HOLDFAST_ONLINE_URL": online, "HOLDFAST_PREDICTIONS_URL": sink, "HOLDFAST_DRAIN_S": "0.5"}
    with (
        serving(engine, images["serving"].name, environ, tmp_path / "log") as server,
        loaded(server, cdnow) as load,
    ):
        until(lambda: len(load.answered) > 500)
        engine("kill", "--signal=TERM", server.name)
        assert server.process.wait(60) == 0
    told(f"SIGTERM under load: {len(load.answered)} answered, {load.refused.total()} of those accepted failed")
    assert not load.refused
    assert recorded(sink, cdnow.home) == Counter(load.answered)
    assert kept(sink, cdnow.home) == Counter(load.told)


def test_a_killed_worker_is_replaced_and_the_container_lives_on(
    engine: Engine, images: dict[str, Image], online: str, tmp_path: Path
) -> None:
    with serving(engine, images["serving"].name, {"HOLDFAST_ONLINE_URL": online}, tmp_path / "log") as server:
        (first,) = server.workers(kill=True)
        until(lambda: server.workers() not in ([], [first]))
        until(lambda: ready(server.url))
        assert httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}).status_code == 200
        assert server.process.poll() is None
