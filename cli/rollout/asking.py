"""A client of a service that is checked: HTTP and gRPC, with a key and over TLS where the service asks for them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from serving.proto import Protocol
from settings import HoldfastError
from usecases import UseCase

SECONDS = 10.0
"""How long one answer may take."""
Row = Mapping[str, Any]


class AskError(HoldfastError, RuntimeError):
    """A service did not answer, or not with what was asked for."""


@dataclass(frozen=True)
class Answered:
    """Of one row: the exact probability and the decision."""

    probability: float
    decision: str


@dataclass(frozen=True)
class Trust:
    """Certificates that are believed, as PEM, and the name to look for in the server's instead of its address; "" looks
    for the address."""

    roots: bytes
    name: str = ""

    @staticmethod
    def of(url: httpx.URL, cacert: Path | None, insecure: bool) -> Trust | None:
        """What to believe of an https:// URL; None is the system's certificates.

        The server's own certificate in `cacert` is believed whatever names are in it, as a Service's seldom is; so is
        with `insecure` whichever one is shown.

        Raises:
            AskError: if the file cannot be read, or the server shows none.
        """
        if cacert is None and not insecure:
            return None
        try:
            roots = b"" if cacert is None else cacert.read_bytes()
            shown = ssl.get_server_certificate((url.host, url.port or 443), timeout=SECONDS)
        except OSError as error:
            raise AskError(f"{cacert or url}: no certificate can be read: {error}") from None
        if insecure or _body(shown) in _body(roots.decode("ascii", "replace")):
            return Trust(shown.encode(), _name(shown, url))
        return Trust(roots)

    def context(self) -> ssl.SSLContext:
        """The same for HTTP."""
        context = ssl.create_default_context(cadata=self.roots.decode())
        if self.name:
            context.check_hostname = False  # it is the very certificate that is believed
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


class Service:
    """A running service."""

    def __init__(self, http: httpx.Client, channel: grpc.Channel | None, key: str | None) -> None:
        self._http, self._channel = http, channel
        self._metadata = (("x-api-key", key),) if key else ()

    def get(self, path: str) -> httpx.Response:
        """What a path answers, whatever the status.

        Raises:
            AskError: if nothing does.
        """
        try:
            return self._http.get(path)
        except httpx.HTTPError as error:
            raise AskError(f"{self._http.base_url}: {error or type(error).__name__}") from None

    def over_http(self, usecase: UseCase, rows: Sequence[Row]) -> list[Answered]:
        """Answers to rows; a single one is asked for as such.

        Raises:
            AskError: if one has none.
        """
        path, body = ("/v1/predict", rows[0]) if len(rows) == 1 else ("/v1/predict/bulk", {"rows": rows})
        try:
            answer = self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise AskError(f"{path}: {error or type(error).__name__}") from None
        if answer.status_code != 200:
            raise AskError(f"{path} of {usecase.name}: {answer.status_code} {answer.text[:500]}")
        told = answer.json()
        if told.get("errors"):
            raise AskError(f"{path} refuses {len(told['errors'])} of {len(rows)} rows: {str(told['errors'][0])[:500]}")
        found = [told] if len(rows) == 1 else told["predictions"]
        return [Answered(one["probability"], one["decision"]) for one in found]

    def over_grpc(self, usecase: UseCase, rows: Sequence[Row]) -> list[Answered]:
        """The same over gRPC."""
        assert self._channel is not None  # noqa: S101  # nobody asks who gave no address
        protocol = Protocol(usecase)
        method, kind, answer, fields = (
            ("Predict", "PredictRequest", "Prediction", rows[0])
            if len(rows) == 1
            else ("PredictBulk", "PredictBulkRequest", "PredictBulkResponse", {"rows": rows})
        )
        request, response = protocol.message(kind), protocol.message(answer)
        call = self._channel.unary_unary(
            f"/{protocol.service}/{method}", request.SerializeToString, response.FromString
        )
        try:
            told = call(request(**fields), timeout=SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            raise AskError(f"{method} over gRPC: {error.code().name}: {error.details()}") from None
        if len(rows) > 1 and told.errors:
            raise AskError(f"{method} over gRPC refuses {len(told.errors)} of {len(rows)} rows: {told.errors[0]}")
        found = [told] if len(rows) == 1 else told.predictions
        return [Answered(one.probability, one.decision) for one in found]


@contextmanager
def service(url: str, address: str | None, key: str | None, cacert: Path | None, insecure: bool) -> Iterator[Service]:
    """The service at a URL, and over gRPC at HOST:PORT, which speaks TLS where the URL does.

    Raises:
        AskError: if the URL is none, or its certificate cannot be had.
    """
    at = httpx.URL(url)
    if at.scheme not in ("http", "https") or not at.host:
        raise AskError(f"{url!r} is no http://HOST:PORT or https://HOST:PORT")
    trust = Trust.of(at, cacert, insecure) if at.scheme == "https" else None
    headers = {"x-api-key": key} if key else {}
    verify = True if trust is None else trust.context()
    with ExitStack() as stack:
        http = stack.enter_context(
            httpx.Client(base_url=at, headers=headers, verify=verify, timeout=SECONDS, trust_env=False)
        )
        channel = None
        if address is not None:
            channel = stack.enter_context(_channel(address, at.scheme == "https", trust))
        yield Service(http, channel, key)


def _channel(address: str, secure: bool, trust: Trust | None) -> grpc.Channel:
    if not secure:
        return grpc.insecure_channel(address)
    credentials = grpc.ssl_channel_credentials(None if trust is None else trust.roots)
    named = [("grpc.ssl_target_name_override", trust.name)] if trust is not None and trust.name else []
    return grpc.secure_channel(address, credentials, named)


def _name(shown: str, url: httpx.URL) -> str:
    """A name that is in the certificate that is shown."""
    context = Trust(shown.encode(), url.host).context()
    at = (url.host, url.port or 443)
    with socket.create_connection(at, SECONDS) as plain, context.wrap_socket(plain, server_hostname=url.host) as open_:
        told: Any = open_.getpeercert()
    return next((name for _, name in told.get("subjectAltName", ())), url.host)


def _body(pem: str) -> str:
    """Certificates without line ends."""
    return "".join(pem.split())
