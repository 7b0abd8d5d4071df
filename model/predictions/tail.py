"""Reading the prediction log on from where a job stopped: each record once, in chunks that fit into memory.

A cursor says how far each part of the log was read. It is to be committed with what was made of the chunk, in one
transaction; then whatever is killed, nothing is missed and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from model.predictions.block import Block
from model.predictions.outcome import Outcome
from model.predictions.reading import Directory, Log
from model.predictions.refusal import Refusals

__all__ = ["Block", "Chunk", "read_on"]

ROWS = 10_000
"""Answers in a chunk, about; a bulk request is not parted."""


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


def read_on(log: Log, cursor: Mapping[str, str], rows: int = ROWS) -> Iterator[Chunk]:
    """What is in a log behind a cursor, at the time of the call; the last chunk may be empty, and there is always one.

    Args:
        cursor: of all chunks so far, put together: empty for the beginning.

    Raises:
        StoreError: if the log cannot be read.
    """
    if isinstance(log, Directory):
        from model.predictions.following import follow

        yield from follow(log, cursor, rows)
    else:
        from model.predictions.postgres import Table  # psycopg, where it is asked for
        from model.predictions.postgres_tail import numbered

        assert isinstance(log, Table)  # noqa: S101  # there are two
        yield from numbered(log, cursor, rows)
