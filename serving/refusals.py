"""What requests are refused for: counted here, told to Prometheus, and recorded now and then for monitoring."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model.predictions.refusal import Refusals
from serving import metrics
from serving.call import prediction_id
from serving.errors import Malformed, NotAccepted, RequestError, TooLarge, WrongMedia
from serving.recorder import Recorder

EVERY = 10.0
"""Seconds, at least, between two records of a process."""
KINDS = (Malformed, NotAccepted, TooLarge, WrongMedia)
"""What says that a request is wrong, and not that it comes at a wrong time or to a wrong place."""
OTHER = "field other"


class Refusing:
    """Counts refusals of predictions, by the reasons of `Refusals.counts`. Its methods are called by one thread.

    Args:
        names: the key and the fields of the contract. recorder: None where no answer can be given either.
    """

    def __init__(self, names: Iterable[str], recorder: Recorder | None) -> None:
        self._reasons = {name: f"field {name}" for name in names}
        self._recorder = recorder
        self._counts, self._written = Counter[str](), 0.0

    def request(self, route: str, error: RequestError) -> None:
        """A request was answered with that problem."""
        if not isinstance(error, KINDS) or "feedback" in route.lower() or route == metrics.OTHER:
            return
        if not isinstance(error, NotAccepted):
            self._count([error.outcome()])
        elif error.problems and all(isinstance(one, dict) and "row" in one for one in error.problems):
            self.rows(error.problems)
        else:
            self._count(self._fields(error.problems))

    def rows(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """These rows of a bulk request were refused."""
        for one in errors:
            self._count(self._fields(one["problems"]))

    def tick(self) -> None:
        """Record what there is, if the last record is old enough; to be called now and then."""
        if self._counts and time.monotonic() - self._written >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Record what there is; what the log cannot take now is kept for the next time."""
        if self._recorder is None or self._recorder.off or not self._counts:
            return
        self._written = time.monotonic()
        told = Refusals(id=prediction_id(), time=time.time_ns() // 1_000, counts=dict(self._counts))
        if self._recorder.note(told):
            self._counts.clear()

    def _fields(self, problems: Sequence[Any]) -> set[str]:
        said = [str(one.get("field", "")).split(".") if isinstance(one, dict) else [] for one in problems]
        return {next((self._reasons[part] for part in parts if part in self._reasons), OTHER) for parts in said} or {
            OTHER
        }

    def _count(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._counts[reason] += 1
            metrics.REFUSED.labels(reason).inc()
