"""A real server that asks for keys: what is open, who is who, what is never written down, and how keys change."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from cli.server import Server, serve
from cli.workspace import ROOT, Workspace
from model.predictions.pseudonym import Pseudonyms
from model.predictions.sample import Sample
from settings import load
from tests.cli.conftest import figures, holdfast

SHOP, OTHER, WRONG = "k3y-of-the-shop-0001", "k3y-of-another-0002", "k3y-of-nobody-00003"
SECRET = "s3cret-of-the-log-0001"
PROBES = {"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"}
RPC_PROBES = {
    *(f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch")),
    *(f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady")),
}
ROUTES = """
import json, service
front = service.Holdfast.to_asgi()
told = [[route.method, route.template, route.open] for route in front.routes.all]
behind = [[sorted(getattr(route, "methods", None) or ["GET"]), route.path] for route in front.app.app.routes]
print(json.dumps([told, behind]))
"""

CLIENT = """
import sys, bentoml
with bentoml.SyncHTTPClient(sys.argv[1], token=sys.argv[2]) as client:
    print(client.predict({"customer_id": "1"})["customer_id"])
"""


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys, the file that they are in, and where it writes."""

    server: Server
    environ: dict[str, str]
    mount: Path
    log: Path

    def swap(self, text: str) -> None:
        """Give it other keys as Kubernetes does: a new directory, and a link that is replaced."""
        new = self.mount / f"..{time.time_ns()}"
        new.mkdir()
        (new / "keys").write_text(text)
        (self.mount / "..data_tmp").symlink_to(new.name)
        (self.mount / "..data_tmp").replace(self.mount / "..data")

    def counted(self, name: str, **labels: str) -> float:
        """The metric of the port that asks for no key."""
        text = httpx.get(f"http://{self.server.metrics}/metrics").text
        families = text_string_to_metric_families(text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


KEYS = f"# for the tests\nshop=sha256:{sha256(SHOP.encode()).hexdigest()}\nother={OTHER}\n"


@pytest.fixture(scope="module")
def guarded(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """cdnow's champion behind keys, with hashed ids and half of the customers in its log."""
    home = tmp_path_factory.mktemp("guarded")
    mount = home / "secret"
    mount.mkdir()
    (mount / "keys").symlink_to("..data/keys")
    own = {
        "HOLDFAST_USECASE": cdnow.usecase.name,
        "HOLDFAST_API_KEYS_FILE": str(mount / "keys"),
        "HOLDFAST_ID_HMAC_KEY": SECRET,
        "HOLDFAST_PREDICTIONS_SAMPLE": "0.5",
        "HOLDFAST_PREDICTIONS_URL": f"file://{home / 'log'}",
        "HOLDFAST_ACCESS_LOG": "all",
    }
    made = Guarded(Server("", "", "", None), own, mount, home / "serve.log")  # type: ignore[arg-type]  # to swap only
    made.swap(KEYS)
    with serve(own, log=home / "serve.log") as server:
        yield Guarded(server, own, mount, home / "serve.log")


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def code(channel: grpc.Channel, method: str, key: str = "", message: bytes = b"") -> grpc.StatusCode:
    """What a call is answered with, as bytes and for whatever kind of method."""
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    answers = channel.stream_stream(method)(iter([message]), metadata=metadata, timeout=20)
    try:
        next(answers)
    except grpc.RpcError as error:
        return error.code()
    answers.cancel()
    return grpc.StatusCode.OK


def test_every_route_but_the_probes_asks_for_a_key(guarded: Guarded) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUTES],
        cwd=ROOT,
        env={**os.environ, **guarded.environ},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    own, behind = json.loads(done.stdout.splitlines()[-1])
    assert {path for _, path, open_ in own if open_} == PROBES - {"/healthz"}
    asked = {(method, path) for method, path, _ in own} | {(method, path) for ways, path in behind for method in ways}
    asked |= {
        ("GET", path) for path in ("/nothing", "/v1", "/static_content/swagger-ui.css", "//", "/livez/", "/readyz/x")
    }
    asked |= {("DELETE", "/v1/predict"), ("GET", "/v1/predict"), ("OPTIONS", "/v1/predict"), ("POST", "/schema.json")}
    assert len(asked) > 25
    with httpx.Client(base_url=guarded.server.url) as client:
        for method, path in sorted(asked):
            place = (
                path.replace("{model}", "cdnow").replace("{version}", "1").replace("{path}", "x").replace("{name}", "x")
            )
            wrong = {"authorization": f"Bearer {WRONG}"}
            answers = [client.request(method, place, headers=headers) for headers in ({}, wrong)]
            with_key = client.request(method, place, headers={"x-api-key": SHOP})
            assert with_key.status_code != 401, (method, path)
            for answer in answers:
                if path in PROBES:
                    assert answer.status_code == with_key.status_code, (method, path)
                    continue
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                if method != "HEAD":
                    assert answer.json()["type"] == "urn:holdfast:problem:unauthorized"
                    assert answer.json()["detail"] == answers[0].json()["detail"]
                for name in ("x-content-type-options", "content-security-policy", "x-frame-options"):
                    assert name in answer.headers
                    assert name in with_key.headers, (method, path)


def test_the_document_names_what_is_open_and_how_to_send_a_key(guarded: Guarded) -> None:
    told = httpx.get(f"{guarded.server.url}/docs.json", headers={"x-api-key": SHOP}).json()
    operations = {path: one for path, item in told["paths"].items() for one in item.values()}
    assert {path for path, one in operations.items() if one.get("security") == []} == PROBES & set(operations)
    assert all("401" in one["responses"] for path, one in operations.items() if path not in PROBES)
    assert set(told["components"]["securitySchemes"]) == {name for one in told["security"] for name in one}


def test_every_method_but_the_probes_asks_for_a_key(guarded: Guarded) -> None:
    with grpc.insecure_channel(guarded.server.grpc) as plain, ExitStack() as stack:
        keyed = stack.enter_context(_with_key(guarded.server.grpc, SHOP))
        database = ProtoReflectionDescriptorDatabase(keyed)
        pool = DescriptorPool(database)
        methods = [
            f"/{service}/{method.name}"
            for service in database.get_services()
            for method in pool.FindServiceByName(service).methods
        ]
        assert len(methods) >= 10
        assert set(methods) > RPC_PROBES
        unknown = ["/nothing/At", "/grpc.health.v1.Health/Other", "/inference.GRPCInferenceService/serverlive"]
        refused = grpc.StatusCode.UNAUTHENTICATED
        for method in [*methods, *unknown]:
            for key in ("", WRONG):
                assert (code(plain, method, key) is refused) == (method not in RPC_PROBES), (method, key)
            assert code(plain, method, OTHER) is not refused, method
        with pytest.raises(grpc.RpcError) as told:
            ProtoReflectionDescriptorDatabase(plain).get_services()
        assert told.value.code() is refused


def _with_key(address: str, key: str) -> grpc.Channel:
    class Adds(grpc.StreamStreamClientInterceptor, grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # untyped
        def intercept_stream_stream(self, goes_on: Any, call: Any, asked: Any) -> Any:
            return goes_on(call._replace(metadata=[("x-api-key", key)]), asked)

        intercept_unary_unary = intercept_stream_stream

    return grpc.intercept_channel(grpc.insecure_channel(address), Adds())


def test_requests_are_counted_by_the_name_of_their_key(guarded: Guarded) -> None:
    def seen() -> list[float]:
        clients = [guarded.counted("holdfast_client_requests_total", client=name) for name in ("shop", "other")]
        return [*clients, guarded.counted("holdfast_requests_total", outcome="unauthorized", route="/v1/predict")]

    before = seen()
    with httpx.Client(base_url=guarded.server.url) as client:
        for key, count in ((SHOP, 3), (OTHER, 2), (WRONG, 4)):
            for _ in range(count):
                client.post("/v1/predict", json={"customer_id": "1"}, headers={"x-api-key": key})
    assert [after - was for after, was in zip(seen(), before, strict=True)] == [3, 2, 4]


def test_who_has_no_key_is_answered_before_the_body_comes(guarded: Guarded) -> None:
    host, port = guarded.server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 401 ")


def test_bentomls_own_client_sends_a_key_as_its_token(guarded: Guarded) -> None:
    def asked(key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CLIENT, guarded.server.url, key]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert asked(SHOP).stdout.split() == ["1"]
    refused = asked(WRONG)
    assert refused.returncode != 0
    assert "Failed to fetch schema" in refused.stderr


def test_keys_are_in_no_log_and_no_metric(guarded: Guarded) -> None:
    body = {"customer_id": "1", "note": OTHER}
    with (
        httpx.Client(base_url=guarded.server.url) as client,
        grpc.insecure_channel(guarded.server.grpc) as channel,
    ):
        for key in (SHOP, OTHER, WRONG):
            for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": key}, {}):
                client.post(f"/v1/predict?api_key={key}", json=body, headers=headers)
                client.get(f"/{key}/{key}", headers=headers)
                client.get("/v1/models", headers={**headers, "cookie": f"key={key}"})
                client.post(
                    "/v1/predict", content=key.encode(), headers={**headers, "content-type": "application/json"}
                )
            code(channel, f"/{key}/{key}", key)
            code(channel, "/grpc.health.v1.Health/Check", key)
        metrics = client.get("/metrics", headers={"x-api-key": SHOP}).text
    until(lambda: '"client":"other"' in guarded.log.read_text() and '"client":"shop"' in guarded.log.read_text())
    told = [guarded.log.read_text(), metrics, httpx.get(f"http://{guarded.server.metrics}/metrics").text]
    told += [holdfast("settings", *words, environ=guarded.environ).stdout for words in ((), ("--json",))]
    digests = [sha256(key.encode()).hexdigest() for key in (SHOP, OTHER)]
    for text, key in itertools.product(told, (SHOP, OTHER, WRONG, SECRET, *digests)):
        assert key not in text


def test_the_log_holds_the_samples_customers_under_pseudonyms(cdnow: Workspace, guarded: Guarded) -> None:
    keys = cdnow.events.keys(cdnow.now)[:40].tolist()
    name, environ = Pseudonyms(load({"HOLDFAST_ID_HMAC_KEY": SECRET}).id_hmac_key), guarded.environ
    headers = {"x-api-key": SHOP, "x-request-id": f"basket-of-{keys[0]}"}
    left = guarded.counted("holdfast_log_sampled_out_total")
    with httpx.Client(base_url=guarded.server.url, headers=headers) as client:
        told = client.post("/v1/predict/bulk", json={"rows": [{"customer_id": key} for key in keys]}).json()
    assert [one["customer_id"] for one in told["predictions"]] == keys
    assert told["predictions"][0]["request_id"] == headers["x-request-id"]
    kept = [place for place, key in enumerate(keys) if key in Sample(0.5)]
    assert 5 < len(kept) < 35
    assert guarded.counted("holdfast_log_sampled_out_total") - left == len(keys) - len(kept)
    found = figures("predictions", "show", headers["x-request-id"], environ=environ)["predictions"]
    assert [one["prediction_id"].rpartition("-")[2] for one in found] == [str(place) for place in kept]
    assert [one["key"] for one in found] == [name(keys[place]) for place in kept]
    assert [one["probability"] for one in found] == [told["predictions"][place]["probability"] for place in kept]
    assert {one["request_id"] for one in found} == {name(headers["x-request-id"])}
    assert {one["hashed"] for one in found} == {name.mark}
    (mine,) = figures("predictions", "list", "--key", keys[kept[0]], "--limit", "1", environ=environ)["predictions"]
    assert mine["key"] == name(keys[kept[0]])
    log = Path(environ["HOLDFAST_PREDICTIONS_URL"].removeprefix("file://"))
    assert b"basket-of-" not in b"".join(path.read_bytes() for path in log.iterdir())
    for words, other in ((("list", "--key", keys[kept[0]]), ""), (("show", headers["x-request-id"]), "another" * 9)):
        done = holdfast("predictions", *words, environ={**environ, "HOLDFAST_ID_HMAC_KEY": other}, code=1)
        assert f"a secret of the mark {name.mark}" in done.stderr


def test_keys_are_replaced_under_load_and_no_request_is_lost(guarded: Guarded) -> None:
    new, failures, counts = "k3y-of-the-shop-9999", list[str](), {SHOP: 0, "k3y-of-the-shop-9999": 0}
    current, stop, lock = [SHOP], threading.Event(), threading.Lock()

    def http() -> None:
        with httpx.Client(base_url=guarded.server.url, timeout=30) as client:
            while not stop.is_set():
                key = current[0]
                answer = client.post("/v1/predict", json={"customer_id": "1"}, headers={"x-api-key": key})
                noted(key, "" if answer.status_code == 200 else answer.text)

    def rpc() -> None:
        with grpc.insecure_channel(guarded.server.grpc) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
            while not stop.is_set():
                key = current[0]
                try:
                    call(b"", metadata=(("authorization", f"Bearer {key}"),), timeout=30)
                    noted(key)
                except grpc.RpcError as error:
                    noted(key, str(error))

    def noted(key: str, failed: str = "") -> None:
        with lock:
            counts[key] += 1
            if failed:
                failures.append(failed)

    def taken(key: str) -> bool:
        answer = httpx.get(f"{guarded.server.url}/v1/models", headers={"x-api-key": key})
        return answer.status_code == 200

    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(one) for one in (http, http, rpc, rpc)]
        try:
            until(lambda: counts[SHOP] > 200)
            guarded.swap(f"{KEYS}shop={new}\n")
            until(lambda: taken(new))
            current[0] = new
            until(lambda: counts[new] > 200)
            guarded.swap(f"shop={new}\nother={OTHER}\n")
            until(lambda: not taken(SHOP))
            before = counts[new]
            until(lambda: counts[new] > before + 200)
        finally:
            stop.set()
        for one in running:
            one.result(60)
    guarded.swap(KEYS)
    until(lambda: taken(SHOP))
    assert failures == []
    assert guarded.counted("holdfast_keys_stale") == 0


def test_a_broken_file_is_told_and_the_former_keys_hold(guarded: Guarded) -> None:
    guarded.swap("shop")
    until(lambda: guarded.counted("holdfast_keys_stale") == 1)
    assert httpx.get(f"{guarded.server.url}/v1/models", headers={"x-api-key": SHOP}).status_code == 200
    guarded.swap(KEYS)
    until(lambda: guarded.counted("holdfast_keys_stale") == 0)
