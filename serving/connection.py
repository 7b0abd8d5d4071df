"""HTTP connections: how long a client may take to say what it wants, in how many bytes, and how many connect at once.

uvicorn (0.54) waits for ever for the head of a request, of any size, on any number of connections. `bound` puts this
protocol in the place of its own; no other module knows uvicorn. Of a body's time and size the front takes care.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics
from serving.tls import Certificate
from settings import Settings

HEAD_BYTES = 32_768
"""Request line and headers of so many bytes are read, and of twice as many never."""
LOOK = 1.0
"""Seconds between two looks at all connections: a limit of time is kept that exactly, and costs a request nothing."""


def bound(settings: Settings, certificate: Certificate) -> None:
    """Let the server that is started next in this process hold its connections to the limits."""
    limits = Limits(settings, certificate)
    metrics.CONNECTIONS.set_function(lambda: len(limits.connections))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = type("Bound", (Connection,), {"limits": limits})  # type: ignore[assignment]  # it takes classes too


class Limits:
    """What all connections of a server are held to."""

    def __init__(self, settings: Settings, certificate: Certificate) -> None:
        self._certificate = certificate
        self.most, self.seconds = settings.max_connections, settings.max_head_ms / 1_000
        self.body_seconds, self.keep_alive = settings.max_body_ms / 1_000, settings.keep_alive_s
        self.connections: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def join(self, new: Connection) -> None:
        """One more. If that is too many, the one that has waited longest without a whole request makes room, so that a
        probe or an honest client still gets in; if all are being answered, the new one goes."""
        if self._certificate.https and self._certificate.context is None:  # there is no other way to uvicorn's
            self._certificate.context = new.transport.get_extra_info("sslcontext")
        self.connections = cast(set[Connection], new.connections)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if one.idle and one is not new]
            min(idle, key=lambda one: one.since, default=new).close("full")
        if self._timer is None:
            self._timer = new.loop.call_later(LOOK, self._look, new.loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for one in list(self.connections):
            one.look(now, self.seconds, self.body_seconds)
        self._timer = loop.call_later(LOOK, self._look, loop) if self.connections else None


class Connection(HttpToolsProtocol):
    """One connection.

    Attributes:
        since: when its last request began, or it itself, by the loop's clock. head: whether half a head is there, and
        `more` how many bytes of it, not counting what began behind another request's end. left: bytes of its body that
        are still to come, where the head says how many it has.
    """

    limits: ClassVar[Limits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since, self.head, self.more, self.left = self.loop.time(), False, 0, 0
        self._untaken = (0, 0.0)
        self.timeout_keep_alive = self.limits.keep_alive

    @property
    def idle(self) -> bool:
        """Whether nothing is computed or sent for it."""
        waits = self.cycle is None or self.cycle.response_complete or self.cycle.more_body
        return waits and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """It is there, unless there are too many."""
        super().connection_made(transport)
        self.limits.join(self)

    def data_received(self, data: bytes) -> None:
        """Part of a request, or of several."""
        self._unset_keepalive_if_required()
        if len(data) <= HEAD_BYTES:
            self._feed(data)
            return
        at = 0
        while at < len(data) and not self.transport.is_closing():
            end = at + max(HEAD_BYTES, self.left)  # the rest of a body is no head, and goes in one piece
            self._feed(data[at:end])
            at = end

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.since, self.head, self.more = self.loop.time(), True, 0

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.head = False
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        self.left = int(length) if length.isdigit() and len(length) < 16 else 0
        super().on_headers_complete()
        self.headers = []  # trailers are no headers: whoever checks those before us has not seen them

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        self.left -= len(body)
        super().on_body(body)

    def close(self, reason: str) -> None:
        """Close it, and drop what the client does not take."""
        metrics.CLOSED.labels(reason).inc()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def look(self, now: float, seconds: float, body_seconds: float) -> None:
        """Close it if its client lets us wait for too long."""
        untaken, begun = self.transport.get_write_buffer_size(), now - self.since
        if untaken != self._untaken[0]:
            self._untaken = (untaken, now)
        if untaken:
            if now - self._untaken[1] > seconds:
                self.close("untaken")
        elif begun <= seconds or self.transport.is_closing():
            return
        elif self.head:
            self._refuse("slow", 408, "Request Timeout")
        elif self.cycle is None:
            self.close("silent")
        elif self.cycle.response_complete and self.timeout_keep_alive_task is None and begun > seconds + body_seconds:
            self.close("slow")  # what nobody asked for goes on coming

    def _feed(self, data: bytes) -> None:
        before, size = self.cycle, len(data)
        alone = self.head or before is None or not before.more_body  # or else a body's end is in it too
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as ended:
                data = self._stay(data[ended.args[0] :])
            except httptools.HttpParserError:
                self._refuse("malformed", 400, "Bad Request")
                return
        if self.head and alone and self.cycle is before:
            self.more += size
            if self.more > HEAD_BYTES:
                self._refuse("head", 431, "Request Header Fields Too Large")

    def _should_upgrade(self) -> bool:
        return True  # uvicorn then leaves the request to `_stay`

    def _stay(self, rest: bytes) -> bytes:
        """What is to be read so that a request is answered without its offer to speak another protocol (RFC 9110, 7.8):
        itself without that. The parser passes over the body of such a one, which Java's own client begins with."""
        given = list(self.scope["headers"])
        kept = [(name, value) for name, value in given if name != b"upgrade"]
        if len(kept) == len(given):  # CONNECT
            self._refuse("malformed", 400, "Bad Request")
            return b""
        self.parser = httptools.HttpRequestParser(self)
        line = f"{self.scope['method']} {self.url.decode('latin-1')} HTTP/{self.scope['http_version']}"
        return b"\r\n".join([line.encode("latin-1"), *(b"%b: %b" % header for header in kept), b"", rest])

    def _refuse(self, reason: str, status: int, phrase: str) -> None:
        """Answer what is no request, and close."""
        metrics.CLOSED.labels(reason).inc()
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain\r\ncontent-length: {len(phrase)}\r\n"
            f"connection: close\r\n\r\n{phrase}".encode()
        )
        self.transport.close()
