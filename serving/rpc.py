"""The gRPC face: its services beside health and reflection, and what becomes of every call.

A client sends x-request-id and traceparent as metadata and gets them back in the trailing metadata. An error has its
code, and there its whole problem (RFC 9457) as JSON in `holdfast-problem-bin`; with `retry-after` (seconds) and
`grpc-retry-pushback-ms` where asking again may help.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from serving import metrics, standard
from serving.answers import encode
from serving.call import Call
from serving.core import Core
from serving.errors import Failed, Late, RequestError
from serving.inference import Grpc
from serving.keys import Keys
from serving.logs import Access
from serving.tls import Certificate
from serving.typed import Typed
from settings import SettingsError

log = logging.getLogger("holdfast.serving")

PROBLEM = "holdfast-problem-bin"
PROBLEM_BYTES, DETAIL_LETTERS = 4_500, 300
"""What an error may take of the 8 KB of metadata that clients read: the problem is sent as 4/3 of its bytes (base64), a
letter of the detail as up to 9."""
PROBE = 1.0
"""Seconds between two looks at whether the core is ready."""
STREAMS = 1_000
"""Most calls at once on one connection; a client makes the others wait."""
GRACE_MS = 5_000
"""Beside the longest deadline, what a connection that is told to go has for its last answers."""

_SERVING, _NOT_SERVING = (health_pb2.HealthCheckResponse.ServingStatus.Value(v) for v in ("SERVING", "NOT_SERVING"))
_IN_FLIGHT = metrics.IN_FLIGHT.labels("grpc")
OPEN = frozenset(
    f"/{service}/{method}"
    for service, methods in (
        ("grpc.health.v1.Health", ("Check", "Watch")),
        ("inference.GRPCInferenceService", ("ServerLive", "ServerReady")),
    )
    for method in methods
)
"""Methods that ask for no key: probes."""
Method = Callable[[bytes, Call], Awaitable[tuple[bytes, str]]]
"""From a request's bytes to the answer's, and the outcome: ok or partial."""


class Service(Protocol):
    """A service that is served."""

    @property
    def name(self) -> str:
        """Its full name."""

    @property
    def files(self) -> Sequence[bytes]:
        """What describes it: serialized FileDescriptorProtos, each after those that it needs."""

    def methods(self) -> Mapping[str, Method]:
        """By the method's name."""


class Rpc:
    """The gRPC server of a core, in the running loop.

    Args:
        port: to listen on; None is the setting's. keys, certificate: in force; None are the settings'.
    """

    def __init__(
        self, core: Core, port: int | None = None, keys: Keys | None = None, certificate: Certificate | None = None
    ) -> None:
        self.core, self.keys = core, keys or Keys(core.settings)
        self.certificate = certificate or Certificate(core.settings)
        self.services: tuple[Service, ...] = (Typed(core), Grpc(core))
        self.port = core.settings.grpc_port if port is None else port
        self._health, self._access = standard.Health(), Access(core.settings.access_log)
        self._routes = {f"/{service.name}/{name}" for service in self.services for name in service.methods()}
        self._server: Any = None
        self._probe: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen, and say on which port.

        Raises:
            SettingsError: if that port is taken or the address is none of this machine's.
        """
        settings = self.core.settings
        self._server = grpc.aio.server(
            interceptors=[_Guard(self.keys, self._refusing)] if self.keys.on else (),
            options=[
                ("grpc.so_reuseport", 0),  # or else two servers share a port, and nobody is told
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),  # max_rows bounds an answer; it is larger than its request
                ("grpc.max_concurrent_streams", STREAMS),
                ("grpc.max_connection_age_ms", settings.max_connection_age_s * 1_000),
                ("grpc.max_connection_age_grace_ms", settings.max_latency_ms + GRACE_MS),
            ],
        )
        for service in self.services:
            found = service.methods().items()
            handlers = {name: self._handler(f"/{service.name}/{name}", method) for name, method in found}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.name, handlers),))
        files = [file for service in self.services for file in service.files]
        standard.serve(self._server, self._health, [service.name for service in self.services], files)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            credentials = self.certificate.credentials()
            if credentials is None:
                port = int(self._server.add_insecure_port(f"{host}:{self.port}"))
            else:
                port = int(self._server.add_secure_port(f"{host}:{self.port}", credentials))
        except RuntimeError:
            raise SettingsError(
                f"HOLDFAST_GRPC_PORT={self.port}: gRPC cannot listen on {host}:{self.port}; is the port taken? Choose "
                "another, or 0 for no gRPC"
            ) from None
        await self._look()
        await self._server.start()
        self._probe = asyncio.create_task(self._keep_looking())
        return port

    async def drain(self) -> None:
        """Say NOT_SERVING from now on, and go on answering."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more, answer what was accepted, and cancel what is not answered after `grace` seconds."""
        await self.drain()
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        self._health.ended.set()
        if self._server is not None:
            await self._server.stop(grace)

    def _handler(self, route: str, method: Method) -> Any:
        async def handle(data: bytes, context: Any) -> bytes:
            return await self._run(route, method, data, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _refusing(self, method: str) -> Any:
        """A handler of any call to that method: it has no key, and nothing of it is read."""
        route = method if method in self._routes else metrics.OTHER

        async def demand(_: bytes, __: Call) -> tuple[bytes, str]:
            return b"", self.keys.demand({})

        async def refuse(_: Any, context: Any) -> None:
            await self._run(route, demand, b"", context)

        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _run(self, route: str, method: Method, data: bytes, context: Any) -> bytes:
        """One call, whatever becomes of it: its ids, its deadline, its outcome."""
        call = _begin(route, context, self.core.settings.max_latency_ms / 1_000)
        if self.keys.on:
            call.client = self.keys.client(_given(context.invocation_metadata()))
        _IN_FLIGHT.inc()
        outcome, code = "cancelled", "CANCELLED"
        try:
            answer, outcome = await method(data, call)
            code = "OK"
        except RequestError as error:
            outcome, code = error.outcome(), error.code
            self.core.refusing.request(route, error)
            await _refuse(context, call, error)
            raise  # not reached: refusing aborts
        except asyncio.CancelledError:  # by the client, or because its deadline has passed
            if call.deadline is not None and time.monotonic() >= call.deadline:
                outcome, code = Late.outcome(), Late.code
            raise
        except Exception:
            log.exception("request %s failed", call.request_id)
            failed = Failed(f"the service failed; its log says why, under request {call.request_id}")
            outcome, code = failed.outcome(), failed.code
            await _refuse(context, call, failed)
            raise  # likewise
        else:
            context.set_trailing_metadata(_ids(call))
            return answer
        finally:
            _IN_FLIGHT.dec()
            metrics.answered(route, outcome, self.core.tag, call.seconds, call.client)
            self._access(call, outcome, code)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(PROBE)
            await self._look()

    async def _look(self) -> None:
        """Let health say whether the core is ready."""
        status = _SERVING
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.core.ready)
        except RequestError:
            status = _NOT_SERVING
        except Exception:
            log.exception("the core cannot be asked whether it is ready")
            status = _NOT_SERVING
        for name in ("", *(service.name for service in self.services)):
            await self._health.set(name, status)


