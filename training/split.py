"""Splits that do not let a test know its training: by time where there is time, by key elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.clock import rfc3339
from training.dataset import Dataset, LabelError, LeakageError
from usecases import Absence, UseCase


@dataclass(frozen=True)
class Split:
    """Three disjoint parts: fitted on, chosen and calibrated on, measured on."""

    train: Dataset
    valid: Dataset
    test: Dataset

    def parts(self) -> dict[str, Dataset]:
        """By name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


def split(usecase: UseCase, dataset: Dataset) -> Split:
    """Test on the last label time, validate on the last one decided before it, train on those decided before that.

    Without label times of their own: 60, 20 and 20 % of the keys, by their hash, so that a key never changes sides.

    Raises:
        LeakageError: if the history is too short for three label times whose windows do not overlap.
        LabelError: if a part has only one of the two outcomes, naming it.
    """
    if not isinstance(usecase.label, Absence):
        place = bucket(dataset.key, 5)
        return _learnable(Split(dataset.take(place < 3), dataset.take(place == 3), held_out(usecase, dataset)))
    times = np.unique(dataset.t)
    test = int(times[-1])
    valid = _last_before(times, test - usecase.label.horizon, dataset)
    last = _last_before(times, valid - usecase.label.horizon, dataset)
    parts = (dataset.take(dataset.t <= last), dataset.take(dataset.t == valid), dataset.take(dataset.t == test))
    return _learnable(Split(*parts))


def held_out(usecase: UseCase, dataset: Dataset) -> Dataset:
    """The examples of one label time that no training takes, now or later: where labels have times of their own, all of
    a time that is later than what a model was trained on; else those of a fifth of the keys."""
    return dataset if isinstance(usecase.label, Absence) else dataset.take(bucket(dataset.key, 5) == 4)


def folds(key: np.ndarray[Any, Any], label: np.ndarray[Any, Any], count: int, repeat: int) -> Iterator[tuple[Any, Any]]:
    """`count` stratified folds over keys, `repeat` times: (rows to train on, rows to test on)."""
    from sklearn.model_selection import StratifiedKFold

    for seed in range(repeat):
        yield from StratifiedKFold(count, shuffle=True, random_state=seed).split(key, label)


def bucket(key: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """A number below `count` for each key, from its sha256: the same on every machine and for ever."""
    digests = (hashlib.sha256(str(one).encode()).digest() for one in key)
    return np.array([int.from_bytes(digest[:8], "big") % count for digest in digests])


def _learnable(parts: Split) -> Split:
    for name, part in parts.parts().items():
        if part.label.all() or not part.label.any():
            raise LabelError(
                f"the {name} part has {len(part):,} examples, of which {int(part.label.sum()):,} are positive: both "
                "outcomes are needed to train and to measure; ingest more history, or look at the label"
            )
    return parts


def _last_before(times: np.ndarray[Any, Any], limit: int, dataset: Dataset) -> int:
    earlier = times[times <= limit]
    if not len(earlier):
        raise LeakageError(
            f"the label times {rfc3339(int(dataset.t.min()))} to {rfc3339(int(dataset.t.max()))} are too few for "
            "training, validation and test without overlapping label windows: ingest a longer history or shorten the "
            "horizon"
        )
    return int(earlier[-1])
