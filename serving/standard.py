"""gRPC services that every server has: health and reflection, as grpcio brings them, for messages that are none too.

Theirs end such a call with UNKNOWN and a traceback in the log; here it is INVALID_ARGUMENT, as in our own services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc


class Health(health_aio.HealthServicer):  # type: ignore[misc]  # published without types
    """grpc.health.v1. Watches end when the server stops: it would wait for them, and they for it."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802  # the protocol's name
        watch, ended = asyncio.ensure_future(super().Watch(request, context)), asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait((watch, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            ended.cancel()


def serve(server: Any, health: Health, names: Sequence[str], files: Sequence[bytes]) -> None:
    """Add both to a server.

    Args:
        names: of the other services. files: what describes those, each after what it needs.
    """
    pool, own = DescriptorPool(), (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
    for file in (*files, *(file.serialized_pb for file in own)):
        pool.AddSerializedFile(file)
    services = [name.full_name for file in own for name in file.services_by_name.values()]
    adder = _Adder(server)
    health_pb2_grpc.add_HealthServicer_to_server(health, adder)
    servicer = reflection.aio.ReflectionServicer([*services, *names], pool=pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, adder)


class _Adder:
    """What generated code takes for the server: the handlers that it adds are those of ours around its own."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """They come again by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add those of a service."""
        own = {name: _tolerant(handler) for name, handler in handlers.items()}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, own),))


def _tolerant(handler: Any) -> Any:
    """The same handler, for any bytes."""
    read = handler.request_deserializer

    def deserialize(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return None

    async def one(request: Any, context: Any) -> Any:
        return await (handler.unary_stream or handler.unary_unary)(await _given(request, context), context)

    async def several(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async def given() -> AsyncIterator[Any]:
            async for request in requests:
                yield await _given(request, context)

        async for answer in handler.stream_stream(given(), context):
            yield answer

    make, behaviour = {
        (False, False): (grpc.unary_unary_rpc_method_handler, one),
        (False, True): (grpc.unary_stream_rpc_method_handler, one),
        (True, True): (grpc.stream_stream_rpc_method_handler, several),
    }[handler.request_streaming, handler.response_streaming]
    return make(behaviour, deserialize, handler.response_serializer)


async def _given(request: Any, context: Any) -> Any:
    if request is None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is not of the method's type")
    return request
