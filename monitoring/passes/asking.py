"""Asking for a new model: when a use case's policy says that its model has alarmed for long enough.

A request is a fact of kind "retrain", committed like any other; what is made of it, a file and an exit code, is told at
least once: the ledger notes that it was, after the file was written. So a request is not lost when a pass is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from features import clock
from model.registry import Busy
from monitoring.ledger import Change, Closed, Fact, Ledger
from usecases import Retrain, UseCase

KIND = "retrain"
_TOLD = "retrain told"


def ask(usecase: UseCase, ledger: Ledger, models: Iterable[str]) -> dict[str, Any] | None:
    """Ask for a new model, if the policy says so: so many windows in a row of one of these models alarm on its tracks,
    none of them from before the last request, which is old enough. The request, as `standing` gives it.

    Args:
        models: those of which a pass closed windows: others are not served any longer.

    Raises:
        Busy: if a pass committed meanwhile; the next one asks.
    """
    policy, number = usecase.watch.retrain, ledger.number()
    if policy is None:
        return None
    now, last = clock.now(), standing(ledger)
    since = -1 if last is None else last["asked"]
    if last is not None and now < since + policy.cooldown:
        return None
    for model in sorted(models):
        windows = [one for one in ledger.closed(model, policy.windows) if one.closed_at > since]
        findings = [_findings(one, policy) for one in windows]
        if len(windows) == policy.windows and all(findings):
            body = {
                "asked": now,
                "open": True,
                "windows": [windows[0].number, windows[-1].number],
                "findings": findings[-1],
            }
            ledger.commit(Change(number, facts=[Fact(KIND, model, now, body)]))
            return standing(ledger)
    return None


def standing(ledger: Ledger) -> dict[str, Any] | None:
    """The last request: when it was `asked`, for which `model`, after which `windows` (first and last), the `findings`
    of the last one, and whether it is `open`; or else the `answer`. None before any."""
    return next(iter(ledger.facts(KIND, last=1)), None)


def answer(ledger: Ledger, request: Mapping[str, Any], said: str) -> None:
    """Close a request: somebody decided on a model since.

    Raises:
        Busy: if a pass committed meanwhile; it is closed after the next one.
    """
    body = {**{name: request[name] for name in ("asked", "windows", "findings")}, "open": False, "answer": said}
    ledger.commit(Change(ledger.number(), facts=[Fact(KIND, request["model"], clock.now(), body)]))


def settle(ledger: Ledger, asked: int, said: str) -> None:
    """Close the request of that time if it is still open, whatever passes commit meanwhile."""
    while (request := unanswered(ledger)) is not None and request["asked"] == asked:
        with suppress(Busy):
            answer(ledger, request, said)


def unanswered(ledger: Ledger) -> dict[str, Any] | None:
    """The last request, if it is open."""
    last = standing(ledger)
    return last if last is not None and last["open"] else None


def untold(ledger: Ledger) -> dict[str, Any] | None:
    """The last request, if it is open and nobody was told of it yet."""
    last, told = standing(ledger), ledger.note(_TOLD)
    return last if last is not None and last["open"] and int(told or -1) < last["asked"] else None


def told(ledger: Ledger, request: Mapping[str, Any]) -> None:
    """Note that somebody was told of it.

    Raises:
        Busy: if a pass committed meanwhile; it is told again then.
    """
    ledger.commit(Change(ledger.number(), notes={_TOLD: str(request["asked"]).encode()}))


def write(path: Path, usecase: str, request: Mapping[str, Any]) -> None:
    """The file that `holdfast retrain --verdict` reads, whole or not at all."""
    said = {
        "usecase": usecase,
        "alarm": True,
        "judged_at": clock.rfc3339(request["asked"]),
        "model": request["model"],
        "windows": request["windows"],
        "findings": request["findings"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n")
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _findings(window: Closed, policy: Retrain) -> list[dict[str, Any]]:
    """What alarms on the tracks of the policy."""
    return [one for one in window.verdict["findings"] if one["track"] in policy.tracks]
