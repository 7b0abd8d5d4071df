"""Reading the prediction log on from where a job stopped: each record once, in chunks that fit into memory.

A cursor says how far each part of the log was read. It is to be committed with what was made of the chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.predictions.entry import Prediction
from model.predictions.outcome import Outcome


class Block(Protocol):
    """Answers of one model, column by column: n of them, in the order in which they were read."""

    model: str
    times: NDArray[np.int64]
    """When each was answered, microseconds."""
    moments: NDArray[np.int64]
    """The `request_time` of each, by the data's clock: outcomes mature from then on."""
    flagged: NDArray[np.bool_]
    """Whether each was decided positively."""
    scores: NDArray[np.float64]
    decisions: NDArray[Any]
    """In words."""
    ids: NDArray[np.uint64]
    """A hash of each prediction's id."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> NDArray[Any] | None:
        """The values of an attribute, or else of an aggregate, or else of a feature of that name: numbers or objects;
        None where there is none."""

    def keys(self) -> list[str]:
        """The key of each, as the log has it."""

    def predictions(self, places: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[Prediction]:
        """Those at these positions, ascending, or all."""


@dataclass(frozen=True)
class Chunk:
    """What was read at once.

    Attributes:
        cursor: how far each part of the log was read, of those parts that were read; forgotten: those that are no more.
        damage: parts that could not be read on, in words; what stands before the damage was read.
        more: whether there is more to read.
    """

    blocks: list[Block]
    outcomes: list[Outcome]
    cursor: dict[str, str]
    forgotten: set[str] = field(default_factory=set)
    damage: list[str] = field(default_factory=list)
    more: bool = False
