"""Asking for a new model: when a use case's policy says that its model has alarmed for long enough.

A request is a fact of kind "retrain", committed like any other; what is made of it, a file and an exit code, is told at
least once: the ledger notes that it was, after the file was written. So a request is not lost when a pass is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from features import clock
from monitoring.ledger import Change, Closed, Fact, Ledger
from usecases import Retrain, UseCase

KIND = "retrain"
_TOLD = "retrain told"


def ask(usecase: UseCase, ledger: Ledger, models: Iterable[str]) -> dict[str, Any] | None:
    """Ask for a new model, if the policy says so: so many windows in a row of one of these models alarm on its tracks,
    and its last request is old enough. The request, as `standing` gives it; None where there is no reason.

    Args:
        models: those of which a pass closed windows: others are not served any longer.

    Raises:
        Busy: if a pass committed meanwhile; the next one asks.
    """
    policy, number = usecase.watch.retrain, ledger.number()
    if policy is None:
        return None
    now, last = clock.now(), standing(ledger)
    if last is not None and now < last["at"] + policy.cooldown:
        return None
    for model in sorted(models):
        windows = ledger.closed(model, policy.windows)
        if last is not None:
            windows = [one for one in windows if one.closed_at > last["at"]]
        findings = [_findings(one, policy) for one in windows]
        if len(windows) == policy.windows and all(findings):
            body = {
                "windows": [windows[0].number, windows[-1].number],
                "findings": findings[-1],
                "tracks": list(policy.tracks),
            }
            ledger.commit(Change(number, facts=[Fact(KIND, model, now, body)]))
            return standing(ledger)
    return None


def standing(ledger: Ledger) -> dict[str, Any] | None:
    """The last request: `at`, `model`, `windows` (first and last), `findings` of the last window; None before any."""
    said: Sequence[dict[str, Any]] = ledger.facts(KIND, last=1)
    return said[-1] if said else None


def untold(ledger: Ledger) -> dict[str, Any] | None:
    """The last request, if nobody was told of it yet."""
    last, told = standing(ledger), ledger.note(_TOLD)
    return None if last is None or (told is not None and int(told) >= last["at"]) else last


def told(ledger: Ledger, request: dict[str, Any]) -> None:
    """Note that somebody was told of it.

    Raises:
        Busy: if a pass committed meanwhile; it is told again then.
    """
    ledger.commit(Change(ledger.number(), notes={_TOLD: str(request["at"]).encode()}))


def write(path: Path, usecase: str, request: dict[str, Any]) -> None:
    """The file that `holdfast retrain --verdict` reads, whole or not at all."""
    said = {
        "usecase": usecase,
        "alarm": True,
        "judged_at": clock.rfc3339(request["at"]),
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
