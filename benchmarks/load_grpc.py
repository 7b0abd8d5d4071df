"""gRPC calls of the load generator: messages as bytes, over connections of their own."""

from __future__ import annotations

import grpc
import grpc.aio

from benchmarks.plan import Request

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def clients(host: str, port: int, count: int, channels: int) -> list[Grpc]:
    """So many clients, spread over so many connections."""
    there = [grpc.aio.insecure_channel(f"{host}:{port}", options=_OPTIONS) for _ in range(min(count, channels))]
    return [Grpc(there[number % len(there)]) for number in range(count)]


class Grpc:
    """One call at a time on a connection that others may use too."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    async def ask(self, request: Request) -> tuple[str, bytes, bytes]:
        """See `load.Client`; the head is the name of what went wrong, and `retry-after` if it was told."""
        call = self.calls.get(request.method)
        if call is None:
            call = self.calls[request.method] = self.channel.unary_unary(request.method)
        try:
            return "OK", b"", bytes(await call(request.wire))
        except grpc.aio.AioRpcError as error:
            told = error.trailing_metadata() or ()
            head = b"".join(f"\r\n{name}: {value!r}".encode() for name, value in told)
            return error.code().name, head, b""

    async def close(self) -> None:
        """See `load.Client`."""
        await self.channel.close()
