"""HTTP connections of a real server with clients that say too little, too much, or nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.server import Server, serve
from cli.workspace import Workspace
from serving.core import Core
from serving.errors import NotReady
from serving.http import Front
from serving.keys import Keys
from serving.openapi import document
from tests.serving.test_rpc import made

MOST = 20
PATIENCE = 30.0
"""Seconds after which a test gives up: the server's own limits are below two."""
LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"


@pytest.fixture(scope="module")
def server(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience and room for few."""
    limits = {
        "HOLDFAST_MAX_HEAD_MS": "500",
        "HOLDFAST_MAX_BODY_MS": "500",
        "HOLDFAST_MAX_CONNECTIONS": str(MOST),
        "HOLDFAST_KEEP_ALIVE_S": "1",
    }
    log: Path = tmp_path_factory.mktemp("connection") / "log"
    with serve({"HOLDFAST_USECASE": cdnow.usecase.name, **limits}, log=log) as server:
        yield server
    assert "Traceback" not in log.read_text()
    assert "Invalid HTTP" not in log.read_text()
    assert "upgrade" not in log.read_text()


def opened(server: Server) -> socket.socket:
    """A connection."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def answers(server: Server, *sent: bytes, whole: bool = False) -> bytes:
    """What comes back until the server closes; without `whole` the client stops sending where it is refused."""
    with opened(server) as client:
        try:
            for data in sent:
                client.sendall(data)
        except OSError:
            assert not whole
        return read(client)


def read(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    told = b""
    try:
        while data := client.recv(65_536):
            told += data
    except ConnectionResetError:
        pass  # it did not wait for the rest of what we sent
    return told


def drips(client: socket.socket) -> bool:
    """Send letter after letter; whether the server hung up."""
    started = time.monotonic()
    try:
        while time.monotonic() - started < PATIENCE:
            client.sendall(b"x")
            time.sleep(0.02)  # this is what a slow client does
    except OSError:
        return True
    return False


def closed(server: Server, reason: str) -> float:
    """How many connections the server has closed for that."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return next(
        s.value for s in samples if s.name == "holdfast_connections_closed_total" and s.labels == {"reason": reason}
    )


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"", b"", "silent"),
        (b"\r\n\r\n", b"", "silent"),
        (b"G", b"408", "slow"),
        (LIVE + b"x-half: ", b"408", "slow"),
        (LIVE + b"\r\n" + b"GET /", b"200", "slow"),
    ],
)
def test_who_does_not_say_what_he_wants_is_hung_up_on(sent: bytes, status: bytes, reason: str, server: Server) -> None:
    before = closed(server, reason)
    assert answers(server, sent)[9:12] == status
    assert closed(server, reason) == before + 1


def test_a_connection_that_idles_is_hung_up_on(server: Server) -> None:
    assert answers(server, LIVE + b"\r\n")[9:12] == b"200"  # and then the server closes, long before 75 s


def test_a_head_that_comes_letter_by_letter_is_not_waited_for(server: Server) -> None:
    with opened(server) as client:
        assert drips(client)


def test_a_body_that_nobody_asked_for_is_not_read_for_ever(server: Server) -> None:
    before = closed(server, "slow")
    with opened(server) as client:
        client.sendall(b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert drips(client)
    assert closed(server, "slow") == before + 1


@pytest.mark.parametrize("body", [b"", b'{"customer_id":"1"'])
@pytest.mark.parametrize("head", [b"content-length: 100\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n50\r\n"])
def test_a_body_that_does_not_come_is_408(head: bytes, body: bytes, server: Server) -> None:
    told = answers(server, b"POST /v1/predict HTTP/1.1\r\nhost: x\r\n" + head + body)
    assert told.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nconnection: close\r\n" in told
    assert b"\r\ncontent-type: application/problem+json\r\n" in told
    assert b"0.5 s" in told


def test_a_body_that_comes_letter_by_letter_is_408(server: Server) -> None:
    with opened(server) as client:
        client.sendall(POST.replace(b"100", b"100000"))
        assert drips(client)
        assert read(client)[9:12] in (b"408", b"")  # nothing where the reset overtook it


def test_a_body_that_takes_its_time_is_read(server: Server) -> None:
    body = b'{"customer_id":"1"}'
    with opened(server) as client:
        client.sendall(POST.replace(b"100", b"%d" % len(body)) + body[:5])
        time.sleep(0.15)  # longer than it takes to be noticed
        client.sendall(body[5:] + LIVE + b"connection: close\r\n\r\n")
        assert read(client).count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("parts", [1, 100])
def test_a_head_without_end_is_refused(parts: int, server: Server) -> None:
    before = closed(server, "head")
    line = b"x-more: " + b"y" * 1_000 + b"\r\n"
    told = answers(server, LIVE, *[line * (100 // parts)] * parts)
    assert told[9:12] in (b"431", b"")  # nothing where the reset overtook it
    assert closed(server, "head") == before + 1


@pytest.mark.parametrize("size", [66_000, 75_000, 97_000])
def test_a_header_beyond_64_kb_is_refused(size: int, server: Server) -> None:
    told = answers(server, LIVE, b"x-more: " + b"y" * size + b"\r\n", b"connection: close\r\n\r\n")
    assert told[9:12] in (b"431", b"")


def test_a_head_of_30_kb_is_read(server: Server) -> None:
    line = b"x-more: " + b"y" * 1_000 + b"\r\n"
    assert answers(server, LIVE, *[line] * 29, b"connection: close\r\n\r\n", whole=True)[9:12] == b"200"


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        POST.replace(b"100", b"-1"),
        POST.replace(b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\n"),
        POST.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"),
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused_without_a_line_in_the_log(sent: bytes, server: Server) -> None:
    before = closed(server, "malformed")
    assert answers(server, sent)[9:12] == b"400"
    assert closed(server, "malformed") == before + 1


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
@pytest.mark.parametrize(
    "body", [b"content-length: 19\r\n\r\n%b", b"transfer-encoding: chunked\r\n\r\n13\r\n%b\r\n0\r\n\r\n"]
)
def test_an_offer_of_another_protocol_is_passed_over(protocol: bytes, body: bytes, server: Server) -> None:
    """Java's HttpClient begins with one, whatever it sends."""
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: " + protocol + b"\r\n"
    request = head + body % b'{"customer_id":"1"}'
    told = answers(server, request * 2, LIVE + b"connection: close\r\n\r\n", whole=True)
    assert told.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert told.count(b'"customer_id":"1"') == 2


def test_many_offers_at_once_are_no_recursion(server: Server) -> None:
    offer = b"GET /livez HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    told = answers(server, offer * 2_000, LIVE + b"connection: close\r\n\r\n", whole=True)
    assert told.count(b"HTTP/1.1 200 OK\r\n") == 2_001


def test_trailers_are_no_headers(server: Server) -> None:
    body = b'13\r\n{"customer_id":"1"}\r\n0\r\nx-request-id: trailed\r\ncontent-type: text/plain\r\n\r\n'
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    told = answers(server, head + body, LIVE + b"connection: close\r\n\r\n", whole=True)
    assert told.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert b"trailed" not in told


def test_a_flood_of_connections_leaves_room_for_a_probe(server: Server) -> None:
    before = closed(server, "full")
    with httpx.Client(base_url=server.url) as busy:
        flood = [opened(server) for _ in range(2 * MOST)]
        try:
            for client in flood[MOST:]:
                client.sendall(POST + b"{")
            assert busy.get("/readyz").status_code == 200
            assert httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}).status_code == 200
            assert closed(server, "full") >= before + MOST
        finally:
            for client in flood:
                client.close()


