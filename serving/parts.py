"""What the core makes of accepted rows: batches, a request's parts of them, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.scorer import Scores
from serving.online import Found
from serving.rows import Rows


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch was made of: `now` in microseconds, what the store said, and the scores of n rows.

    `cells` are the aggregates' 8 bytes each, int64 (n, number of aggregates).
    """

    now: int
    found: Found
    scores: Scores
    cells: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows [start, stop) of a batch: what one request, or a slice of it, asked for."""

    batch: Batch
    start: int
    stop: int
    reasons: Sequence[dict[str, Any]] = ()
    """Explanations of its rows, as `model.explanation` tells them; none where nobody asked."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of a request that have an answer, each slice with its part of a batch, and the errors of the others."""

    parts: Sequence[tuple[Rows, Part]]
    errors: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Told:
    """The answers of a request, and the rows of it that have none: `{"row": position, "problems": [...]}`."""

    answers: Sequence[Any]
    errors: Sequence[dict[str, Any]]
