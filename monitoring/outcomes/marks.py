"""Marks: which predictions of a slice of time have had their outcomes counted, and what was counted."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec
import numpy as np

from features.clock import MINUTE

SLICE = 10 * MINUTE
"""Predictions are kept track of by when they were answered, in slices of so many microseconds."""


@dataclass
class Marks:
    """Of one slice.

    Attributes:
        outcomes: what was counted last, by hash of the prediction's id: 9 bytes of each are kept.
        missing: predictions that are mature and have no outcome; early: those that have one and are not mature yet.
    """

    outcomes: dict[int, bool] = field(default_factory=dict)
    missing: int = 0
    early: int = 0

    def to_bytes(self) -> bytes:
        """For `from_bytes`; the same marks give the same bytes."""
        ids = np.array(sorted(self.outcomes), "<u8")
        true = np.packbits(np.array([self.outcomes[id_] for id_ in ids.tolist()], bool))
        whole = msgspec.msgpack.encode([1, self.missing, self.early, ids.tobytes(), true.tobytes()])
        return zlib.compress(whole, 1)

    @staticmethod
    def from_bytes(data: bytes | None) -> Marks:
        """What `to_bytes` gave; None is a slice that nothing is known of yet."""
        if data is None:
            return Marks()
        _, missing, early, ids, true = msgspec.msgpack.decode(zlib.decompress(data))
        names = np.frombuffer(ids, "<u8").tolist()
        flags = np.unpackbits(np.frombuffer(true, np.uint8), count=len(names)).astype(bool).tolist()
        return Marks(dict(zip(names, flags, strict=True)), missing, early)


def hashed(prediction_id: str) -> int:
    """What stands for a prediction's id: of the ids of a slice two are the same with a chance of n**2 / 2**65."""
    return int.from_bytes(blake2b(prediction_id.encode(), digest_size=8).digest(), "little")


def of(moment: int) -> int:
    """The slice of a time."""
    return moment // SLICE


def runs(slices: list[int]) -> list[tuple[int, int]]:
    """Slices as spans of time [start, end), microseconds: neighbours in one."""
    spans: list[list[int]] = []
    for one in sorted(slices):
        if spans and spans[-1][1] == one:
            spans[-1][1] = one + 1
        else:
            spans.append([one, one + 1])
    return [(start * SLICE, end * SLICE) for start, end in spans]
