"""`holdfast rollout judge`: a canary beside the stable version, watched for a while. It promotes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from typing import Annotated, Literal

import typer

from cli.console import Json, Out, many
from cli.rollout.app import RolloutError, rollout
from cli.rollout.judging import CHECKS, LEVEL, Check, Limits, Verdict, enough, judge
from cli.rollout.pods import Pod, Pods, total
from settings import HoldfastError

EVERY = 5.0
"""Seconds between two looks; less where there is little time."""
FEWEST = 4
"""Looks at least."""


class PlaceError(HoldfastError, ValueError):
    """An address is no HOST:PORT."""


@dataclass(frozen=True)
class Found:
    """What can be said now; `reasons` of a bad verdict."""

    verdict: Verdict
    checks: list[Check]
    reasons: list[str]


@rollout.command("judge")
def judge_command(
    places: Annotated[
        list[str],
        typer.Argument(help="HOST:PORT of metrics; every address that HOST has is a server.", metavar="HOST:PORT..."),
    ],
    seconds: Annotated[float, typer.Option(min=1, help="How long the canary is watched, at most.")] = 120,
    minimum: Annotated[int, typer.Option(min=1, help="Requests of each version below which nothing is judged.")] = 200,
    insufficient: Annotated[Literal["fail", "pass"], typer.Option(help="What becomes of fewer.")] = "fail",
    errors: Annotated[float, typer.Option(min=0, max=1, help="Points that its share of errors may be higher by.")] = (
        0.01
    ),
    latency: Annotated[
        float, typer.Option(min=1, help="How many times the stable p99 its own may be; 10 ms more may be.")
    ] = 1.5,
    scores: Annotated[
        float, typer.Option(min=0, max=1, help="How far its scores may be from the stable ones (Kolmogorov-Smirnov).")
    ] = 0.1,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Compare a canary with the stable version by their metrics, for a while; exit code 1: it is bad.

    It ends as soon as the canary is surely worse than allowed, has restarted, or serves a model that the gate refused;
    else when the time is over. Which version a server is, its setting HOLDFAST_TRACK says. Of good canaries fewer than
    1 in 100 fail, of those that noise alone sets apart none in some thousands did. Nothing is promoted.
    """
    out, pods = Out(as_json), Pods([_place(text) for text in places])
    limits = Limits(errors, latency, scores, minimum)
    every = min(EVERY, seconds / FEWEST)
    looks = ceil(seconds / every)
    with out.progress() as progress:
        found, watched = _watch(pods, limits, looks, every, lambda look: progress("looks", look, looks))
    for line in _told(pods):
        out.say(line)
    for check in found.checks:
        out.proved(check.name, f"{check.verdict}: {check.said}")
    failed = found.verdict == "bad" or (found.verdict == "unknown" and insufficient == "fail")
    said = {"good": "good", "bad": "bad", "unknown": f"too little to judge by, which is to {insufficient}"}
    out.proved("verdict", f"{said[found.verdict]}, after {watched:.0f} s")
    out.result(
        {
            "verdict": found.verdict,
            "failed": failed,
            "reasons": found.reasons,
            "seconds": round(watched, 1),
            "level": LEVEL / (CHECKS * looks),
            "checks": [asdict(check) | {"shown": _number(check.shown)} for check in found.checks],
            **{track: _figures(pods.of(track)) for track in ("stable", "canary")},
        }
    )
    if failed:
        raise RolloutError(f"the canary is not good: {'; '.join(found.reasons)}")


def _watch(pods: Pods, limits: Limits, looks: int, every: float, tell: Callable[[int], None]) -> tuple[Found, float]:
    """What was found, at the end or as soon as it is bad, and after how many seconds."""
    began = time.monotonic()
    pods.look()
    for look in range(1, looks + 1):
        time.sleep(max(0.0, began + look * every - time.monotonic()))
        pods.look()
        tell(look)
        found = _found(pods, limits, looks, last=look == looks)
        if found.verdict == "bad":
            break
    return found, time.monotonic() - began


def _found(pods: Pods, limits: Limits, looks: int, *, last: bool) -> Found:
    stable, canary = total(pods.of("stable")), total(pods.of("canary"))
    checks = judge(stable, canary, limits, looks)
    reasons = [*_broken(pods, last=last), *(f"{one.name}: {one.said}" for one in checks if one.verdict == "bad")]
    if reasons:
        return Found("bad", checks, reasons)
    if not enough(stable, canary, limits):
        return Found("unknown", checks, [f"{checks[0].name}: {checks[0].said}"])
    return Found("good", checks, [])


def _broken(pods: Pods, *, last: bool) -> list[str]:
    """What is wrong with the canary's servers, whatever they have counted; `last`: that some do not answer too."""
    canary = pods.of("canary")
    told = [
        f"{address} {what}"
        for (address, track), pod in pods.seen.items()
        if track == "canary"
        for what, so in (
            (f"restarted {many(pod.restarts, 'time')}", pod.restarts > 0),
            ("is not ready: the gate refused its model; its log says why", not pod.last.ready),
            (f"answers no more: {pods.trouble.get(address)}", last and not pod.answers),
        )
        if so
    ]
    if last and not canary:
        silent = "".join(f"; {address}: {why}" for address, why in pods.trouble.items())
        seen = many(len(pods.seen), "server")
        told.append(f"no canary answers behind {', '.join(f'{h}:{p}' for h, p in pods.places)}: {seen} seen{silent}")
    return told


def _told(pods: Pods) -> list[str]:
    """A line for each version."""
    lines = []
    for track in ("stable", "canary"):
        own = pods.of(track)
        counts, models = total(own), sorted({pod.last.model or "no model" for pod in own})
        said = f"{many(len(own), 'server')} ({', '.join(models)}), " if own else "0 servers, "
        lines.append(f"{track:<12}{said}{counts.requests:,.0f} requests, {counts.errors:,.0f} of them errors of ours")
    return lines


def _figures(pods: list[Pod]) -> dict[str, object]:
    counts = total(pods)
    return {
        "servers": len(pods),
        "models": sorted({pod.last.model for pod in pods}),
        "restarts": sum(pod.restarts for pod in pods),
        "requests": round(counts.requests),
        "errors": round(counts.errors),
    }


def _number(value: float) -> float | None:
    return value if value == value else None


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise PlaceError(f"{text!r} is no HOST:PORT, as holdfast-metrics:3002 is")
    return host.strip("[]"), int(port)
