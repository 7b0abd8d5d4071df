"""`holdfast demo-drift`: a real server and a real monitor, a campaign that brings other customers, and what appears.

The story is told with telco, in four acts of real requests over HTTP about real rows of its file:

    1  anybody, as the model was trained on; then their outcomes, as the file has them
    2  anybody, until half of all requests are asked: nothing may alarm
    3  a campaign: three in ten of those asked about are new, on fibre and month to month
    4  then outcomes of act 3, in which a competitor has bought out half of those on a contract who would have stayed;
       and requests go on

All that is shown appears by itself: the demo sends, waits and reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx

from cli.console import Out
from cli.demo import SHARE, Appeared, Demo, DemoError, People
from cli.server import OPEN, free_port, serve, stop
from cli.workspace import ROOT, Workspace
from monitoring.ledger import Closed, open_ledger
from monitoring.verdict import Finding

ACTS = (8_000, 2_000, 6_000, 4_000)
"""Requests in each act."""


def drift(workspace: Workspace, tag: str, out: Out, *, keep: bool = False) -> dict[str, Any]:
    """Tell the story; what appeared, as figures.

    Args:
        keep: leave server and monitor up until Ctrl-C.

    Raises:
        DemoError: if something does not appear, or an alarm comes before there is drift. ServerError: if a server does
            not come up.
    """
    people, home = People.of(workspace), workspace.settings.home.absolute() / "demo-drift"
    rmtree(home, ignore_errors=True)
    own = home / workspace.usecase.name
    own.mkdir(parents=True)
    environ = {**OPEN, "HOLDFAST_HOME": str(home), "HOLDFAST_USECASE": workspace.usecase.name, "HOLDFAST_MODEL": tag}
    environ |= dict.fromkeys(("HOLDFAST_PREDICTIONS_URL", "HOLDFAST_MONITOR_URL", "HOLDFAST_EVENTS_URL"), "")
    environ |= dict.fromkeys(("HOLDFAST_ID_HMAC_KEY", "HOLDFAST_PREDICTIONS_SAMPLE", "HOLDFAST_NOW"), "")
    if workspace.settings.usecases is not None:
        environ["HOLDFAST_USECASES"] = str(workspace.settings.usecases.absolute())
    with serve(environ, log=own / "serve.log") as server, _monitoring(environ, own / "monitor.log") as monitor:
        demo = Demo(people, server, monitor, own / "monitor.log")
        told = _acts(demo, workspace, tag, own, out, keep=keep)
        if keep:
            out.say(f"\nServing at {server.url}, monitoring at {monitor}. Ctrl-C stops both.")
            with suppress(KeyboardInterrupt):
                server.process.wait()
    return told


def _acts(demo: Demo, workspace: Workspace, tag: str, home: Path, out: Out, *, keep: bool) -> dict[str, Any]:
    inputs, outcomes = (f'holdfast_monitor_alarm{{model="{tag}",track="{track}"}}' for track in ("inputs", "outcomes"))
    matched = 'holdfast_monitor_outcomes_total{kind="matched"}'
    counted = 'holdfast_monitor_records_total{kind="counted"}'
    ledger = open_ledger(None, home, workspace.usecase.name)
    began, name = time.monotonic(), workspace.usecase.name

    def windows() -> list[Closed]:
        return ledger.closed(tag)

    def said(one: Appeared) -> None:
        out.say(f"  after {one.seconds:4.1f} s  {one.what}: {one.line}")

    def findings(track: str) -> str:
        first = next(one for one in windows() if track in _tracks(one))
        found = next(one for one in first.verdict["findings"] if one["track"] == track)
        return f"window {first.number} is the first; {Finding(**found)}"

    out.proved("server", f"{demo.server.url} with {tag}")
    said(demo.until("page", lambda: f"{demo.monitor}/" if httpx.get(f"{demo.monitor}/").status_code == 200 else None))
    sent = [f"{count:,} requests for {demo.answers(count):,} answers" for count in ACTS]
    out.proved("act 1", f"{sent[0]}, about anybody; then what became of them")
    demo.ask(ACTS[0])
    first = len(demo.asked)
    demo.tell(demo.asked[:first])
    said(demo.until("outcomes", demo.metric(matched, first)))
    out.proved("act 2", f"{sent[1]}, about anybody: half of all requests are asked then")
    demo.ask(ACTS[1])
    quiet = len(demo.asked)
    said(demo.until("answers", demo.metric(counted, quiet)))
    alarmed = [one.number for one in windows() if one.alarm]
    if alarmed:
        raise DemoError(
            f"windows {alarmed} alarm before there is any drift; to look at them: "
            f"HOLDFAST_HOME={home.parent} holdfast monitor show {name}"
        )
    before = len(windows())
    out.say(f"                {before} windows, none of which alarms")
    out.proved("act 3", f"{sent[2]}: a campaign; {SHARE:.0%} are about new customers, on fibre, month to month")
    with ThreadPoolExecutor(1) as sending:
        cause = time.monotonic()
        campaign = sending.submit(demo.ask, ACTS[2], campaign=True)
        said(demo.until("alarm on inputs", demo.metric(inputs), cause))
        request = home / "monitor" / "retrain.json"
        said(demo.until("retrain request", lambda: str(request) if request.exists() else None, cause))
        campaign.result()
    out.say(f"                {findings('inputs')}")
    out.proved("act 4", f"what became of them: a competitor has bought out who is on a contract; and {sent[3]}")
    cause = time.monotonic()
    demo.tell(demo.asked[quiet:], competitor=True)
    demo.until("outcomes", demo.metric(matched, len(demo.asked) - quiet + first), cause)
    demo.ask(ACTS[3], campaign=True)
    said(demo.until("alarm on outcomes", demo.metric(outcomes), cause))
    out.say(f"                {findings('outcomes')}")
    demo.until("answers", demo.metric(counted, len(demo.asked)))
    page = httpx.get(f"{demo.monitor}/models/{tag}")
    if page.status_code != 200:
        raise DemoError(f"{page.url} is answered with {page.status_code}: {page.text[:500]}")
    out.proved("page", f"{page.url}" if keep else "is gone with the demo: `holdfast demo-drift --keep` leaves it up")
    out.proved("retrain", f"{request} asks for a new model, once")
    out.say(f"            a schedule would take it up by: holdfast retrain {name} --verdict {request}")
    out.say("            nothing to do here: nobody has really changed, and the same data would give the same model")
    ratios = {n: v for n, v in demo.metrics().items() if n.startswith("holdfast_feature_skew_ratio")}
    for name in (inputs, outcomes, f'holdfast_skew_checked_rows{{model="{tag}"}}'):
        out.proved("metric", f"{name} {demo.metrics()[name]:g}")
    out.proved("metric", f"holdfast_feature_skew_ratio of {len(ratios)} features, at most {max(ratios.values()):g}")
    strip = "".join("A" if one.alarm else "." for one in windows())
    out.proved("windows", f"{strip}  (of {workspace.usecase.watch.rows:,} answers; A: alarm)")
    taken = time.monotonic() - began
    out.proved(
        "drift", f"{sum(ACTS):,} requests, {len(demo.asked):,} answers, {len(windows())} windows in {taken:.0f} s"
    )
    return {
        "model": tag,
        "requests": sum(ACTS),
        "answers": len(demo.asked),
        "begins": before + 1,
        "windows": [{"number": one.number, "tracks": sorted(_tracks(one))} for one in windows()],
        "appeared": [asdict(one) for one in demo.appeared],
        "retrain": json.loads(request.read_text()),
        "skew": max(ratios.values()),
        "page": str(page.url) if keep else None,
        "seconds": round(taken, 1),
    }


def _tracks(one: Closed) -> set[str]:
    return {found["track"] for found in one.verdict["findings"]}


@contextmanager
def _monitoring(environ: Mapping[str, str], log: Path) -> Iterator[str]:
    """`holdfast monitor serve` while the block runs; its address."""
    port = free_port()
    merged = {name: value for name, value in {**os.environ, **environ}.items() if value}
    for name in environ:
        merged.pop(f"{name}_FILE", None)
    command = [sys.executable, "-m", "cli.main", "monitor", "serve", "--port", str(port), "--every", "1"]
    with log.open("ab") as sink:
        process = subprocess.Popen(command, cwd=ROOT, env=merged, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603  # our own
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)
