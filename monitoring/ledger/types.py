"""What a ledger holds, what a pass adds to it, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Of the tables. To change them: raise it, and let `tables` bring those of the former version up to date."""

Ids = NDArray[np.uint64]
"""Hashes of prediction ids, ascending, each once."""


@dataclass(frozen=True)
class Opened:
    """The open window of a model. Times are microseconds: `start` and `end` when the first and the last of its answers
    were given, 0 while there is none; `late` of its rows, which are left out of that, were answered before an earlier
    window had ended, or before its own had begun where windows go by time."""

    model: str
    rows: int
    labelled: int
    late: int
    start: int
    end: int
    window: bytes


@dataclass(frozen=True)
class Closed:
    """A window that was closed and judged. Numbers count from 1 per model; `closed_at` is by the clock on the wall."""

    model: str
    number: int
    start: int
    end: int
    closed_at: int
    rows: int
    labelled: int
    late: int
    window: bytes
    verdict: Mapping[str, Any]
    """`Verdict.to_json()`."""
    reference: str
    """What it was held against: `training`, `served 1-7`, or `settling` while that is being gathered."""

    @property
    def alarm(self) -> bool:
        """Whether its verdict alarms."""
        return bool(self.verdict["alarm"])


@dataclass(frozen=True)
class Fact:
    """Another result of a pass: a kind ("performance", "skew", "quality", "reference", "retrain", "pass" ...), the
    model that it is about, when (microseconds, by the clock on the wall), and plain values."""

    kind: str
    model: str | None
    at: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """Predictions that were counted: answered from `start` to `end`, microseconds, inclusive."""

    start: int
    end: int
    ids: Ids


@dataclass
class Change:
    """What is committed at once, or not at all.

    Attributes:
        after: the commit that this was made from; another one since then, and this is refused.
        cursor: how far the log was read, by part of the log; forgotten: parts that are no more.
        counters: what is added to each (name, label). notes: values that watchers keep, by name; None removes one.
        seen: ids that were counted; unseen: those answered before this time are not kept any longer.
    """

    after: int
    cursor: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    opened: dict[str, Opened] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    counters: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: dict[str, bytes | None] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    unseen: int | None = None


class Ledger(Protocol):
    """What monitoring knows of one use case.

    Everything that a pass learnt is committed at once, so that whenever one is killed, the former state stands. Two
    passes may run; the one that commits second is refused. What does not exist yet reads as empty. Every method raises
    StoreError where it cannot be read or written, and where it is of a version that is not known.
    """

    where: str

    def number(self) -> int:
        """Of the last commit; 0 before the first."""

    def cursor(self) -> dict[str, str]:
        """How far the log was read, by part of the log."""

    def models(self) -> list[str]:
        """Tags that answers were counted of, in the order of the alphabet."""

    def opened(self, model: str) -> Opened | None:
        """Its open window; None before its first answer."""

    def closed(self, model: str, last: int | None = None) -> list[Closed]:
        """Its closed windows, or so many last ones; oldest first."""

    def counters(self) -> dict[tuple[str, str], int]:
        """What was counted, by name and label, such as ("records", "late")."""

    def facts(self, kind: str, model: str | None = None, last: int | None = None) -> list[dict[str, Any]]:
        """Results of that kind, of one model or of all, or so many last ones; oldest first: `body` with `at` and
        `model`."""

    def note(self, name: str) -> bytes | None:
        """What a watcher keeps under that name."""

    def seen(self, start: int, end: int) -> list[Ids]:
        """Ids that were counted, of those parts that have answers of the time from `start` to `end`."""

    def commit(self, change: Change) -> int:
        """Add all of it; the number of the commit.

        Raises:
            Busy: if there was another commit since the one that the change was made from; nothing is changed then.
        """

    def migrate(self) -> str:
        """Make what is missing of the tables; again, it changes nothing. What there is then, in words."""