class _Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # published without types
    """Asks for a key, whatever service is called: our own, reflection and those that are not there."""

    def __init__(self, keys: Keys, refusing: Callable[[str], Any]) -> None:
        self.keys, self.refusing = keys, refusing

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], call: Any) -> Any:
        """What answers the call."""
        if call.method in OPEN or self.keys.client(_given(call.invocation_metadata)):
            return await continuation(call)
        return self.refusing(call.method)


def _begin(route: str, context: Any, longest: float) -> Call:
    given = {"x-request-id": "", "traceparent": ""}
    for name, value in context.invocation_metadata() or ():
        if name in given:
            given[name] = value
    call = Call.begin(route, given["x-request-id"], given["traceparent"])
    left = context.time_remaining()
    if left is not None:
        call.deadline = time.monotonic() + min(left, longest)
    return call


def _given(metadata: Any) -> dict[bytes, bytes]:
    """What may hold a key."""
    return {
        name.encode(): value.encode()
        for name, value in metadata or ()
        if name in ("authorization", "x-api-key") and isinstance(value, str)
    }


def _ids(call: Call) -> tuple[tuple[str, str], ...]:
    return (("x-request-id", call.request_id), ("traceparent", call.traceparent))


async def _refuse(context: Any, call: Call, error: RequestError) -> None:
    told: list[tuple[str, str | bytes]] = [*_ids(call), (PROBLEM, shortened(error.body(call.request_id)))]
    if error.retry_after is not None:
        told.append(("retry-after", str(error.retry_after)))
        told.append(("grpc-retry-pushback-ms", str(error.retry_after * 1_000)))
    await context.abort(grpc.StatusCode[error.code], _cut(error.detail), tuple(told))


def shortened(problem: dict[str, Any]) -> bytes:
    """The problem as JSON of at most `PROBLEM_BYTES`: its first `problems`, and how many were `left_off`."""
    whole = encode(problem)
    if len(whole) <= PROBLEM_BYTES:
        return whole
    bare = {**problem, "detail": _cut(problem["detail"]), "problems": [], "left_off": len(problem["problems"])}
    room = PROBLEM_BYTES - len(encode(bare))
    return encode({**bare, **_first(problem["problems"], room)})


def _first(problems: list[Any], room: int) -> dict[str, Any]:
    """The problems that fit into so many bytes; of a row whose own problems do not, the first of them."""
    kept: list[Any] = []
    for one in problems:
        size = len(encode(one)) + 1
        if size <= room:
            kept.append(one)
            room -= size
            continue
        if not kept and isinstance(one, dict) and "problems" in one:
            bare = {**one, "problems": [], "left_off": len(one["problems"])}
            kept.append({**bare, **_first(one["problems"], room - len(encode(bare)))})
        break
    return {"problems": kept, "left_off": len(problems) - len(kept)}


def _cut(text: str) -> str:
    return text if len(text) <= DETAIL_LETTERS else f"{text[:DETAIL_LETTERS]}..."
