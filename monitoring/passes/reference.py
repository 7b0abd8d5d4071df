"""What windows of a model are held against: its training set, or windows that were served.

A fact of kind "reference" says so, with who decided it and when: `{"windows": [FIRST, LAST], "who", "why"}`, or null
for the training set; the last one holds. Without one it is the training set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.clock import DAY
from model.profile import Profile
from monitoring.ledger import Change, Closed, Fact, Ledger
from monitoring.window import Window
from settings import HoldfastError

KIND = "reference"
WEEK = 7
"""Days that served windows must be of for their season to be known."""


@dataclass(frozen=True)
class Reference:
    """A profile with the counts that hold, in words, and the last window that is part of it (0 for none)."""

    profile: Profile
    label: str
    last: int = 0


def held(ledger: Ledger, model: str, profile: Profile) -> Reference | None:
    """What holds for a model; None where nothing was said.

    Args:
        profile: of its artefact.
    """
    said = ledger.facts(KIND, model, last=1)
    if not said:
        return None
    if said[0]["windows"] is None:
        return Reference(profile, "training")
    first, last = said[0]["windows"]
    windows = [one for one in ledger.closed(model) if first <= one.number <= last]
    return served(profile, windows)


def served(profile: Profile, windows: list[Closed]) -> Reference:
    """The sum of served windows. Outcomes are held against those of the training set as long as these have none."""
    found = [Window.from_bytes(profile, one.window) for one in windows]
    total = found[0]
    for window in found[1:]:
        total = total + window
    counts, told = total.counts.copy(), profile.layout.told
    if not counts[told:].any():
        counts[told:] = profile.counts[told:]
    days: dict[int, Window] = {}
    for one, window in zip(windows, found, strict=True):
        day = one.start // DAY
        days[day] = days[day] + window if day in days else window
    blocks = np.stack([window.counts for window in days.values()]) if len(days) >= WEEK else None
    first, last = windows[0].number, windows[-1].number
    return Reference(profile.refer(counts, total.rows, blocks), f"served {first}-{last}", last)


def fact(model: str, windows: list[Closed] | None, at: int, who: str, why: str) -> Fact:
    """The decision, for the ledger."""
    span = None if windows is None else [windows[0].number, windows[-1].number]
    return Fact(KIND, model, at, {"windows": span, "who": who, "why": why})


def rebase(ledger: Ledger, model: str, last: int | None, *, at: int, who: str, why: str) -> Fact:
    """Hold a model's windows against its last closed ones from now on, or with None against the training set again.

    Raises:
        HoldfastError: if there are not so many. Busy: if a pass committed meanwhile.
    """
    number = ledger.number()
    windows = None if last is None else ledger.closed(model, last)
    if windows is not None and len(windows) < (last or 1):
        raise HoldfastError(f"{model} has {len(windows)} closed windows, not {last}: wait, or take fewer")
    made = fact(model, windows, at, who, why)
    ledger.commit(Change(number, facts=[made]))
    return made
