"""One event in the life of a use case's models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

Action = Literal["promote", "rollback", "refuse", "ready", "stop", "remove"]
DECIDING = ("promote", "rollback")
"""Actions after which the alias is the entry's tag."""
CHAMPION = "champion"
CANDIDATE = "candidate"
"""The alias of what a retraining made, until somebody promotes it."""


class Check(TypedDict):
    """One thing that the gate looked at: its value, the limit it had to keep, and the same in words."""

    check: str
    value: float | str | None
    limit: float | str | None
    passed: bool
    said: str


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    `before` and `tag` are model tags; `alias` is empty where none is meant: ready, stop and remove. `content` is the
    content digest of the model ("" if it was not known), `process` which process of the pod serves, as `process.py`
    writes it, and `number` the line, from 1.
    """

    time: str
    who: str
    action: Action
    usecase: str
    alias: str
    before: str | None
    tag: str
    why: str
    proof: str
    image: str = ""
    pod: str = ""
    process: str = ""
    content: str = ""
    forced: bool = False
    checks: list[Check] = field(default_factory=list)
    number: int = 0
