"""How performance of each model stands: what was gathered for its open window, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from monitoring.outcomes.performance import fact
from monitoring.outcomes.tally import Tally
from usecases import Costs


@dataclass
class Standing:
    """Of one model: answers and labelled of the open window, and of all that is closed."""

    answers: Tally
    labelled: Tally
    all_answers: Tally
    all_labelled: Tally

    @staticmethod
    def from_bytes(data: bytes | None) -> Standing:
        """What `to_bytes` gave; None is a model that nothing was gathered of."""
        if data is None:
            return Standing(*(Tally.empty() for _ in range(4)))
        return Standing(*(Tally.read(text) for text in msgspec.msgpack.decode(data)))

    def to_bytes(self) -> bytes:
        """About 20 kB, for `from_bytes`."""
        return msgspec.msgpack.encode(
            [t.text() for t in (self.answers, self.labelled, self.all_answers, self.all_labelled)]
        )

    def facts(self, model: str, window: int, costs: Costs) -> list[dict[str, Any]]:
        """Of the open window, whose number it is given, and of all so far."""
        return [
            fact(model, window, self.answers, self.labelled, costs),
            fact(model, None, self.all_answers + self.answers, self.all_labelled + self.labelled, costs),
        ]

    def close(self) -> None:
        """Another window begins."""
        self.all_answers, self.all_labelled = self.all_answers + self.answers, self.all_labelled + self.labelled
        self.answers = self.labelled = Tally.empty()