def test_a_flood_of_probes_is_answered_by_a_few_looks(cdnow: Workspace) -> None:
    class Slow(Core):
        looks = 0

        def ready(self) -> dict[str, Any]:
            Slow.looks += 1
            time.sleep(0.05)  # a store far away
            if Slow.looks == 2:
                raise NotReady("no", ["not now"])
            return super().ready()

    core = made(cdnow, Slow)
    front = Front(httpx.ASGITransport, lambda: core, document, core.settings, Keys(core.settings))  # type: ignore[arg-type]  # nothing is behind it

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://x") as client:
            rounds = [await asyncio.gather(*(client.get("/readyz") for _ in range(100))) for _ in range(3)]
        await core.close(1)
        return [answer.status_code for answers in rounds for answer in answers]

    assert asyncio.run(ask()) == [200] * 100 + [503] * 100 + [200] * 100
    assert Slow.looks == 3


def test_who_does_not_take_his_answers_is_hung_up_on(server: Server) -> None:
    before = closed(server, "untaken")
    body = b'{"columns":{"customer_id":[%b]}}' % b",".join([b'"1"'] * 10_000)
    request = b"POST /v1/predict/bulk HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(PATIENCE)
        host, _, port = server.url.removeprefix("http://").partition(":")
        client.connect((host, int(port)))
        client.sendall(request * 4)
        started = time.monotonic()
        while closed(server, "untaken") == before and time.monotonic() - started < PATIENCE:
            time.sleep(0.05)
    assert closed(server, "untaken") == before + 1
