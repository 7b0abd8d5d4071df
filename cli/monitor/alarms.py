"""Windows that alarm, told while a pass goes on: many in a row that say the same are told once."""

from __future__ import annotations

from dataclasses import dataclass, field

from cli.console import Out, many
from features.clock import rfc3339
from monitoring.ledger import Closed
from monitoring.verdict import Finding

SHOWN = 5
"""Findings of a window that are printed."""
ROW = 5
"""Windows in a row that are each told, though they say the same."""


@dataclass
class Alarms:
    """Tells of windows. The first of a row, of one model with the same columns and tests, is told at once; of more than
    `ROW` then only the last, once something else follows it, and how many lie between.

    Attributes:
        waiting: per model what the last window told says, and those behind it that say it too.
    """

    out: Out
    waiting: dict[str, tuple[frozenset[tuple[str, str]], list[Closed]]] = field(default_factory=dict)

    def tell(self, _: int, closed: list[Closed]) -> None:
        """As `monitoring.passes.passing.run` calls it."""
        for one in closed:
            says = frozenset((found["column"], found["test"]) for found in one.verdict["findings"])
            if one.alarm and one.model in self.waiting and self.waiting[one.model][0] == says:
                self.waiting[one.model][1].append(one)
                continue
            self._end(one.model)
            if one.alarm:
                self._say(one)
                self.waiting[one.model] = (says, [])

    def end(self) -> None:
        """Tell of those that are left; nothing follows."""
        for model in list(self.waiting):
            self._end(model)

    def _end(self, model: str) -> None:
        _, rest = self.waiting.pop(model, (frozenset(), []))
        if len(rest) >= ROW:
            self.out.say(
                f"             {len(rest) - 1} windows more, {rest[0].number} to {rest[-2].number}, say the same"
            )
            rest = rest[-1:]
        for one in rest:
            self._say(one)

    def _say(self, one: Closed) -> None:
        times = f"{rfc3339(one.start)} to {rfc3339(one.end)}"
        self.out.proved("ALARM", f"{one.model}, window {one.number} ({many(one.rows, 'answer')}, {times})")
        for finding in one.verdict["findings"][:SHOWN]:
            self.out.say(f"             {Finding(**finding)}")
        if (more := len(one.verdict["findings"]) - SHOWN) > 0:
            self.out.say(f"             and {more} more: holdfast monitor show")
