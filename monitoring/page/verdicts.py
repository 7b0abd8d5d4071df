"""The newest verdict of each model, as plain values."""

from __future__ import annotations

from typing import Any

from features import clock
from monitoring.ledger import Closed
from monitoring.page.strip import state
from monitoring.page.watched import Watched
from monitoring.page.words import TRACKS


def told(watched: Watched) -> dict[str, Any]:
    """Times are RFC 3339.

        {"usecase": NAME, "models": [{"model": TAG, "open": answers in the open window,
          "window": None before the first is closed, or {"number", "start", "end", "rows", "labelled", "late",
            "reference", "state": alarm, quiet or settling, "tracks": {TRACK: whether it alarms},
            "verdict": `Verdict.to_json()`}}]}

    Raises:
        StoreError: if the ledger cannot be read.
    """
    models = []
    for tag in watched.ledger.models():
        opened, closed = watched.ledger.opened(tag), watched.ledger.closed(tag, 1)
        window = _window(closed[0]) if closed else None
        models.append({"model": tag, "open": opened.rows if opened else 0, "window": window})
    return {"usecase": watched.usecase.name, "models": models}


def _window(one: Closed) -> dict[str, Any]:
    alarmed = {found["track"] for found in one.verdict["findings"]}
    return {
        "number": one.number,
        "start": clock.rfc3339(one.start),
        "end": clock.rfc3339(one.end),
        "rows": one.rows,
        "labelled": one.labelled,
        "late": one.late,
        "reference": one.reference,
        "state": state(one),
        "tracks": {track: track in alarmed for track in TRACKS},
        "verdict": one.verdict,
    }
