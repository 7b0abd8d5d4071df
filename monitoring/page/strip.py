"""Windows over time, and the verdicts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from monitoring.ledger import Closed
from monitoring.page.columns import is_pair
from monitoring.page.watched import end
from monitoring.page.words import TRACKS

State = Literal["alarm", "quiet", "settling", "none"]
SYMBOLS: dict[State, str] = {"alarm": "▲", "quiet": "●", "settling": "○", "none": "–"}  # noqa: RUF001  # no hyphen
SAID: dict[State, str] = {
    "alarm": "alarm",
    "quiet": "no alarm",
    "settling": "becomes part of the reference",
    "none": "nothing to judge",
}


@dataclass(frozen=True)
class Tile:
    """A window in the strip: what it came to, in colour, symbol and words."""

    number: int
    state: State
    said: str

    @property
    def symbol(self) -> str:
        """Stands beside the colour."""
        return SYMBOLS[self.state]


@dataclass(frozen=True)
class Line:
    """A window in the list."""

    number: int
    state: State
    symbol: str
    until: str
    rows: int
    labelled: int
    late: int
    said: str


@dataclass(frozen=True)
class Strip:
    """The windows, oldest first: all of each, and each track by itself."""

    tiles: list[Tile]
    tracks: dict[str, list[Tile]]
    lines: list[Line]


def strip(windows: Sequence[Closed]) -> Strip:
    """Of these windows, oldest first."""
    tiles = [Tile(one.number, state(one), _said(one, state(one))) for one in windows]
    tracks = {}
    for track, title in TRACKS.items():
        found = [(one, track_state(one, track)) for one in windows]
        tracks[title] = [Tile(one.number, own, _said(one, own)) for one, own in found]
    lines = [
        Line(
            one.number,
            state(one),
            SYMBOLS[state(one)],
            end(one),
            one.rows,
            one.labelled,
            one.late,
            _moved(one),
        )
        for one in reversed(windows)
    ]
    return Strip(tiles, tracks, lines)


def state(window: Closed) -> State:
    """What a window came to."""
    if window.reference == "settling":
        return "settling"
    return "alarm" if window.alarm else "quiet"


def track_state(window: Closed, track: str) -> State:
    """What it came to in one track."""
    own = state(window)
    if own == "settling":
        return own
    if any(found["track"] == track for found in window.verdict["findings"]):
        return "alarm"
    judged = track == "quality" or any(one["track"] == track for one in window.verdict["columns"].values())
    return "quiet" if judged else "none"


def _said(window: Closed, own: State) -> str:
    return f"window {window.number}, until {end(window)}: {SAID[own]}"


def _moved(window: Closed) -> str:
    own = state(window)
    if own != "alarm":
        return SAID[own]
    names = sorted(dict.fromkeys(found["column"] for found in window.verdict["findings"]), key=is_pair)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"`{name}`" for name in names[:3]) + more
