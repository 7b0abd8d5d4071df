"""How a use case asks to be watched once its model serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from features.clock import DAY
from usecases._error import UseCaseError

Track = Literal["inputs", "quality", "answers", "outcomes"]
"""What a finding of monitoring is about: how inputs are spread; what is missing, unseen or out of range; scores and
decisions; what became true of them. Skew is none: a new model does not mend it."""


@dataclass(frozen=True)
class Retrain:
    """When monitoring asks for a new model.

    Args:
        tracks: alarms of these count; windows: so many alarmed windows in a row;
        cooldown: microseconds after which it may ask again.
    """

    tracks: tuple[Track, ...] = ("inputs", "answers", "outcomes")
    windows: int = 3
    cooldown: int = 7 * DAY

    def __post_init__(self) -> None:
        if not (self.windows >= 1 and self.cooldown >= 0 and set(self.tracks) <= set(get_args(Track))):
            raise UseCaseError(
                f"{self}: tracks are {', '.join(get_args(Track))}, windows 1 or more, cooldown 0 or more"
            )


@dataclass(frozen=True)
class Watch:
    """How a model is watched once it serves; no part of the model or of its fingerprint.

    Args:
        rows: answers in a window; every: microseconds of a window instead, where windows go by time.
        reference: what windows are held against: the `training` set, or the first `settle` windows that were `served`,
            where those who ask are not those who were trained on.
        matures: microseconds from an answer until its outcome counts: sooner, those known early would speak for all.
        budget: the chance that a window without drift raises an alarm.
        retrain: when a new model is asked for; None: never.
    """

    rows: int = 1_000
    every: int | None = None
    reference: Literal["training", "served"] = "training"
    settle: int = 7
    matures: int = 0
    budget: float = 1e-3
    retrain: Retrain | None = Retrain()

    def __post_init__(self) -> None:
        if not (self.rows >= 1 and self.settle >= 1 and self.matures >= 0 and 0 < self.budget < 1):
            raise UseCaseError(f"{self}: rows and settle 1 or more, matures 0 or more, budget in (0, 1)")
        if self.every is not None and self.every < 1:
            raise UseCaseError(f"{self}: every is a time in microseconds, 1 or more")
