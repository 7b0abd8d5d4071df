"""The windows of one model: rows fill the open one, and what is full is closed and judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features import clock
from model.predictions.block import Block
from model.profile import Profile
from monitoring.ledger import Closed, Fact, Ledger, Opened
from monitoring.passes import reference
from monitoring.passes.reference import Reference
from monitoring.verdict import RING, Verdict, judge
from monitoring.window import Window
from usecases import Watch

SLACK = clock.MINUTE
"""Microseconds, by the clock on the wall, after which a window by time is closed without waiting for a later answer."""
_NEVER = -(2**62)


class Stream:
    """Of one model, as the ledger has it, and then as a pass goes on.

    Args:
        profile: of its artefact.

    Attributes:
        opened: whether anything was counted since the last `drain`.
    """

    def __init__(self, model: str, profile: Profile, watch: Watch, ledger: Ledger) -> None:
        self.model, self.profile, self._watch = model, profile, watch
        past = ledger.closed(model, RING - 1)
        self._number = past[-1].number if past else 0
        self._before = max((one.end for one in past), default=_NEVER)
        self._reference = reference.held(ledger, model, profile)
        self._settling: list[Closed] | None = None
        if self._reference is None and watch.reference == "training":
            self._reference = Reference(profile, "training")
        elif self._reference is None:
            self._settling = past[-watch.settle :]
        since = self._reference.last if self._reference else 0
        self._ring = [Window.from_bytes(profile, one.window) for one in past if one.number > since]
        opened = ledger.opened(model)
        self._window = Window.empty(profile) if opened is None else Window.from_bytes(profile, opened.window)
        self._late = opened.late if opened else 0
        self._start, self._end = (opened.start, opened.end) if opened else (0, 0)
        self.closed, self.facts = list[Closed](), list[Fact]()

    def count(self, block: Block, tell: Callable[[Closed], None] = lambda _: None) -> int:
        """Count the answers of a block; how many of them are late."""
        frame, times, late = self._frame(block), block.times, 0
        for start, end in self._cuts(times):
            if self._full(int(times[start])):
                tell(self.close())
            part = {name: values[start:end] for name, values in frame.items()}
            behind = times[start:end] < self._limit()
            self._span(times[start:end][~behind])
            self._window += Window.from_frame(self.profile, part)
            self._late += int(behind.sum())
            late += int(behind.sum())
            if self._watch.every is None and self._window.rows >= self._watch.rows:
                tell(self.close())
        return late

    def add(self, window: Window) -> None:
        """Add counts to the open window."""
        self._window += window

    def close(self) -> Closed:
        """Close the open window and judge it."""
        self._number += 1
        now, label = clock.now(), self._reference.label if self._reference else "settling"
        if not self._window.rows:  # outcomes alone
            self._start = self._end = max(self._before, 0)
        made = Closed(
            model=self.model,
            number=self._number,
            start=self._start,
            end=self._end,
            closed_at=now,
            rows=self._window.rows,
            labelled=self._window.labelled,
            late=self._late,
            window=self._window.to_bytes(),
            verdict=msgspec.json.decode(msgspec.json.encode(self._judged().to_json())),  # plain, as it is kept
            reference=label,
        )
        self.closed.append(made)
        self._before = max(self._before, self._end)
        self._window, self._late, self._start, self._end = Window.empty(self.profile), 0, 0, 0
        if self._settling is not None:
            self._settling.append(made)
            if len(self._settling) == self._watch.settle:
                self._settle(now)
        return made

    def due(self, now: int) -> bool:
        """Whether the open window goes by time, and its time is over by the clock on the wall; or else holds as many
        outcomes as a window has answers, which are not to wait for answers to fill it.
        """
        every = self._watch.every
        if every is None:
            return self._window.labelled >= self._watch.rows and self._settling is None
        return self._begun and clock.floor(self._end, every) + every + SLACK <= now

    def opened(self) -> Opened:
        """The open window."""
        window = self._window
        counted = (window.rows, window.labelled, self._late, self._start, self._end)
        return Opened(self.model, *counted, window.to_bytes())

    def _judged(self) -> Verdict:
        if self._reference is None:
            done, of = len(self._settling or ()) + 1, self._watch.settle
            said = f"settling: window {done} of the {of} that will be the reference; nothing was judged"
            return Verdict(False, (), {}, (said,), self._window.rows, self._window.labelled, 0, (), self._watch.budget)
        self._ring = [*self._ring, self._window][-RING:]
        return judge(self._reference.profile, self._ring, self._watch.budget)

    def _settle(self, now: int) -> None:
        windows = self._settling or []
        self._reference, self._settling, self._ring = reference.served(self.profile, windows), None, []
        why = f"the first {len(windows)} windows that were served"
        self.facts.append(reference.fact(self.model, windows, now, "monitor", why))

    @property
    def _begun(self) -> bool:
        """Whether there is an answer in the open window that is not late."""
        return self._window.rows > self._late

    def _cuts(self, times: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Where rows are parted: each part is of one window."""
        n, every = len(times), self._watch.every
        if every is None:
            room = self._watch.rows - self._window.rows
            if room <= 0:  # fewer rows are asked for than before
                room = self._watch.rows
            starts = [0, *range(room, n, self._watch.rows)]
        else:
            slots = np.maximum.accumulate(times // every)
            starts = [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist()]
        return list(zip(starts, [*starts[1:], n], strict=True)) if n else []

    def _full(self, time: int) -> bool:
        """Whether an answer of that time is not for the open window."""
        every = self._watch.every
        if every is None:
            return self._window.rows >= self._watch.rows
        return self._begun and time // every > self._end // every

    def _limit(self) -> int:
        """Answers before this time come late."""
        every = self._watch.every
        if every is None or not self._begun:
            return self._before
        return max(self._before, clock.floor(self._end, every))

    def _span(self, times: NDArray[np.int64]) -> None:
        """Widen the window's time by answers that are not late, before they are counted."""
        if len(times):
            first, last = int(times.min()), int(times.max())
            self._start = min(self._start, first) if self._begun else first
            self._end = max(self._end, last) if self._begun else last
        elif not self._window.rows:
            self._start = self._end = self._before

    def _frame(self, block: Block) -> dict[str, NDArray[Any]]:
        """What the profile watches."""
        found: dict[str, NDArray[Any]] = {}
        for column in self.profile.columns:
            values = {"score": block.scores, "decision": block.decisions}.get(column.role)
            if values is None:
                values = block.column(column.name)
            found[column.name] = np.full(len(block), None, object) if values is None else values
        if self.profile.layout.time is not None:
            found[self.profile.layout.time] = block.times
        return found
