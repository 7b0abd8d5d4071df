"""The certificate that HTTP and gRPC show, when there is one."""

from __future__ import annotations

import ssl
from typing import TypedDict

import grpc

from settings import PREFIX, Settings, SettingsError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: those with forward secrecy and authentication at once (RFC 9325, section 4.2). TLS 1.3 has no others."""


class HTTPS(TypedDict, total=False):
    """How BentoML is told."""

    enabled: bool
    certfile: str
    keyfile: str
    ciphers: str


def check(settings: Settings) -> HTTPS:
    """What BentoML has to know: nothing without a certificate.

    Raises:
        SettingsError: if there is a certificate without its key or the other way round, or they cannot be used.
    """
    cert, key = settings.tls_cert, settings.tls_key
    if cert is None and key is None:
        return {}
    if cert is None or key is None:
        there, missing = ("KEY", "CERT") if cert is None else ("CERT", "KEY")
        raise SettingsError(f"{PREFIX}TLS_{there} is set and {PREFIX}TLS_{missing} is not: TLS needs both")
    for name, path in (("CERT", cert), ("KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{PREFIX}TLS_{name}={path} cannot be read: {error.strerror}") from None
    try:
        # without a password, or else a key that has one would be asked for at a terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            f"{PREFIX}TLS_CERT={cert} and {PREFIX}TLS_KEY={key} are no certificate and its key, in PEM and without a "
            f"password: {error.reason or error}"
        ) from None
    return {"enabled": True, "certfile": str(cert.absolute()), "keyfile": str(key.absolute()), "ciphers": CIPHERS}


def credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """For gRPC; None without a certificate."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return grpc.ssl_server_credentials([(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())])
