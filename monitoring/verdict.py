"""The verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.profile import Profile
from monitoring.window import Window
from usecases import Track


@dataclass(frozen=True)
class Finding:
    """What alarmed."""

    column: str
    track: Track
    test: str
    scale: int
    effect: float
    p: float
    adjusted: float
    share: float
    before: float
    after: float


@dataclass(frozen=True)
class Effect:
    """How far a column has moved."""

    column: str
    effect: float
    share: float
    scale: int
    adjusted: float


@dataclass(frozen=True)
class Verdict:
    """Alarm or not."""

    alarm: bool
    findings: tuple[Finding, ...]
    columns: Mapping[str, Effect]
    notes: tuple[str, ...]
    rows: int
    labelled: int
    tests: int
    scales: tuple[int, ...]
    budget: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        raise NotImplementedError


def judge(profile: Profile, windows: Sequence[Window], budget: float = 1e-3) -> Verdict:
    """Judge."""
    raise NotImplementedError
