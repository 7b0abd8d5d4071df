"""Answers that come twice: a segment that was copied, or brought back, is counted once."""

from __future__ import annotations

from typing import Any

import numpy as np

from features import clock
from model.predictions.block import Block, Part
from monitoring.ledger import Change, Ids, Ledger, Seen

KEPT = 30 * clock.DAY
"""Microseconds, before the newest answer, in which duplicates are recognised; what is older is counted unchecked."""


def fresh(blocks: list[Block], ledger: Ledger, change: Change) -> list[Block]:
    """The blocks without answers that were counted before; the rest is remembered."""
    if not blocks:
        return []
    ids = np.concatenate([block.ids for block in blocks])
    times = [(int(block.times.min()), int(block.times.max())) for block in blocks]
    start, end = min(first for first, _ in times), max(last for _, last in times)
    _, first = np.unique(ids, return_index=True)
    fresh = np.zeros(len(ids), np.bool_)
    fresh[first] = True
    for seen in ledger.seen(start, end):
        fresh &= ~_among(seen, ids)
    if fresh.any():
        change.seen.append(Seen(start, end, np.sort(ids[fresh])))
    change.unseen = end - KEPT
    if fresh.all():
        return list(blocks)
    change.counters["records", "duplicate"] += int((~fresh).sum())
    found: list[Block] = []
    for block, here in zip(blocks, np.split(fresh, np.cumsum([len(block) for block in blocks])[:-1]), strict=True):
        if here.any():
            found.append(block if here.all() else Part(block, np.flatnonzero(here)))
    return found


def _among(seen: Ids, ids: Ids) -> np.ndarray[Any, np.dtype[np.bool_]]:
    places = np.minimum(np.searchsorted(seen, ids), len(seen) - 1)
    found: np.ndarray[Any, np.dtype[np.bool_]] = seen[places] == ids
    return found
