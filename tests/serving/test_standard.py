"""Health and reflection, and the gRPC port itself, for bytes that no client of gRPC's would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from benchmarks.hostile_calls import frame
from cli.workspace import Workspace
from tests.serving.test_rpc import Client, Served, made, served

SECONDS = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
HEALTH, REFLECTION = "/grpc.health.v1.Health", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture(scope="module")
def shop(cdnow: Workspace) -> Iterator[tuple[Served, Client]]:
    """A server and a client of it."""
    with served(made(cdnow)) as both:
        yield both


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK's literal (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def headers(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """The frame that begins a call."""
    told = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    told += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]
    return frame(1, 4, 1, b"".join(literal(*header) for header in told))


def sent(port: int, *data: bytes) -> bytes:
    """What comes back, until the call has ended or the server closes."""
    told = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        client.sendall(PREFACE + b"".join(data))
        while b"grpc-status" not in told and (got := client.recv(65_536)):
            told += got
    return told


@pytest.mark.parametrize("method", [f"{HEALTH}/Check", f"{HEALTH}/Watch", REFLECTION])
@pytest.mark.parametrize("body", [b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\xff" * 20])
def test_bytes_that_are_no_message_are_an_invalid_argument(
    method: str, body: bytes, shop: tuple[Served, Client], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        for _ in shop[1].channel.stream_stream(method)(iter([body]), timeout=SECONDS):
            pass
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not caplog.records


def test_reflection_goes_on_after_a_question_it_cannot_answer(shop: tuple[Served, Client]) -> None:
    ask = shop[1].channel.stream_stream(
        REFLECTION, reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )  # fmt: skip
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="nothing.Here"),
        reflection_pb2.ServerReflectionRequest(),
        reflection_pb2.ServerReflectionRequest(list_services=""),
    ]
    told = list(ask(iter(asked), timeout=SECONDS))
    assert [one.WhichOneof("message_response") for one in told[:2]] == ["error_response"] * 2
    assert len(told[2].list_services_response.service) == 4


@pytest.mark.parametrize("path", [b"/a.b/\xd0c", b"/\xff\xfe", b"\xc3\x28", b"/a.b/c"])
def test_a_method_that_is_no_text_does_not_end_the_server(path: bytes, shop: tuple[Served, Client]) -> None:
    """grpcio 1.84 to 1.85.1 would close the port."""
    assert b"grpc-status" in sent(shop[0].port, headers(path), frame(0, 1, 1, bytes(5)))
    assert shop[1].status() == "SERVING"
    assert b"grpc-status\x0212" in sent(shop[0].port, headers(b"/a.b/c"), frame(0, 1, 1, bytes(5)))


def test_metadata_that_is_no_text_is_passed_over(shop: tuple[Served, Client]) -> None:
    path = f"/{shop[1].service}/GetModel".encode()
    told = sent(shop[0].port, headers(path, (b"x-request-id", b"\xff\xfe")), frame(0, 1, 1, bytes(5)))
    assert b"grpc-status\x010" in told


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
def test_a_message_that_says_it_is_huge_is_not_waited_for(size: int, shop: tuple[Served, Client]) -> None:
    path = f"/{shop[1].service}/GetModel".encode()
    told = sent(shop[0].port, headers(path), frame(0, 1, 1, b"\0" + size.to_bytes(4, "big")))
    assert b"grpc-status" in told
    assert b"grpc-status\x010" not in told


def test_a_flood_of_pings_is_hung_up_on(shop: tuple[Served, Client]) -> None:
    with socket.create_connection(("127.0.0.1", shop[0].port), timeout=SECONDS) as client:
        client.sendall(PREFACE + frame(6, 0, 0, bytes(8)) * 1_000)
        told = b""
        while got := client.recv(65_536):
            told += got
    assert b"too_many_pings" in told
    assert shop[1].status() == "SERVING"


def test_more_headers_than_the_limit_are_refused(shop: tuple[Served, Client]) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        shop[1].health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS, metadata=[("x-much", "y" * 100_000)])
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert shop[1].status() == "SERVING"
