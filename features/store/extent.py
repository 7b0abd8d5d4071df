"""From when to when a batch reaches: enough to know, mostly without its rows, whether it has a part in an answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


@dataclass(frozen=True)
class Extent:
    """Bounds over the rows of a batch, microseconds, inclusive: when things happened and when they were known."""

    first: int
    last: int
    known_first: int
    known_last: int

    @staticmethod
    def of(path: Path) -> Extent:
        """From the footer of a file of rows."""
        footer = pq.read_metadata(path)
        names = footer.schema.names
        bounds = []
        for name in ("ts", "ingested_at"):
            groups = range(footer.num_row_groups)
            kept = [footer.row_group(group).column(names.index(name)).statistics for group in groups]
            bounds += [min(one.min for one in kept), max(one.max for one in kept)]
        return Extent(*bounds)

    def visible(self, before: int, t: int) -> bool | None:
        """Whether a row has `ts < before` and `ingested_at <= t`; None where only the rows tell."""
        if self.first >= before or self.known_first > t:
            return False
        return True if self.last < before or self.known_last <= t else None

    def within(self, start: int, end: int) -> bool | None:
        """Whether a row has `start <= ts < end`; None where only the rows tell."""
        if self.last < start or self.first >= end:
            return False
        return True if self.first >= start or self.last < end else None
