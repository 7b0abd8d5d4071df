"""Quality beside windows: who was answered as unknown or without the online store, how old rows were, what was refused.

A fact of kind "quality" is of one model, and of this hour and the one before:

    {"model": TAG, "since": microseconds, "rows": answers,
     "unknown": of keys without events, "degraded": without the online store,
     "age": {"mean", "max"} seconds from the time that the aggregates of the others are for to the request, or None,
     "fingerprints": of features, "thresholds": of decisions, that answers came of}

Refused requests have no model: they are counters ("rejected", reason), as `Refusals` has the reasons.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from features.clock import SECOND
from model.predictions.block import Block
from monitoring.passes.passing import Pass
from monitoring.passes.recent import recent


class Answered(msgspec.Struct, kw_only=True):
    """Answers of one model since a time, microseconds; `age` is the sum of seconds over answers not degraded."""

    since: int
    rows: int = 0
    unknown: int = 0
    degraded: int = 0
    age: float = 0.0
    oldest: float = 0.0
    rules: list[tuple[str, float]] = []

    def __add__(self, later: Answered) -> Answered:
        """Both together."""
        return Answered(
            since=min(self.since, later.since),
            rows=self.rows + later.rows,
            unknown=self.unknown + later.unknown,
            degraded=self.degraded + later.degraded,
            age=self.age + later.age,
            oldest=max(self.oldest, later.oldest),
            rules=sorted({*self.rules, *later.rules}),
        )

    def body(self, model: str) -> dict[str, Any]:
        """The fact."""
        fresh = self.rows - self.degraded
        return {
            "model": model,
            "since": self.since,
            "rows": self.rows,
            "unknown": self.unknown,
            "degraded": self.degraded,
            "age": {"mean": self.age / fresh, "max": self.oldest} if fresh else None,
            "fingerprints": sorted({fingerprint for fingerprint, _ in self.rules}),
            "thresholds": sorted({threshold for _, threshold in self.rules}),
        }


class Quality:
    """A watcher of a pass."""

    def watch(self, pass_: Pass) -> None:
        """Count what was read."""
        for told in pass_.chunk.refusals:
            for reason, count in told.counts.items():
                pass_.count("rejected", reason, count)
        own: dict[str, Answered] = {}
        for block in pass_.chunk.blocks:
            found = answered(block, pass_.now)
            own[block.model] = own[block.model] + found if block.model in own else found
        for model, found in own.items():
            pass_.fact("quality", recent(pass_, f"quality {model}", found).body(model), model)


def answered(block: Block, now: int) -> Answered:
    """What there is to say of some answers."""
    degraded, ages = block.degraded, block.ages[~block.degraded] / SECOND
    return Answered(
        since=now,
        rows=len(block),
        unknown=int(np.count_nonzero(~block.known & ~degraded)),
        degraded=int(np.count_nonzero(degraded)),
        age=float(ages.sum()),
        oldest=float(ages.max(initial=0.0)),
        rules=sorted(block.rules),
    )
