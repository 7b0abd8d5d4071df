"""Reading the prediction log on from where a job stopped: each record once, in chunks that fit into memory.

A cursor says how far each part of the log was read. It is to be committed with what was made of the chunk, in one
transaction; then whatever is killed, nothing is missed and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from model.predictions.block import Block
from model.predictions.chunk import Chunk
from model.predictions.following import follow
from model.predictions.reading import Directory, Log

__all__ = ["Block", "Chunk", "read_on"]

ROWS = 10_000
"""Answers in a chunk, about; a bulk request is not parted."""


def read_on(log: Log, cursor: Mapping[str, str], rows: int = ROWS) -> Iterator[Chunk]:
    """What is in a log behind a cursor, at the time of the call; the last chunk may be empty, and there is always one.

    Args:
        cursor: of all chunks so far, put together: empty for the beginning.

    Raises:
        StoreError: if the log cannot be read.
    """
    if isinstance(log, Directory):
        yield from follow(log, cursor, rows)
    else:
        from model.predictions.postgres import Table  # psycopg, where it is asked for
        from model.predictions.postgres_tail import numbered

        assert isinstance(log, Table)  # noqa: S101  # there are two
        yield from numbered(log, cursor, rows)
