"""What passes found in this hour and the one before: so that a figure stands long enough to be looked at."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

import msgspec

from features.clock import HOUR
from monitoring.passes.passing import Pass


class Found(Protocol):
    """What adds up; `since` when, microseconds, by the clock on the wall. A msgspec.Struct."""

    since: int

    def __add__(self, later: Self) -> Self: ...


T = TypeVar("T", bound=Found)


def recent(pass_: Pass, name: str, found: T) -> T:
    """What was found now, and in the hours before under that name; it is kept with the pass."""
    hours: list[T] = msgspec.json.decode(pass_.noted(name) or b"[]", type=list[type(found)])  # type: ignore[misc]  # known when it runs
    hours = [one for one in hours if pass_.now - one.since < 2 * HOUR]
    if hours and pass_.now - hours[-1].since < HOUR:
        hours[-1] = hours[-1] + found
    else:
        hours.append(found)
    pass_.note(name, msgspec.json.encode(hours))
    total = hours[0]
    for one in hours[1:]:
        total = total + one
    return total
