"""Where scores go: what every sink answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from batch.plan import Finished, Part, Plan, Run
from settings import HoldfastError


class SinkError(HoldfastError, RuntimeError):
    """Scores cannot be kept; the message says where, and what to do."""


class Target(Protocol):
    """One run's place in a sink, held by one process."""

    @property
    def where(self) -> str:
        """The place, for people; without a password."""

    def plan(self) -> Plan | None:
        """The plan that is kept here, if the run was ever begun."""

    def keep(self, plan: Plan) -> None:
        """Keep the plan."""

    def committed(self) -> list[Part]:
        """Parts that are here whole, by number; one whose content is no longer what was committed is not among them."""

    def commit(self, plan: Plan, part: Part, scores: pa.Table, rejected: pa.Table) -> Part:
        """Keep a part, whole or not at all; once more changes nothing. What is told of it afterwards."""

    def finish(self, finished: Finished) -> None:
        """Say that everything is here."""


class Sink(Protocol):
    """Keeps the scores of many runs."""

    def unfinished(self) -> list[Run]:
        """Runs that were begun here and not finished, newest as_of last."""

    def hold(self, run: Run) -> AbstractContextManager[Target]:
        """The place of that run, made if need be, while the block runs.

        Raises:
            SinkError, StoreError: if it cannot be had, or another process holds it.
        """
