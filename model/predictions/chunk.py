"""What is read of a prediction log at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.predictions.block import Block
from model.predictions.outcome import Outcome
from model.predictions.refusal import Refusals


@dataclass(frozen=True)
class Chunk:
    """What was read at once.

    Attributes:
        blocks: answers, about in order of time, by model. outcomes: as they were told; in files one may come twice.
        cursor: how far each part of the log was read, of the parts that were read; forgotten: parts that are no more.
        last: whether this is all that was there. unique: whether the log holds no prediction twice.
        trouble: parts that cannot be read on now, in words; what stands before the damage was read.
        refusals: what requests were refused for.
    """

    blocks: list[Block] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    cursor: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)
    last: bool = False
    unique: bool = False
    refusals: list[Refusals] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.blocks))
