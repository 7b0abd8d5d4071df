"""A window: what was counted of some answers. Windows add up; neither order nor split changes the sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from model.profile import Profile, ProfileError
from model.profile.counting import CHUNK, Counts
from model.profile.values import numbers


@dataclass(frozen=True)
class Window:
    """Counts in the cells of a profile.

    Attributes:
        profile: digest of the profile's layout. counts: (size,) int64.
        rows: answers counted. days: of those, how many by day (UTC, since the epoch), where times are known.
        labelled: outcomes counted.
    """

    profile: str
    counts: Counts
    rows: int
    labelled: int
    days: Mapping[int, int] = field(default_factory=dict)

    @staticmethod
    def empty(profile: Profile) -> Window:
        """Nothing counted yet."""
        return Window(profile.digest, np.zeros(profile.layout.size, np.int64), 0, 0)

    @staticmethod
    def from_frame(profile: Profile, frame: Any) -> Window:
        """The counts of a frame.

        Args:
            frame: n rows, a pandas DataFrame or a mapping of 1-d arrays, with every column of the profile; its outcomes
                and times may be absent, and an outcome may be missing (NaN, None) while nobody knows it.

        Raises:
            ProfileError: if it lacks a column.
        """
        counts, rows, days = profile.layout.count(frame)
        return Window(profile.digest, counts, rows, int(counts[profile.layout.told :].sum()), days)

    @staticmethod
    def from_records(profile: Profile, records: Iterable[Mapping[str, Any]]) -> Window:
        """The counts of rows as mappings; a value that a record lacks is missing."""
        if hasattr(records, "iloc"):  # a DataFrame is a frame, and its rows are no mappings
            return Window.from_frame(profile, records)
        total, part = Window.empty(profile), list[Mapping[str, Any]]()
        for record in records:
            part.append(record)
            if len(part) == CHUNK:
                total, part = total + _of(profile, part), []
        return total + _of(profile, part) if part else total

    @staticmethod
    def from_outcomes(profile: Profile, score: Any, outcome: Any) -> Window:
        """The counts of outcomes alone, which come later than the answers: scores (n,), and whether it happened (n,).

        Raises:
            ProfileError: if the profile has no score.
        """
        if not profile.layout.judged:
            raise ProfileError("the profile has no score, so outcomes have nothing to be held against")
        counts = np.zeros(profile.layout.size, np.int64)
        profile.layout.add_outcomes(counts, numbers(score), outcome)
        return Window(profile.digest, counts, 0, int(counts.sum()))

    def __add__(self, other: Window) -> Window:
        """The window of both.

        Raises:
            ProfileError: if they are counts in the cells of different profiles.
        """
        if self.profile != other.profile:
            raise ProfileError(f"a window of profile {self.profile} and one of {other.profile} have different cells")
        days = {**self.days}
        for day, rows in other.days.items():
            days[day] = days.get(day, 0) + rows
        return Window(
            self.profile, self.counts + other.counts, self.rows + other.rows, self.labelled + other.labelled, days
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Window):
            return NotImplemented
        mine, theirs = (self.profile, self.rows, self.labelled), (other.profile, other.rows, other.labelled)
        return mine == theirs and dict(self.days) == dict(other.days) and bool((self.counts == other.counts).all())

    __hash__ = None  # type: ignore[assignment]  # it holds an array

    def to_bytes(self) -> bytes:
        """For storing: MessagePack, small integers in one byte; `from_bytes` reads it."""
        return msgspec.msgpack.encode(
            [1, self.profile, self.rows, self.labelled, dict(self.days), self.counts.tolist()]
        )

    @staticmethod
    def from_bytes(profile: Profile, data: bytes) -> Window:
        """What `to_bytes` gave.

        Raises:
            ProfileError: if it is of another profile, or no window.
        """
        try:
            version, digest, rows, labelled, days, counts = msgspec.msgpack.decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise ProfileError(f"no window: {error}") from None
        if version != 1 or digest != profile.digest or len(counts) != profile.layout.size:
            raise ProfileError(f"a window (version {version}) of profile {digest}, not of {profile.digest}")
        return Window(digest, np.array(counts, np.int64), rows, labelled, days)


def _of(profile: Profile, records: list[Mapping[str, Any]]) -> Window:
    layout = profile.layout
    names = [column.name for column in layout.columns] + [name for name in (layout.outcome,) if name]
    frame: dict[str, Any] = {name: _array([record.get(name) for record in records]) for name in names}
    if layout.time and all(record.get(layout.time) is not None for record in records):
        frame[layout.time] = np.array([record[layout.time] for record in records])
    return Window.from_frame(profile, frame)


def _array(values: list[Any]) -> np.ndarray[Any, Any]:
    """Values as they are: numpy would write numbers beside texts as texts."""
    found = np.empty(len(values), object)
    found[:] = values
    return found
