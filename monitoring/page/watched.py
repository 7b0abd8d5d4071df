"""What the page is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from features import clock
from model.profile import Profile, ProfileError
from monitoring.ledger import Closed, Ledger
from monitoring.passes.reference import served
from monitoring.verdict import RING
from monitoring.window import Window
from settings import HoldfastError
from usecases import UseCase


class NotThere(HoldfastError, LookupError):
    """No model, window or report of that name."""


@dataclass(frozen=True)
class Watched:
    """A use case that is monitored.

    Attributes:
        profile: that of a model's artefact, by its tag; None where the model is not in the store here.
        reports: directory of Evidently's reports.
        every: seconds between two passes; None where nothing here makes any.
    """

    usecase: UseCase
    ledger: Ledger
    profile: Callable[[str], Profile | None]
    reports: Path
    every: float | None = None

    def model(self, tag: str) -> str:
        """That tag, if answers were counted of it.

        Raises:
            NotThere: if not.
        """
        models = self.ledger.models()
        if tag not in models:
            raise NotThere(f"no answer of a model {tag} was read; there are {', '.join(models) or 'none yet'}")
        return tag

    def ring(self, tag: str, number: int | None = None) -> list[Closed]:
        """The window of that number, or the newest one, last; and those before it that a verdict looks at.

        Raises:
            NotThere: if there is no window of that number.
        """
        if number is None:
            return self.ledger.closed(tag, RING)
        newest = next((one.number for one in self.ledger.closed(tag, 1)), 0)
        found = self.ledger.closed(tag, newest - number + RING) if 1 <= number <= newest else []
        kept = [one for one in found if one.number <= number]
        if not kept or kept[-1].number != number:
            raise NotThere(f"{tag} has no window {number}; it has {f'1 to {newest}' if newest else 'none yet'}")
        return kept

    def reference(self, tag: str, window: Closed) -> Profile | None:
        """What a window was held against; that of the artefact while windows settle; None where the model is not in
        the store here, or has another profile there."""
        profile = self.profile(tag)
        first, dash, last = window.reference.removeprefix("served ").partition("-")
        if profile is None or not (window.reference.startswith("served ") and dash):
            return profile
        own = [one for one in self.ledger.closed(tag) if int(first) <= one.number <= int(last)]
        try:
            return served(profile, own).profile
        except ProfileError:
            return None


def pool(profile: Profile, windows: list[Closed]) -> Window | None:
    """The counts of all of them; None where they are of another profile."""
    total = Window.empty(profile)
    try:
        for one in windows:
            total = total + Window.from_bytes(profile, one.window)
    except ProfileError:
        return None
    return total


def moment(time: int, figures: int = len("2026-07-01 09:30")) -> str:
    """A time for people, in UTC, to the minute, or to so many figures."""
    return clock.rfc3339(time).removesuffix("Z").replace("T", " ")[:figures]


def start(window: Closed) -> str:
    """When the first answer of a window was given, for people: to the second where the last one was in that minute, and
    to the millisecond where it was in that second."""
    return moment(window.start, _figures(window))


def end(window: Closed) -> str:
    """When its last answer was given, likewise."""
    return moment(window.end, _figures(window))


def _figures(window: Closed) -> int:
    if window.start // clock.SECOND == window.end // clock.SECOND:
        return len("2026-07-01 09:30:15.250")
    return len(
        "2026-07-01 09:30:15" if window.start // clock.MINUTE == window.end // clock.MINUTE else "2026-07-01 09:30"
    )
