"""What a serving process does beside answering: its ports, its garbage, its log's clock, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import platform
import signal
import sys
from collections.abc import Callable
from importlib import metadata
from types import FrameType

from prometheus_client import start_http_server

from serving import metrics
from serving.core import Core
from serving.keys import Keys
from serving.ports import taken
from serving.rpc import Rpc
from serving.tls import Certificate
from settings import PREFIX, VERSION, Settings, SettingsError

log = logging.getLogger("holdfast.serving")
TICK = 0.5
"""Seconds between two looks at the prediction log's segment and the files of keys and the certificate."""
GRACE = 10.0
"""Seconds that accepted requests have to be answered in when the process ends."""

SWITCH = 0.0005
"""Seconds until a thread that waits for the interpreter gets it. A batch that asks a store's server waits for it
several times; with Python's 5 ms, 16 clients got 1,600 answers a second out of Redis, with this 4,200."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
QUIET = 0.2
"""Seconds in which new gRPC calls are answered UNAVAILABLE, for which clients ask elsewhere: a call that came while the
server itself stops would be told CANCELLED."""


class Process:
    """Around a core: gRPC, the metrics port, and the end of both."""

    def __init__(self, core: Core, settings: Settings, keys: Keys, certificate: Certificate) -> None:
        self.core, self.settings, self.keys, self.certificate = core, settings, keys, certificate
        self.rpc: Rpc | None = None
        self._metrics: Callable[[], None] = lambda: None
        self._ticking: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the ports and leave the collector as little to do as possible.

        Raises:
            SettingsError: if a port that was asked for cannot be had.
        """
        _describe(self.core, self.settings)
        if not self.keys.on and self.settings.host not in LOOPBACK:
            log.warning("everybody who reaches HTTP or gRPC may ask: %sAPI_KEYS is not set", PREFIX)
        self.rpc = await self._grpc()
        self._open_metrics()
        self._ticking = asyncio.create_task(self._tick())
        self._on_signal()
        # Models and modules live as long as the process: a full collection over them took 100 ms and more.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        sys.setswitchinterval(SWITCH)

    async def stop(self) -> None:
        """Answer what was accepted over gRPC, then close the core and the ports."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        if self.rpc is not None:
            await self.rpc.drain()
            await self.core.runner.close(GRACE)
            await asyncio.sleep(QUIET)
            await self.rpc.stop(GRACE)
        await self.core.close(GRACE)
        self._metrics()

    async def _grpc(self) -> Rpc | None:
        if self.settings.grpc_port == 0 or self._missing("grpc_port"):
            return None
        rpc = Rpc(self.core, keys=self.keys, certificate=self.certificate)
        log.info("gRPC listens on %s:%d", self.settings.host, await rpc.start())
        return rpc

    def _open_metrics(self) -> None:
        if self.settings.metrics_port == 0 or self._missing("metrics_port"):
            return
        server, thread = start_http_server(self.settings.metrics_port, self.settings.host)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._metrics = close

    def _missing(self, name: str) -> bool:
        """Whether a port cannot be had: told for a default one, and fatal where it was asked for."""
        said = taken(name, self.settings)
        if said is None:
            return False
        if name in self.settings.model_fields_set:
            raise SettingsError(said)
        log.error("%s; going on without it", said)
        return True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.keys.look()
            self.certificate.look()
            self.core.refusing.tick()
            if self.core.recorder is not None:
                self.core.recorder.tick()

    def _on_signal(self) -> None:
        """Drain for a while before the server closes its connections; a second signal ends the wait."""
        loop = asyncio.get_running_loop()

        def drained(before: Callable[[int, FrameType | None], None]) -> Callable[[int, FrameType | None], None]:
            def handler(number: int, frame: FrameType | None) -> None:
                seconds = 0.0 if self.core.draining else self.settings.drain_s
                loop.call_soon_threadsafe(self._drain)
                loop.call_soon_threadsafe(loop.call_later, seconds, before, number, frame)

            return handler

        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, drained(before))

    def _drain(self) -> None:
        self.core.draining = True
        if self.rpc is not None:
            self._draining = asyncio.create_task(self.rpc.drain())


def _describe(core: Core, settings: Settings) -> None:
    """Set the metrics that say what serves."""
    versions = (VERSION, platform.python_version(), metadata.version("bentoml"))
    metrics.BUILD.labels(*versions, settings.image, settings.track).set(1)
    metrics.READY.set(core.loaded is not None)
    if core.loaded is not None:
        metrics.MODEL.labels(core.usecase.name, core.tag, core.loaded.manifest.fingerprint).set(1)
    metrics.QUEUE.set_function(lambda: core.runner.queued_rows)
    metrics.watch_collections()
    if core.recorder is not None:
        metrics.watch_log(core.recorder)
