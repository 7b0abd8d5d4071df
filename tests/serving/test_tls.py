"""HTTP and gRPC over TLS, and what browsers are told: a real server with a certificate, keys and one allowed origin."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.server import Server, ServerError, serve
from cli.workspace import Workspace
from serving.tls import Certificate
from settings import Settings, SettingsError

KEY = "k3y-of-the-shop-0001"
PAGE, OTHER = "https://shop.example", "https://elsewhere.example"
HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """One with the authority that signed it, in one file, and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    cert.write_bytes(b"".join([*(part.bytes() for part in made.cert_chain_pems), authority.cert_pem.bytes()]))
    made.private_key_pem.write_to_path(key)
    return cert, key


@dataclass(frozen=True)
class Secure:
    """A server with a certificate."""

    server: Server
    cert: Path
    key: Path

    def client(self) -> httpx.Client:
        """One that knows the certificate, and has no key."""
        return httpx.Client(base_url=self.server.url, verify=ssl.create_default_context(cafile=str(self.cert)))


@pytest.fixture(scope="module")
def secure(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """cdnow's champion behind TLS and a key."""
    home = tmp_path_factory.mktemp("tls")
    cert, key = certificate(home, "server")
    environ = {
        "HOLDFAST_USECASE": cdnow.usecase.name,
        "HOLDFAST_TLS_CERT": str(cert),
        "HOLDFAST_TLS_KEY": str(key),
        "HOLDFAST_API_KEYS": f"shop={KEY}",
        "HOLDFAST_CORS_ORIGINS": PAGE,
    }
    with serve(environ, log=home / "serve.log") as server:
        yield Secure(server, cert, key)


def test_http_and_grpc_speak_tls_and_nothing_else(secure: Secure) -> None:
    with secure.client() as client:
        asked = client.post("/v1/predict", json={"customer_id": "1"}, headers={"x-api-key": KEY})
        assert asked.status_code == 200
        assert asked.headers["strict-transport-security"].startswith("max-age=")
    with pytest.raises(httpx.TransportError):
        httpx.get(secure.server.url.replace("https:", "http:") + "/livez")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{secure.server.url}/livez")
    trusted = grpc.ssl_channel_credentials(secure.cert.read_bytes())
    probe = health_pb2.HealthCheckRequest()
    with grpc.secure_channel(secure.server.grpc, trusted) as channel:
        found = health_pb2_grpc.HealthStub(channel).Check(probe, timeout=20).status
        assert found == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with_key = grpc.composite_channel_credentials(trusted, grpc.access_token_call_credentials(KEY))
    with grpc.secure_channel(secure.server.grpc, with_key) as channel:  # gRPC's own way to send a token
        assert channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")(b"", timeout=20)
    with grpc.insecure_channel(secure.server.grpc) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(probe, timeout=5)
    assert "andshake" not in (secure.cert.parent / "serve.log").read_text()  # one line for each would fill a disk


def test_only_ciphers_with_forward_secrecy_are_spoken(secure: Secure) -> None:
    host, port = secure.server.url.removeprefix("https://").split(":")
    for version, weak in ((ssl.TLSVersion.TLSv1_2, "AES256-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA"), (None, "")):
        context = ssl.create_default_context(cafile=str(secure.cert))
        if version is not None:
            context.maximum_version = version
            context.set_ciphers(weak)
            with pytest.raises(ssl.SSLError):
                _connect(context, host, int(port))
            context.set_ciphers("ECDHE+AESGCM")
        assert _connect(context, host, int(port)) == ("TLSv1.3" if version is None else "TLSv1.2")


def _connect(context: ssl.SSLContext, host: str, port: int) -> str | None:
    with socket.create_connection((host, port)) as raw, context.wrap_socket(raw, server_hostname=host) as connection:
        return connection.version()


def test_a_renewed_certificate_is_shown_without_a_restart(secure: Secure) -> None:
    host, port = secure.server.url.removeprefix("https://").split(":")
    directory = secure.cert.parent
    new, new_key = certificate(directory, "new")

    def shown() -> list[bool]:
        """Whether HTTP and gRPC show the new one."""
        pem = ssl.get_server_certificate((host, int(port)))
        trusted = grpc.ssl_channel_credentials(new.read_bytes())
        with grpc.secure_channel(secure.server.grpc, trusted, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
            except grpc.RpcError:
                return [pem.strip() in new.read_text(), False]
        return [pem.strip() in new.read_text(), True]

    def stale() -> bool:
        return "holdfast_certificate_stale 1.0" in httpx.get(f"http://{secure.server.metrics}/metrics").text

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    before = secure.cert.read_bytes(), secure.key.read_bytes()
    assert shown() == [False, False]
    secure.cert.write_bytes(new.read_bytes())  # without its key
    until(stale)
    assert shown() == [False, False]
    secure.key.write_bytes(new_key.read_bytes())
    until(lambda: shown() == [True, True])
    assert not stale()
    secure.cert.write_bytes(before[0])
    secure.key.write_bytes(before[1])
    until(lambda: shown() == [False, False] and not stale())


def test_the_metrics_port_stays_plain(secure: Secure) -> None:
    assert "holdfast_ready 1.0" in httpx.get(f"http://{secure.server.metrics}/metrics").text


@pytest.mark.parametrize("path", ["/", "/schema.json", "/static_content/swagger-ui.css", "/livez", "/healthz", "/no"])
@pytest.mark.parametrize("key", ["", KEY])
def test_every_answer_carries_the_headers_for_browsers(path: str, key: str, secure: Secure) -> None:
    with secure.client() as client:
        answer = client.get(path, headers={"x-api-key": key} if key else {})
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    (policy,) = answer.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert ("script-src" in policy) == (path == "/" and bool(key))


def test_the_page_may_run_its_own_script_and_no_other(secure: Secure) -> None:
    with secure.client() as client:
        page = client.get("/", headers={"x-api-key": KEY})
    (script,) = re.findall(r"<script>(.*?)</script>", page.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = re.search(r"script-src ([^;]*);", page.headers["content-security-policy"])
    assert found
    assert found[1].split() == ["'self'", f"'sha256-{digest}'"]


def test_a_page_of_an_allowed_origin_may_ask_and_no_other(secure: Secure) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, x-request-id"}
    with secure.client() as client:
        for origin, allowed in ((PAGE, True), (OTHER, False)):
            before = client.options("/v1/predict", headers={"origin": origin, **ask})
            assert before.status_code == (200 if allowed else 400)
            assert before.headers["x-frame-options"] == "DENY"
            body, key = {"customer_id": "1"}, {"authorization": f"Bearer {KEY}"}
            answers = [client.post("/v1/predict", json=body, headers={"origin": origin, **own}) for own in (key, {})]
            assert [one.status_code for one in answers] == [200, 401]
            for answer in (before, *answers):
                assert answer.headers.get("access-control-allow-origin") == (PAGE if allowed else None)
            told = answers[0].headers.get("access-control-expose-headers", "")
            assert set(told.split(", ")) == {"x-request-id", "retry-after", "traceparent"} or not allowed


def test_without_the_setting_no_origin_is_allowed(cdnow_http: httpx.Client) -> None:
    ask = {"origin": PAGE, "access-control-request-method": "POST"}
    answers = [cdnow_http.options("/v1/predict", headers=ask), cdnow_http.get("/livez", headers={"origin": PAGE})]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "strict-transport-security" not in answer.headers
        assert answer.headers["x-frame-options"] == "DENY"


def test_what_cannot_be_a_certificate_and_its_key_is_told_at_start(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "one")
    _, other = certificate(tmp_path, "other")
    locked = tmp_path / "locked.key"
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked.write_bytes(secret.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    for given, told in {
        (cert, None): "HOLDFAST_TLS_CERT is set and HOLDFAST_TLS_KEY is not",
        (None, key): "HOLDFAST_TLS_KEY is set and HOLDFAST_TLS_CERT is not",
        (tmp_path / "none", key): "HOLDFAST_TLS_CERT=.*none cannot be read: No such file",
        (cert, tmp_path): "HOLDFAST_TLS_KEY=.* cannot be read: Is a directory",
        (cert, other): "KEY_VALUES_MISMATCH",
        (key, cert): "are no certificate and its key",
        (cert, locked): "without a password",
    }.items():
        with pytest.raises(SettingsError, match=told):
            Certificate(Settings(tls_cert=given[0], tls_key=given[1]))
    assert Certificate(Settings()).https == {}
    assert Certificate(Settings(tls_cert=cert, tls_key=key)).https["enabled"]


def test_a_server_that_cannot_speak_tls_or_read_its_keys_does_not_start(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "one")
    for environ, told in (
        ({"HOLDFAST_TLS_CERT": str(cert)}, "TLS needs both"),
        ({"HOLDFAST_API_KEYS": "a=short-one"}, "HOLDFAST_API_KEYS, line 1: a key has 16"),
    ):
        with pytest.raises(ServerError) as refused, serve(environ, log=tmp_path / "log"):
            pass
        assert told in str(refused.value)
        assert "short-one" not in str(refused.value)
