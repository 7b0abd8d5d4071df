"""Quality: unknown keys, degraded answers, ages, rules and refusals are counted once, whatever the log is kept in."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from msgspec.structs import replace

import usecases
from benchmarks.servers import Server
from features.clock import MINUTE, SECOND
from model.predictions import Entry, Header
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.refusal import Refusals
from model.predictions.tail import read_on
from monitoring.ledger.sqlite import SQLiteLedger
from monitoring.passes.passing import Pass, run
from monitoring.passes.recent import recent
from monitoring.quality import Answered, Quality, answered
from serving.recorder import Recorder
from tests.model.answers import HEADER, entry

HEADERS = (HEADER, replace(HEADER, threshold=0.5))
NOW = 10**15


def entries() -> list[tuple[Header, Entry]]:
    """Four answers by one rule, one unknown; two by another, both degraded."""
    old = [NOW - age * SECOND for age in (0, 10, 20, 30)]
    first = entry("a", "b", "c", "d", at=NOW, as_of=old, known=bytes([1, 1, 0, 1]))
    return [(HEADERS[0], first), (HEADERS[1], entry("e", "f", at=NOW + 1, degraded=True, known=bytes(2)))]


EXPECTED = Answered(
    since=7,
    rows=6,
    unknown=1,
    degraded=2,
    age=60.0,
    oldest=30.0,
    rules=[(HEADER.fingerprint, 0.25), (HEADER.fingerprint, 0.5)],
)


def found(log: Log) -> Answered:
    """Of a whole log."""
    total = Answered(since=7)
    for chunk in read_on(log, {}):
        for block in chunk.blocks:
            total = total + answered(block, 7)
    return total


def test_a_log_in_files(tmp_path: Path) -> None:
    for header, one in entries():
        with closing(Recorder(None, tmp_path, header, 1)) as recorder:
            recorder.append(one)
    assert found(Directory(tmp_path / "predictions", "club")) == EXPECTED


def test_a_log_in_postgresql(postgresql: Server) -> None:
    table = Table(postgresql.url, "quality")
    table.migrate()
    with closing(table.writer()) as connection:
        table.insert(connection, [(replace(header, usecase="quality"), one) for header, one in entries()])
    assert found(table) == EXPECTED


def test_a_fact_says_what_it_is_of() -> None:
    body = EXPECTED.body("m")
    assert body["age"] == {"mean": 15.0, "max": 30.0}
    assert (body["thresholds"], body["fingerprints"]) == ([0.25, 0.5], [HEADER.fingerprint])
    assert Answered(since=1, rows=2, degraded=2).body("m")["age"] is None


def test_refusals_are_counters_and_each_counts_once(tmp_path: Path) -> None:
    ledger, usecase = SQLiteLedger(tmp_path / "ledger"), usecases.load("telco")
    log = Directory(tmp_path / "predictions", "club")
    for number in range(3):
        with closing(Recorder(None, tmp_path, HEADER, 1)) as recorder:
            recorder.note(Refusals(id=str(number), time=number + 1, counts={"field a": 2, "too-large": 1}))
        for _ in range(2):
            run(usecase, ledger, log, [Quality()], rows=1)
    rejected = {label: count for (name, label), count in ledger.counters().items() if name == "rejected"}
    assert rejected == {"field a": 6, "too-large": 3}


@dataclass
class Clockwork:
    """A pass, as far as it keeps notes and knows the time."""

    now: int = 0
    notes: dict[str, bytes | None] = field(default_factory=dict)

    def note(self, name: str, value: bytes | None) -> None:
        """Keep."""
        self.notes[name] = value

    def noted(self, name: str) -> bytes | None:
        """What is kept."""
        return self.notes.get(name)


def test_what_was_found_stands_for_an_hour_at_least_and_for_two_at_most() -> None:
    passing = Clockwork()
    seen = []
    for minute in (0, 30, 59, 60, 119, 121, 400):
        passing.now = minute * MINUTE
        seen.append(recent(cast(Pass, passing), "x", Answered(since=passing.now, rows=1)).rows)
    assert seen == [1, 2, 3, 4, 5, 3, 1]
