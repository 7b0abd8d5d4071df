"""The certificate that HTTP and gRPC show, when there is one."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import TypedDict

import grpc

from serving import metrics
from settings import PREFIX, Settings, SettingsError

log = logging.getLogger("holdfast.serving")
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: those with forward secrecy and authentication at once (RFC 9325, section 4.2). TLS 1.3 has no others."""


class HTTPS(TypedDict, total=False):
    """How BentoML is told."""

    enabled: bool
    certfile: str
    keyfile: str
    ciphers: str


class Certificate:
    """The certificate of the settings and its key, if there are any; `look` reads them again when they were renewed.

    Attributes:
        https: what BentoML has to know; nothing without a certificate. context: of HTTP's connections, from the first
            of them on.

    Raises:
        SettingsError: if there is a certificate without its key or the other way round, or they cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.https: HTTPS = {}
        self.context: ssl.SSLContext | None = None
        self._trouble = ""
        cert, key = settings.tls_cert, settings.tls_key
        if (cert is None) != (key is None):
            there, missing = ("KEY", "CERT") if cert is None else ("CERT", "KEY")
            raise SettingsError(f"{PREFIX}TLS_{there} is set and {PREFIX}TLS_{missing} is not: TLS needs both")
        self._paths: tuple[Path, Path] | None = None
        if cert is None or key is None:
            return
        self._paths = cert.absolute(), key.absolute()
        self._seen, self._shown = _stamp(self._paths), _read(*self._paths)
        self.https = {
            "enabled": True, "certfile": str(self._paths[0]), "keyfile": str(self._paths[1]), "ciphers": CIPHERS
        }  # fmt: skip

    def credentials(self) -> grpc.ServerCredentials | None:
        """For gRPC, which asks again at each handshake; None without a certificate."""
        if self._paths is None:
            return None
        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._configuration)

    def look(self) -> None:
        """Show the renewed certificate from now on; to be called now and then. One that cannot be used changes nothing,
        and is told by the log and a metric."""
        if self._paths is None or self.context is None or (stamp := _stamp(self._paths)) == self._seen:
            return
        cert, key = self._paths
        try:
            shown = _read(cert, key)
            self.context.load_cert_chain(cert, key, password="")
        except (SettingsError, ssl.SSLError, OSError) as error:  # looked at again, should it be half renewed
            metrics.CERTIFICATE_STALE.set(1)
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("TLS: the former certificate is shown, as the new one cannot be used: %s", error)
            return
        self._seen, self._shown, self._trouble = stamp, shown, ""
        metrics.CERTIFICATE_STALE.set(0)
        log.info("TLS: %s was read again", cert)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([self._shown])


def _read(cert: Path, key: Path) -> tuple[bytes, bytes]:
    """The key and the certificate, which belong together."""
    found = []
    for name, path in (("KEY", key), ("CERT", cert)):
        try:
            found.append(path.read_bytes())
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
    return found[0], found[1]


def _stamp(paths: tuple[Path, ...]) -> list[tuple[int, ...]]:
    """What is different as soon as one of the files is another one."""
    try:
        return [(one.st_dev, one.st_ino, one.st_mtime_ns, one.st_size) for one in (path.stat() for path in paths)]
    except OSError:
        return []
