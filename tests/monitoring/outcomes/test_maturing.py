"""Outcomes mature: whatever comes when, each prediction's is counted once, and when its time is over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import usecases
from benchmarks.servers import Server
from features.clock import DAY, HOUR, MINUTE
from model import store
from model.predictions import Entry
from model.predictions.outcome import Outcome, Outcomes, identity
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.segment import SEALED, frame, name
from model.profile import Profile
from monitoring.ledger import Ledger
from monitoring.ledger.postgres import PostgresLedger
from monitoring.ledger.sqlite import SQLiteLedger
from monitoring.outcomes import marks
from monitoring.outcomes.marks import Marks
from monitoring.outcomes.maturing import Maturing
from monitoring.outcomes.tally import Tally
from monitoring.passes.passing import run
from monitoring.window import Window
from tests.effort import examples
from tests.model.answers import HEADER, entry, new_id
from usecases import UseCase, Watch

NOON = 1_717_243_200_000_000
TAG = "cdnow:20240101-matures1"
HEAD = msgspec.structs.replace(HEADER, usecase="cdnow", model=TAG)
MATURES = 2 * DAY
Record = Entry | Outcomes
_NUMBER = count(1)


@pytest.fixture(scope="module")
def profile() -> Iterator[Profile]:
    """The profile of a model in the store."""
    random = np.random.default_rng(0)
    score = random.beta(2, 5, 500)
    made = Profile.from_frame(
        {
            "visits": random.poisson(3, 500).astype(float),
            "recency": random.exponential(30, 500),
            "score": score,
            "decision": np.where(score >= 0.25, "leaves", "stays"),
        }
    )
    directory = store.home() / "models" / TAG.replace(":", "/")
    directory.mkdir(parents=True)
    (directory / "model.yaml").write_text("")
    (directory / "profile.json").write_bytes(msgspec.json.encode(made.to_json()))
    yield Profile.load(directory / "profile.json")
    shutil.rmtree(directory)


def usecase(rows: int = 10, matures: int = MATURES) -> UseCase:
    """cdnow, watched in small windows."""
    return replace(usecases.load("cdnow"), watch=Watch(rows=rows, matures=matures))


def answer(*keys: str, at: int, score: float = 0.1) -> Entry:
    """Answers, at microseconds after noon."""
    n = len(keys)
    scores = np.full(n, score)
    return entry(
        *keys,
        at=NOON + at,
        id=new_id(NOON + at),
        probability=scores.tobytes(),
        positive=(scores >= HEAD.threshold).tobytes(),
    )


def told(outcome: bool, *, observed: int = 0, **about: Any) -> Outcome:
    """An outcome of `prediction_id`, or of `key` and `at`, microseconds after noon."""
    by, key, at = about.get("prediction_id"), about.get("key"), about.get("at")
    moment = None if at is None else NOON + at
    return Outcome(
        outcome_id=identity(by, key, moment, outcome, NOON + observed),
        prediction_id=by,
        key=key,
        at=moment,
        outcome=outcome,
        observed_at=NOON + observed,
        received_at=NOON + next(_NUMBER),
    )


@dataclass(frozen=True)
class Place:
    """A log and a ledger of one kind, and how records come into the log."""

    log: Log
    ledger: Ledger
    put: Callable[[list[Record]], None]

    def tell(self, *outcomes: Outcome) -> None:
        """Outcomes come."""
        self.put([Outcomes(items=[one]) for one in outcomes])

    def passed(self, at: int, watched: UseCase, rows: int = 20_000) -> None:
        """A pass at that time of the data's clock, microseconds after noon."""
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOON + at)
        run(watched, self.ledger, self.log, [Maturing(now)], rows=rows)

    def outcomes(self) -> dict[str, int]:
        """The counters, without zeros."""
        return {label: n for (kind, label), n in self.ledger.counters().items() if kind == "outcomes" and n}

    def due(self) -> dict[int, int]:
        """Which slices will be looked at from when on, microseconds after noon; the log is not read for others."""
        due, _ = msgspec.msgpack.decode(
            self.ledger.note("outcomes") or b"", strict=False, type=tuple[dict[int, int], Any]
        )
        return {slice_ * marks.SLICE - NOON: moment - NOON for slice_, moment in due.items()}

    def labelled(self) -> int:
        """Outcomes in windows, open and closed."""
        opened = self.ledger.opened(TAG)
        return (opened.labelled if opened else 0) + sum(one.labelled for one in self.ledger.closed(TAG))

    def counts(self, profile: Profile) -> np.ndarray[Any, Any]:
        """Everything in windows, open and closed."""
        opened = self.ledger.opened(TAG)
        stored = [one.window for one in self.ledger.closed(TAG)] + ([opened.window] if opened else [])
        return sum((Window.from_bytes(profile, data) for data in stored), Window.empty(profile)).counts


