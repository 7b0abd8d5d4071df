"""One pass of monitoring: what the log holds since the last one is counted, windows are closed and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from model.predictions.reading import Log
from model.predictions.tail import Chunk
from model.profile import Profile
from monitoring.ledger import Closed, Ledger
from monitoring.window import Window
from usecases import UseCase


class Pass(Protocol):
    """What a watcher is given, once per commit of a pass: all that it puts here is committed with the chunk, or not at
    all, so that each record is looked at exactly once.

    Attributes:
        ledger: as it was before this commit. log: the whole of it.
        chunk: what was read of it for this commit: `blocks` of answers (duplicates are left out) and `outcomes`.
        last: whether the log was read to its end, and this is the last commit of the pass.
        now: the clock on the wall when the pass began, microseconds.
        closed: windows that this commit closes.
    """

    usecase: UseCase
    ledger: Ledger
    log: Log
    chunk: Chunk
    last: bool
    now: int
    closed: list[Closed]

    def profile(self, model: str) -> Profile | None:
        """The profile of a model; None where it is not in the store here."""

    def add(self, model: str, window: Window) -> None:
        """Add counts, such as those of outcomes that matured, to the window that is open now."""

    def count(self, name: str, label: str, more: int = 1) -> None:
        """Add to a counter."""

    def fact(self, kind: str, body: Mapping[str, Any], model: str | None = None) -> None:
        """A result, for `Ledger.facts`."""

    def note(self, name: str, value: bytes | None) -> None:
        """Keep something under a name, for `noted`; None: no longer."""

    def noted(self, name: str) -> bytes | None:
        """What is kept under that name."""


class Watcher(Protocol):
    """Looks at more than windows: outcomes, skew, quality."""

    def watch(self, pass_: Pass) -> None:
        """Look at what was read, and put what is found into the pass."""
