"""Outcomes from a table: each row checked as feedback is, and brought into the log or refused with reasons."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from features import clock
from features.etl.read import SourceError, read
from features.source import Source
from model.predictions.outcome import Outcome
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Log
from model.predictions.telling import tell
from serving.feedback import Feedback
from usecases import UseCase

if TYPE_CHECKING:
    import pandas as pd

SPELLINGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""How an outcome may be written, in any case."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d)(?::?(\d\d))?")
"""RFC 3339, and as databases and pandas write times: a blank for the T, a zone of hours alone."""

_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
"""A value in a reason: rows that differ in it alone are refused for the same."""
_WIDTH = 40
"""Of a value in a summary; the file of refused rows has all of it."""


@dataclass(frozen=True)
class Row:
    """A row as it was given: its number from 1, its text, its fields; or what is wrong with it as a whole."""

    number: int
    original: str
    said: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A row that was not accepted, and why."""

    row: int
    reasons: list[str]
    original: str


@dataclass(frozen=True)
class Brought:
    """What became of every row: read = new + known (there already, or twice in the file) + refused."""

    read: int
    new: int
    known: int
    refused: int
    reasons: dict[str, int]
    """How many rows were refused for each reason, the most frequent first; with one of the values."""
    ahead: int = 0
    """Of those that were accepted, how many were observed later than is possible."""


def bring(
    usecase: UseCase,
    log: Log,
    pseudonyms: Pseudonyms,
    given: Path | pd.DataFrame,
    refuse: Callable[[Refusal], None],
    *,
    now: int | None = None,
) -> Brought:
    """Bring the outcomes of a file (CSV, JSON lines, Parquet) or a pandas frame into the log.

    Columns: `prediction_id`, or the use case's key and `at`; `outcome`, `observed_at`, and, if wanted, `outcome_id`.

    Args:
        now: the data's clock, microseconds; what was observed more than a day after it and after the real time is
            `ahead`.

    Raises:
        SourceError: if the whole cannot be read, or has a column that is none of these; nothing was brought then.
        StoreError: if the log cannot be read or written.
    """
    contracts = Feedback(usecase, 1, pseudonyms, None)
    reasons, examples, rows, ahead = Counter[str](), dict[str, list[str]](), 0, 0
    latest = max(clock.now(), now or 0) + clock.DAY

    def accepted() -> Iterator[Outcome]:
        nonlocal rows, ahead
        for row in _rows(given, usecase):
            rows += 1
            found = _checked(row, contracts)
            if isinstance(found, Outcome):
                ahead += found.observed_at > latest
                yield found
            else:
                for reason in found:
                    alike = _QUOTED.sub("", reason)
                    reasons[alike] += 1
                    example, known = _QUOTED.sub(_shortened, reason), examples.setdefault(alike, [])
                    if len(known) < 2 and example not in known:
                        known.append(example)
                refuse(Refusal(row.number, found, row.original))

    told = tell(log, accepted())
    refused = {
        examples[alike][0] + " and others" * (len(examples[alike]) > 1): often for alike, often in reasons.most_common()
    }
    return Brought(rows, told.new, told.known, rows - told.new - told.known, refused, ahead)


def _rows(given: Path | pd.DataFrame, usecase: UseCase) -> Iterator[Row]:
    names = {"prediction_id", usecase.key, "at", "outcome", "observed_at", "outcome_id"}
    if isinstance(given, Path) and given.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _lines(given)
        return
    text = read(given, Source(next(iter(usecase.sources.values())).contract))
    if unknown := set(text.header) - names:
        raise SourceError(
            f"{text.origin}: there is no column {min(unknown)!r} of outcomes; there are {', '.join(sorted(names))}: "
            "leave the others out"
        )
    for record in text.records:
        original = record.original.decode("utf-8", "backslashreplace")
        fields = {} if record.problem else dict(zip(text.header, record.values, strict=True))
        said = {name: value for name, value in fields.items() if value not in (None, "")}
        yield Row(record.row, original, said, record.problem)


def _lines(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate((line for line in lines if line.strip()), start=1):
                original = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
                try:
                    given = json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield Row(number, original, problem=f"unreadable: {error}")
                    continue
                if isinstance(given, dict):
                    said = {name: value for name, value in given.items() if value is not None}
                    yield Row(number, original, said)
                else:
                    yield Row(number, original, problem="unreadable: the line is no JSON object")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None


def _checked(row: Row, contracts: Feedback) -> Outcome | list[str]:
    if row.problem is not None:
        return [row.problem]
    said = dict(row.said)
    if "outcome" in said:
        said["outcome"] = SPELLINGS.get(str(said["outcome"]).lower(), said["outcome"])
    for name in ("at", "observed_at"):
        if isinstance(said.get(name), str) and (time := _TIME.fullmatch(said[name])):
            day, hours, zone, minutes = time.groups()
            said[name] = f"{day}T{hours}{zone}" + ("" if zone == "Z" else f":{minutes or '00'}")
    try:
        return contracts.outcome(said, "")[1]
    except ValidationError as error:
        return [_worded(problem) for problem in contracts.problems(error)]


def _worded(problem: dict[str, Any]) -> str:
    given = f": {problem['given']!r}" if "given" in problem else ""
    words = f"one of {', '.join(SPELLINGS)}" if problem["field"] == "outcome" and given else problem["problem"]
    return f"{problem['field']}: {words}{given}"


def _shortened(value: re.Match[str]) -> str:
    text = value[0]
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 4]}...{text[-1]}"
