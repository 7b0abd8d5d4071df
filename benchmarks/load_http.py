"""HTTP/1.1 of the load generator: whole bytes out, and of what comes back no more parsed than where it ends."""

from __future__ import annotations

import asyncio
import re

from benchmarks.plan import Request


class Http(asyncio.Protocol):
    """HTTP/1.1, kept alive; connects again when the server has closed."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[tuple[str, bytes, bytes]] | None = None
        self.buffer, self.head, self.length = bytearray(), b"", -1

    async def ask(self, request: Request) -> tuple[str, bytes, bytes]:
        """See `Client`."""
        loop = asyncio.get_running_loop()
        if self.transport is None or self.transport.is_closing():
            self.transport, _ = await loop.create_connection(lambda: self, self.host, self.port)
        self.waiting = loop.create_future()
        self.transport.write(request.wire)
        return await self.waiting

    async def close(self) -> None:
        """See `Client`."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        """The loop's callback."""
        self.buffer.clear()
        self.length = -1

    def data_received(self, data: bytes) -> None:
        """The loop's callback: whole answers only, told by their content-length."""
        if self.length < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[:end])
            found = _LENGTH.search(self.head)
            if found is None:
                self._fail("an answer without content-length")
                return
            self.length = int(found[1])
            del self.buffer[: end + 4]
        else:
            self.buffer += data
        if len(self.buffer) >= self.length:
            waiting, self.waiting, self.length = self.waiting, None, -1
            body = bytes(self.buffer)
            self.buffer.clear()
            if waiting is not None and not waiting.done():
                waiting.set_result((self.head[9:12].decode(), self.head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's callback."""
        self.transport = None
        self._fail(f"the server closed the connection: {exc}")

    def _fail(self, why: str) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError(why))
        if self.transport is not None:
            self.transport.abort()


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
