"""Time as Holdfast keeps it: int64 microseconds since the Unix epoch, UTC; aware datetimes only at the edges."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from settings import HoldfastError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeError(HoldfastError, ValueError):
    """A text is no time, or says no zone."""


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exactly.

    Raises:
        TimeError: if `moment` has no zone.
    """
    if moment.tzinfo is None:
        raise TimeError(f"{moment.isoformat()} has no time zone; write it with one, as 1998-07-01T00:00:00Z")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse(text: str) -> int:
    """Microseconds of an RFC 3339 text such as `1998-07-01T00:00:00Z`.

    Raises:
        TimeError: if the text is no time, or has no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(f"{text!r} is no time; write it as 1998-07-01T00:00:00Z") from None
    return micros(moment)


def rfc3339(moment: int) -> str:
    """`moment` (microseconds) as RFC 3339 in UTC, without a fraction where there is none."""
    return (_EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")


def now(fixed: datetime | None = None) -> int:
    """The data's clock in microseconds: `fixed` (`HOLDFAST_NOW`) where it is set, else the real time."""
    return micros(fixed) if fixed is not None else time.time_ns() // 1_000


def wall() -> str:
    """The real time as RFC 3339, for journals and manifests: `HOLDFAST_NOW` does not move it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor(moment: int, cadence: int) -> int:
    """`moment` snapped down to a multiple of `cadence` (both in microseconds)."""
    return moment - moment % cadence
