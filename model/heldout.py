"""Held-out answers: what a model answered on the examples that training kept away from it, stored in the artefact.

Another model is compared with it on the same examples, also where the code of its features is gone. A key is kept as
64 bits of its sha256: enough to find the same one again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FILE: Final = "heldout.npy"
MOST: Final = 100_000
"""Examples that are kept: beyond it those of the smallest hashes, which are the same ones for every model."""
ROW: Final = np.dtype([("key", "<u8"), ("t", "<i8"), ("label", "|b1"), ("probability", "<f8")])
Rows = NDArray[np.void]
"""n examples of `ROW`, by key and label time (microseconds; 0 where labels have no time of their own)."""


def hashed(key: np.ndarray[Any, Any]) -> NDArray[np.uint64]:
    """The first 64 bits of sha256 of each key."""
    digests = (hashlib.sha256(str(one).encode()).digest()[:8] for one in key)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(key))


def record(
    key: np.ndarray[Any, Any], t: np.ndarray[Any, Any], label: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]
) -> Rows:
    """Examples as they are stored: keys are text, times int64, labels bool, probabilities float64, all of n."""
    rows = np.empty(len(key), ROW)
    rows["key"], rows["t"], rows["label"], rows["probability"] = hashed(key), t, label, probability
    rows.sort(order=["key", "t"])
    return rows[:MOST]


def write(directory: Path, rows: Rows) -> None:
    """Store them in an artefact."""
    np.save(directory / FILE, rows, allow_pickle=False)


def read(directory: Path) -> Rows | None:
    """Those of an artefact whose files were checked; None where it is older than they are."""
    path = directory / FILE
    if not path.exists():
        return None
    rows: Rows = np.load(path, allow_pickle=False)
    return rows