def files(home: Path) -> Place:
    """In a fresh directory."""
    log = Directory(home / "log", "cdnow")
    log.path.mkdir(parents=True)

    def put(records: list[Record]) -> None:
        number = next(_NUMBER)
        whole = b"".join(b"".join(frame(record)) for record in [HEAD, *records])
        (log.path / (name(NOON - DAY, "pod", 7, number) + SEALED)).write_bytes(whole)

    return Place(log, SQLiteLedger(home / "monitor"), put)


def tables(url: str) -> Place:
    """In a fresh schema."""
    schema = f"maturing_{next(_NUMBER)}"
    log = Table(url, schema)
    log.migrate()

    def put(records: list[Record]) -> None:
        with log.writer() as writer:
            log.insert(writer, [(HEAD, record) for record in records])

    return Place(log, PostgresLedger(url, schema), put)


@pytest.fixture(params=["files", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgresql: Server) -> Place:
    """Of each kind."""
    return files(tmp_path) if request.param == "files" else tables(postgresql.url)


def test_an_outcome_counts_when_its_prediction_is_mature_and_not_sooner(place: Place, profile: Profile) -> None:
    first, later = answer("a", at=0, score=0.3), answer("b", at=HOUR, score=0.05)
    place.put([first, later])
    place.tell(told(True, prediction_id=first.id), told(False, key="b", at=2 * HOUR))
    place.passed(MATURES - 1, usecase())
    assert (place.outcomes(), place.labelled()) == ({"immature": 2}, 0)
    assert place.due() == {0: MATURES, HOUR: HOUR + MATURES}
    place.passed(MATURES, usecase())
    assert (place.outcomes(), place.labelled()) == ({"matched": 1, "immature": 1}, 1)
    place.passed(MATURES + HOUR - 1, usecase())
    assert place.outcomes() == {"matched": 1, "immature": 1}
    assert place.due() == {HOUR: HOUR + MATURES}
    for _ in range(2):
        place.passed(MATURES + HOUR, usecase())
        assert (place.outcomes(), place.labelled(), place.due()) == ({"matched": 2}, 2, {})
    expected = Window.from_outcomes(profile, np.array([0.3, 0.05]), np.array([True, False]))
    assert (place.counts(profile)[profile.layout.told :] == expected.counts[profile.layout.told :]).all()


@pytest.mark.usefixtures("profile")
def test_one_that_comes_late_counts_then_and_a_correction_does_not_count_again(place: Place) -> None:
    made = answer("a", "b", at=0)
    place.put([made])
    place.passed(0, usecase())
    assert (place.outcomes(), place.due()) == ({}, {0: MATURES})
    place.passed(MATURES, usecase())
    assert place.outcomes() == {"missing": 2}
    place.tell(told(True, observed=1, prediction_id=f"{made.id}-0"))
    place.passed(MATURES, usecase())
    assert (place.outcomes(), place.labelled()) == ({"missing": 1, "matched": 1}, 1)
    place.tell(told(False, observed=2, prediction_id=f"{made.id}-0"))
    for _ in range(2):
        place.passed(MATURES, usecase())
        assert (place.outcomes(), place.labelled()) == ({"missing": 1, "matched": 1, "corrected": 1}, 1)
    place.tell(told(False, observed=3, prediction_id=f"{made.id}-0"))  # as it was corrected already
    place.passed(MATURES, usecase())
    assert place.outcomes() == {"missing": 1, "matched": 1, "corrected": 1}
    assert [fact["labelled"] for fact in place.ledger.facts("performance", TAG)] == [1, 1]


@pytest.mark.usefixtures("profile")
def test_an_answer_that_is_in_the_log_twice_counts_once(tmp_path: Path) -> None:
    place, made = files(tmp_path), [answer("a", at=0), answer("b", at=1)]
    for _ in range(2):
        place.put([*made])
        place.tell(told(True, prediction_id=made[0].id))
        place.passed(MATURES + HOUR, usecase())
        assert (place.outcomes(), place.labelled()) == ({"matched": 1, "missing": 1}, 1)


@pytest.mark.usefixtures("profile")
def test_one_that_fits_no_prediction_is_told_and_counts_once_that_comes(place: Place) -> None:
    made = answer("a", at=0)
    place.tell(told(True, prediction_id=made.id), told(False, key="b", at=0), told(True, prediction_id=new_id(NOON)))
    place.passed(MATURES, usecase())
    assert place.outcomes() == {"unmatched": 3}
    place.put([made, answer("b", at=-1)])
    place.passed(MATURES, usecase())
    assert (place.outcomes(), place.labelled()) == ({"unmatched": 3, "matched": 2}, 2)


@pytest.mark.usefixtures("profile")
def test_performance_is_told_of_each_window_and_of_all(place: Place) -> None:
    watched = usecase(rows=4, matures=0)
    made = [answer(f"k{i}", at=i * MINUTE, score=0.1 + i / 10) for i in range(8)]
    place.put([*made[:4]])
    place.passed(HOUR, watched)
    place.tell(*(told(i % 2 == 1, prediction_id=made[i].id) for i in range(4)))
    place.passed(HOUR, watched)
    place.put([*made[4:]])
    place.passed(HOUR, watched)
    place.tell(*(told(i % 2 == 0, prediction_id=made[i].id) for i in range(4, 8)))
    place.passed(HOUR, watched)
    facts = [(one["window"], one["rows"], one["labelled"]) for one in place.ledger.facts("performance", TAG)]
    assert facts == [(1, 4, 0), (None, 4, 0), (2, 0, 4), (None, 4, 4), (2, 4, 4), (None, 8, 4), (3, 0, 4), (None, 8, 8)]
    last = place.ledger.facts("performance", TAG)[-1]["metrics"]
    outcomes = [i % 2 == 1 for i in range(4)] + [i % 2 == 0 for i in range(4, 8)]
    assert last["roc_auc"]["value"] == pytest.approx(roc_auc_score(outcomes, range(8)))
    assert last["rate"]["value"] == 0.5
    assert last["rate"]["expected"] == pytest.approx(0.45)


@dataclass(frozen=True)
class Story:
    """Answers and outcomes, in parts between which passes happen at the times given."""

    parts: list[list[Record]]
    times: list[int]
    entries: list[Entry]
    outcomes: dict[str, bool]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Answers over hours, outcomes of some of their rows, in any order; no prediction has two different ones."""
    made = [
        answer(*draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=4)), at=at * 7 * MINUTE, score=score / 10)
        for at, score in draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10)), max_size=6))
    ]
    ids = [id_ for one in made for id_ in one.ids()]
    outcomes = draw(st.dictionaries(st.sampled_from(ids), st.booleans())) if ids else {}
    twice = draw(st.sets(st.sampled_from(sorted(outcomes)))) if outcomes else set()
    words = [told(outcome, observed=1, prediction_id=id_) for id_, outcome in outcomes.items()]
    words += [told(outcomes[id_], observed=2, prediction_id=id_) for id_ in sorted(twice)]
    written: list[Record] = [*made, *(Outcomes(items=[one]) for one in words)]
    records = draw(st.permutations(written))
    cuts = sorted(draw(st.lists(st.integers(0, len(records)), max_size=4)))
    parts = [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    times = sorted(draw(st.lists(st.integers(0, 200), min_size=len(parts), max_size=len(parts))))
    return Story(parts, [MATURES + time * MINUTE for time in times], made, outcomes)


def tally(story: Story, now: int) -> Tally:
    """What is to be counted in the end: of every mature row with an outcome, once."""
    rows = [
        (score, story.outcomes[id_])
        for one in story.entries
        for id_, score in zip(one.ids(), np.frombuffer(one.probability), strict=True)
        if id_ in story.outcomes and one.now + MATURES <= NOON + now
    ]
    if not rows:
        return Tally.empty()
    score, outcome = (np.array(values) for values in zip(*rows, strict=True))
    return Tally.of(score, score >= HEAD.threshold, outcome)


def check(place: Place, story: Story, chunk: int, profile: Profile) -> None:
    """Passes between the parts, and two behind them."""
    watched = usecase(rows=5)
    for part, time in zip(story.parts, story.times, strict=True):
        if part:
            place.put(part)
        place.passed(time, watched, chunk)
    end = story.times[-1]
    place.passed(end, watched, chunk)
    expected = tally(story, end)
    mature = sum(len(one.keys) for one in story.entries if one.now + MATURES <= NOON + end)
    told_early = len(story.outcomes) - expected.rows
    found = place.outcomes()
    assert (found.get("matched", 0), place.labelled()) == (expected.rows, expected.rows)
    assert found.get("missing", 0) == mature - expected.rows
    assert found.get("immature", 0) + found.get("unmatched", 0) >= told_early >= found.get("immature", 0)
    assert "corrected" not in found
    facts = [one for one in place.ledger.facts("performance", TAG) if one["window"] is None and one["labelled"]]
    assert (facts[-1]["labelled"] if facts else 0) == expected.rows
    if facts:
        assert facts[-1]["positives"] == int(expected.positives.sum())
    outcome_cells = place.counts(profile)[profile.layout.told :]
    assert outcome_cells.sum() == expected.rows


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories(), st.sampled_from([1, 3, 20_000]))
def test_any_order_and_split_in_files_counts_the_same(
    tmp_path_factory: pytest.TempPathFactory, profile: Profile, story: Story, chunk: int
) -> None:
    check(files(tmp_path_factory.mktemp("story")), story, chunk, profile)


@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories(), st.sampled_from([1, 20_000]))
def test_any_order_and_split_in_postgresql_counts_the_same(
    postgresql: Server, profile: Profile, story: Story, chunk: int
) -> None:
    place = tables(postgresql.url)
    check(place, story, chunk, profile)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {place.log.schema} CASCADE")  # type: ignore[attr-defined]  # it is a Table


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.booleans(), max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_marks_are_read_as_they_were_written(outcomes: dict[int, bool], missing: int, early: int) -> None:
    made = Marks(outcomes, missing, early)
    assert Marks.from_bytes(made.to_bytes()) == made
    assert made.to_bytes() == Marks(dict(reversed(outcomes.items())), missing, early).to_bytes()


@given(st.sets(st.integers(0, 30)))
def test_runs_are_the_slices_and_nothing_else(slices: set[int]) -> None:
    spans = marks.runs(list(slices))
    assert [one for start, end in spans for one in range(start // marks.SLICE, end // marks.SLICE)] == sorted(slices)
    assert all(before[1] < after[0] for before, after in pairwise(spans))
