"""`holdfast monitor serve`: passes on a timer, and what they found as a web page, as metrics and as JSON."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from errno import EADDRINUSE
from typing import Annotated

import typer

from cli.console import Out, many
from cli.monitor.app import SkewShare
from cli.monitor.profiles import profiles
from cli.monitor.reporting import Reporter
from cli.workspace import Workspace
from model.fetching import Models
from monitoring.ledger import Ledger
from settings import HoldfastError

log = logging.getLogger("holdfast.monitoring")

UseCase = Annotated[str | None, typer.Argument(help="Default: HOLDFAST_USECASE.", show_default=False)]
GRACE = 1
"""Seconds that answers under way have when the server is stopped."""


def attend(workspace: Workspace, ledger: Ledger, models: Models, reporter: Reporter, skew_share: float | None) -> None:
    """Make a pass, tell what came of it, and have reports made of windows with which an alarm begins."""
    from cli.monitor.once import once
    from monitoring.passes import asking

    done = once(workspace, ledger, skew_share=skew_share, models=models)
    for one in done.passed.alarms:
        columns = ", ".join(dict.fromkeys(finding["column"] for finding in one.verdict["findings"]))
        log.warning("%s, window %d alarms: %s", one.model, one.number, columns)
        before = ledger.closed(one.model, len(done.passed.closed) + 1)
        if not any(window.alarm for window in before if window.number == one.number - 1):
            reporter.ask(one)
    reporter.go_on()
    for line in done.passed.trouble:
        log.error("not read: %s", line)
    for model, (often, why) in done.passed.unknown.items():
        log.error("%s of %s were not counted, and will not be: %s", many(often, "answer"), model, why)
    if done.request is not None:
        asking.told(ledger, done.request)
        log.warning("a new model is asked for: holdfast retrain %s --when-asked", workspace.usecase.name)


def serve(
    usecase: UseCase = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the page, /metrics and /v1/verdicts.")] = 3003,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: every one.")] = "127.0.0.1",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between the end of a pass and the next one.")] = 60,
    skew_share: SkewShare = None,
) -> None:
    """Watch for as long as it runs: a pass every minute; the page, metrics for Prometheus and verdicts over HTTP."""
    import uvicorn

    from cli.monitor.timer import Timer
    from cli.monitor.web import application
    from monitoring.ledger import open_ledger
    from monitoring.page import Watched
    from serving import logs
    from serving.keys import Keys

    out, workspace = Out(as_json=False), Workspace.open(usecase)
    settings, name, listening = workspace.settings, workspace.usecase.name, _listening(host, port)
    ledger = open_ledger(settings.monitor_url, workspace.home, name)
    logs.configure(settings)
    reporter = Reporter(name)
    models = workspace.models  # those of all passes, each of which has a clock of its own
    timer = Timer(lambda: attend(replace(workspace), ledger, models, reporter, skew_share), every)
    watched = Watched(workspace.usecase, ledger, profiles(models), workspace.home / "monitor" / "reports", every)
    app = application(watched, timer, Keys(settings))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=100,
    )
    out.proved("monitor", f"{name}: http://{host}:{port}/ and /metrics; a pass every {every:g} s")
    timer.start()
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # it stops at a signal, and then raises it again
        server.run([listening])
    busy = timer.stop()
    reporter.stop()
    if not server.started:
        raise typer.Exit(1)
    if busy:  # mid-pass: its transaction never was; libraries with threads of their own are not waited for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _listening(host: str, port: int) -> socket.socket:
    """What the page is asked at; it is taken before anything is told or done.

    Raises:
        HoldfastError: if it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = "somebody listens there already" if error.errno == EADDRINUSE else error.strerror
        raise HoldfastError(
            f"port {port} of {host} cannot be had: {why}; choose another one with --port, or another --host"
        ) from error
