"""A pass: each answer counted once, in windows cut where they should be, whatever comes late, twice or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features import clock
from features.clock import DAY, HOUR
from model import store
from model.archive import Away
from model.predictions import Entry, Header, Prediction
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.segment import SEALED, frame, name
from model.profile import Profile
from model.registry import Busy
from monitoring.ledger import Change, Closed, Ledger
from monitoring.ledger.postgres import PostgresLedger
from monitoring.ledger.sqlite import SQLiteLedger
from monitoring.passes import asking, passing
from monitoring.passes.passing import Pass, Passed
from monitoring.passes.reference import rebase
from monitoring.window import Window
from settings import HoldfastError
from tests.effort import examples
from tests.model.answers import HEADER, entry, new_id
from tests.model.toys import plan
from usecases import Retrain, UseCase, Watch

NOON = 1_717_243_200_000_000
TAG, OTHER = "plan:20240101-passing1", "plan:20240202-passing2"
HEAD = msgspec.structs.replace(HEADER, usecase="plan", model=TAG)
MODEL = """name: {}
version: {}
module: ''
labels: {{}}
options: {{}}
metadata: {{}}
context: {{framework_name: '', framework_versions: {{}}, bentoml_version: 1.4.39, python_version: 3.11.7}}
signatures: {{}}
api_version: v1
creation_time: '2024-01-01T00:00:00+00:00'
"""
LEVELS = ("north", "south", "east")
_NUMBER = count(1)


def sample(random: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, Any]:
    """Answers of a model, as columns."""
    score = random.beta(2, 5, rows)
    return {
        "region": random.choice(LEVELS, rows, p=[0.5, 0.3, 0.2]),
        "rating": random.normal(4 + shift, 1, rows),
        "visits": random.poisson(3, rows).astype(np.int64),
        "recency": random.exponential(30, rows),
        "score": score,
        "decision": np.where(score >= HEAD.threshold, *reversed(HEAD.labels)),
    }


def home(tag: str) -> Path:
    """Where the artefact of a model lies."""
    return store.home() / "models" / tag.replace(":", "/")


def stored(tag: str, seed: int = 0) -> Profile:
    """A profile, as the artefact of a model has it."""
    directory = home(tag)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.yaml").write_text(MODEL.format(*tag.split(":")))
    made = Profile.from_frame(sample(np.random.default_rng(seed), 20_000))
    (directory / "profile.json").write_bytes(msgspec.json.encode(made.to_json()))
    return Profile.load(directory / "profile.json")


@pytest.fixture(scope="module")
def profile() -> Iterator[Profile]:
    """That of the model; other tests have models of that name, too, and keep them."""
    yield stored(TAG)
    for tag in (TAG, OTHER):
        shutil.rmtree(home(tag), ignore_errors=True)


def watched(**given_: Any) -> UseCase:
    """`plan`, watched so."""
    return replace(plan(), watch=Watch(**{"rows": 10, **given_}))


def answers(
    rows: int, *, seed: int = 1, shift: float = 0.0, start: int = 0, step: int = 1_000, bulk: int = 1
) -> list[Entry]:
    """Answers from so many microseconds after noon on, one every `step`; `bulk` of them in each request."""
    of = sample(np.random.default_rng(seed), rows, shift)
    made = []
    for first in range(0, rows, bulk):
        here, moment = slice(first, min(first + bulk, rows)), NOON + start + first * step
        n = here.stop - first
        inner = np.empty((n, 2), "<i8")
        inner[:, 0], inner[:, 1] = of["visits"][here], np.arange(n)
        made.append(
            entry(
                *(f"m{i}" for i in range(first, here.stop)),
                at=moment,
                id=new_id(moment),
                bulk=bulk > 1,
                attributes={"region": of["region"][here].tolist(), "rating": of["rating"][here].tolist()},
                aggregates=inner.tobytes(),
                features=np.stack([of["visits"][here].astype(float), of["recency"][here]], 1).tobytes(),
                probability=of["score"][here].tobytes(),
                positive=(of["score"][here] >= HEAD.threshold).tobytes(),
            )
        )
    return made


@dataclass
class Place:
    """A log and a ledger of one kind."""

    log: Log
    ledger: Ledger
    usecase: UseCase = field(default_factory=watched)

    def put(self, entries: Sequence[Entry], model: str = TAG) -> Path | None:
        """Answers come: in files, a segment of their own."""
        header: Header = msgspec.structs.replace(HEAD, model=model)
        if isinstance(self.log, Directory):
            path = self.log.path / (name(entries[0].time, "pod", os.getpid(), next(_NUMBER)) + SEALED)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(part for record in [frame(header), *map(frame, entries)] for part in record))
            return path
        assert isinstance(self.log, Table)
        with self.log.writer() as connection:
            self.log.insert(connection, [(header, one) for one in entries])
        return None

    def passed(self, **given_: Any) -> Passed:
        """A pass."""
        return passing.run(self.usecase, self.ledger, self.log, **given_)

    def counters(self) -> dict[str, int]:
        """Of records."""
        return {label: n for (kind, label), n in self.ledger.counters().items() if kind == "records"}

    def windows(self, profile: Profile, model: str = TAG) -> list[Window]:
        """All of a model, the open one last."""
        opened = self.ledger.opened(model)
        assert opened is not None
        return [Window.from_bytes(profile, data) for data in (*(c.window for c in self.closed(model)), opened.window)]

    def closed(self, model: str = TAG) -> list[Closed]:
        """Its closed windows."""
        return self.ledger.closed(model)


Make = Callable[..., Place]


@pytest.fixture(params=["file", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path, profile: Profile) -> Make:
    """Makes an empty place."""
    assert profile.rows

    def made(**given_: Any) -> Place:
        if request.param == "file":
            own = tmp_path / str(next(_NUMBER))
            return Place(Directory(own / "predictions", "plan"), SQLiteLedger(own / "monitor"), watched(**given_))
        server: Server = request.getfixturevalue("postgresql")
        name_ = f"passing_{next(_NUMBER)}"
        table = Table(server.url, name_)
        table.migrate()
        return Place(table, PostgresLedger(server.url, name_), watched(**given_))

    return made


class Falling:
    """A watcher that counts, and fails the pass after so many steps, before a commit or behind it."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def watch(self, pass_: Pass) -> None:
        """Count what is given."""
        pass_.count("watched", "answers", len(pass_.chunk))
        self()

    def __call__(self, *_: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("killed")


def record(one: Prediction) -> dict[str, Any]:
    """A prediction as a row of a frame."""
    return {**one.features, **one.aggregates, **one.attributes, "score": one.probability, "decision": one.decision}


def total(windows: list[Window]) -> Window:
    """Their sum."""
    found = windows[0]
    for window in windows[1:]:
        found = found + window
    return found


def test_windows_are_cut_at_the_row_and_hold_what_was_answered(make: Make, profile: Profile) -> None:
    place = make(rows=10)
    place.put(answers(7))
    assert place.passed().closed == []
    assert place.ledger.opened(TAG) is not None
    place.put(answers(9, seed=2, start=DAY))
    place.put(answers(20, seed=3, start=2 * DAY, bulk=7))
    passed = place.passed()
    assert [(one.number, one.rows, one.late) for one in passed.closed] == [(1, 10, 0), (2, 10, 0), (3, 10, 0)]
    assert [one.reference for one in place.closed()] == ["training"] * 3
    assert place.closed()[0].start == NOON
    assert place.closed()[0].end == NOON + DAY + 2_000
    assert [window.rows for window in place.windows(profile)] == [10, 10, 10, 6]
    rows = sorted(place.log.between(), key=lambda one: one.answered_at)
    for number, window in enumerate(place.windows(profile)):
        own = Window.from_records(profile, map(record, rows[10 * number : 10 * number + 10]))
        assert (window.counts == own.counts).all()
    assert place.counters() == {"counted": 36}
    assert not place.passed().counts
    assert place.counters() == {"counted": 36}


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_read_when_and_whatever_fails_each_answer_counts_once(
    make: Make, profile: Profile, data: Any
) -> None:
    place = make(rows=data.draw(st.integers(1, 30)))
    every = answers(60, seed=data.draw(st.integers(0, 3)), bulk=data.draw(st.integers(1, 6)))
    data.draw(st.randoms(use_true_random=False)).shuffle(every)
    left = list(every)
    while left:
        part = sorted(left[: data.draw(st.integers(1, len(left)))], key=lambda one: one.time)
        place.put(part)
        left = [one for one in left if one not in part]
        falling = Falling(data.draw(st.integers(0, 4)))
        with suppress(RuntimeError):
            place.passed(watchers=[falling], rows=data.draw(st.integers(1, 20)), tell=falling)
    place.passed(watchers=[Falling(1_000)])
    found = total(place.windows(profile))
    expected = Window.from_records(profile, map(record, place.log.between()))
    assert found.rows == 60
    assert (found.counts == expected.counts).all()
    assert place.counters()["counted"] == 60
    assert place.ledger.counters()["watched", "answers"] == 60
    assert all(one.rows == place.usecase.watch.rows for one in place.closed())


def test_late_answers_are_counted_in_the_open_window_and_as_late(make: Make) -> None:
    place = make(rows=10)
    place.put(answers(12, start=HOUR))
    place.passed()
    place.put(answers(6))
    place.put(answers(2, start=2 * HOUR))
    passed = place.passed()
    (closed,) = passed.closed
    assert (closed.number, closed.rows, closed.late) == (2, 10, 6)
    assert (closed.start, closed.end) == (NOON + HOUR + 10_000, NOON + 2 * HOUR + 1_000)
    assert place.counters() == {"counted": 20, "late": 6}


def test_windows_by_time_close_when_a_later_answer_comes_or_their_time_is_over(make: Make) -> None:
    place = make(every=HOUR)
    first = clock.now() // HOUR * HOUR - 5 * HOUR - NOON
    place.put(answers(30, start=first + HOUR // 2, step=HOUR // 20))  # half an hour, and a whole one
    place.put(answers(4, start=first + HOUR, step=1))
    passed = place.passed()
    assert [(one.rows, one.late) for one in passed.closed] == [(10, 0), (24, 0)]  # all of it is long ago
    assert [one.start % HOUR for one in passed.closed] == [HOUR // 2, 0]
    place.put(answers(3, start=first + HOUR))
    assert place.passed().closed == []  # late ones alone close nothing
    place.put(answers(2, start=clock.now() // HOUR * HOUR - NOON, step=1))
    assert place.passed().closed == []
    assert place.counters() == {"counted": 39, "late": 3}
    opened = place.ledger.opened(TAG)
    assert opened is not None
    assert (opened.rows, opened.late) == (5, 3)


def test_a_segment_that_comes_twice_counts_once(make: Make) -> None:
    place = make()
    own = [*answers(8), *answers(12, seed=2, start=HOUR, bulk=5)]
    place.put(own)
    place.passed()
    place.put([*own, *answers(3, seed=4, start=2 * HOUR)])
    place.put(own[3:6])
    place.passed(rows=4)
    extra = {"duplicate": 23} if isinstance(place.log, Directory) else {}  # PostgreSQL holds no id twice
    assert place.counters() == {"counted": 23, **extra}


def test_models_have_windows_of_their_own_and_strangers_are_told(make: Make, profile: Profile) -> None:
    place, stranger = make(), "plan:20240303-nowhere"
    stored(OTHER, seed=5)
    for number, tag in enumerate((TAG, OTHER, stranger)):
        place.put(answers(10 + number, seed=number, start=number), tag)
    passed = place.passed()
    assert [(one.model, one.number, one.rows) for one in passed.closed] == [(TAG, 1, 10), (OTHER, 1, 10)]
    assert place.ledger.models() == [TAG, OTHER]
    assert place.counters() == {"counted": 21, "unknown_model": 12}
    often, why = passed.unknown[stranger]
    assert often == 12
    assert stranger in why
    assert list(place.ledger.facts("pass", last=1)[0]["unknown"]) == [stranger]
    assert profile.digest == total(place.windows(profile)).profile


def test_answers_wait_for_a_model_of_which_nothing_can_be_told_now(make: Make) -> None:
    place, away, known = make(), [True], "plan:20240303-passing3"
    place.put(answers(15))
    place.passed()
    place.put(answers(20, seed=2, start=HOUR), known)

    def find(tag: str) -> Path:
        if away[0] and tag == known:
            raise Away("the archive is out of reach")
        return home(TAG)

    with pytest.raises(Away):
        place.passed(find=find)
    assert place.counters() == {"counted": 15}
    away[0] = False
    assert [one.model for one in place.passed(find=find).closed] == [known, known]
    assert place.counters() == {"counted": 35}
    away[0] = True
    assert place.passed(find=find).unknown == {}  # windows of models that nobody asks can wait


def test_drift_alarms_and_the_verdict_is_kept(make: Make) -> None:
    place = make(rows=500)
    place.put(answers(1_000))
    place.put(answers(500, seed=2, shift=2.0, start=DAY))
    passed = place.passed()
    assert [one.alarm for one in passed.closed] == [False, False, True]
    assert [one.number for one in passed.alarms] == [3]
    assert place.closed()[-1].verdict["findings"][0]["column"] == "rating"
    kept, told = place.closed()[-1], passed.closed[-1]
    assert (kept.number, kept.rows, kept.end, kept.reference) == (told.number, told.rows, told.end, told.reference)
    assert kept.verdict["findings"] == told.verdict["findings"]


def test_the_first_served_windows_become_the_reference(make: Make) -> None:
    place = make(rows=500, reference="served", settle=2)
    for number in range(4):
        place.put(answers(500, seed=number, shift=2.0, start=number * DAY))
        place.passed()
    place.put(answers(500, seed=9, start=9 * DAY))
    place.passed()
    closed = place.closed()
    assert [one.reference for one in closed] == ["settling", "settling", "served 1-2", "served 1-2", "served 1-2"]
    assert [one.alarm for one in closed] == [False, False, False, False, True]
    assert closed[2].verdict["scales"] == [1]  # what the reference is made of is not pooled
    (said,) = place.ledger.facts("reference", TAG)
    assert (said["windows"], said["who"]) == ([1, 2], "monitor")


def test_another_reference_holds_from_the_next_window_on(make: Make) -> None:
    place = make(rows=500)
    place.put(answers(1_500, shift=2.0))
    assert [one.alarm for one in place.passed().closed] == [True, True, True]
    with pytest.raises(HoldfastError, match="3 closed windows, not 4"):
        rebase(place.ledger, TAG, 4, at=1, who="ann", why="")
    rebase(place.ledger, TAG, 2, at=1, who="ann", why="a new market")
    place.put(answers(500, seed=5, shift=2.0, start=DAY))
    (closed,) = place.passed().closed
    assert (closed.alarm, closed.reference) == (False, "served 2-3")
    said = place.ledger.facts("reference", TAG)[-1]
    assert (said["windows"], said["who"], said["why"], said["at"]) == ([2, 3], "ann", "a new market", 1)
    rebase(place.ledger, TAG, None, at=2, who="ann", why="it was none")
    place.put(answers(500, seed=6, shift=2.0, start=2 * DAY))
    (closed,) = place.passed().closed
    assert (closed.alarm, closed.reference) == (True, "training")


def test_of_two_passes_at_once_the_second_is_refused_and_the_next_goes_on(make: Make, profile: Profile) -> None:
    place = make()
    place.put(answers(30))

    class Meanwhile:
        def watch(self, pass_: Pass) -> None:
            if pass_.ledger.number() == 1:
                place.ledger.commit(Change(1))

    with pytest.raises(Busy):
        place.passed(watchers=[Meanwhile()], rows=8)
    place.passed()
    assert place.counters() == {"counted": 30}
    assert total(place.windows(profile)).rows == 30


def test_what_watchers_find_is_committed_with_the_chunk(make: Make, profile: Profile) -> None:
    place = make()
    place.put(answers(25))
    seen: list[tuple[int, int, bool]] = []

    class Watching:
        def watch(self, pass_: Pass) -> None:
            before = int(pass_.noted("seen") or b"0")
            pass_.note("seen", b"%d" % (before + len(pass_.chunk)))
            assert int(pass_.noted("seen") or b"0") == before + len(pass_.chunk)
            for block in pass_.chunk.blocks:
                pass_.fact("blocks", {"rows": len(block)}, block.model)
                known = pass_.profile(block.model)
                assert known is not None
                assert known.digest == profile.digest
            assert pass_.profile("plan:20240101-nobody") is None
            if pass_.last:
                pass_.add(TAG, Window.from_outcomes(profile, np.array([0.5, 0.1]), np.array([True, False])))
                pass_.count("outcomes", "matched", 2)
            seen.append((len(pass_.chunk), len(pass_.closed), pass_.last))

    place.passed(watchers=[Watching()], rows=10)
    assert seen == [(10, 1, False), (10, 1, False), (5, 0, True)]
    assert place.ledger.note("seen") == b"25"
    assert [one["rows"] for one in place.ledger.facts("blocks", TAG)] == [10, 10, 5]
    assert place.ledger.counters()["outcomes", "matched"] == 2
    opened = place.ledger.opened(TAG)
    assert opened is not None
    assert (opened.rows, opened.labelled) == (5, 2)
    place.put(answers(5, seed=3, start=DAY))
    (closed,) = place.passed().closed
    assert (closed.rows, closed.labelled) == (10, 2)


def test_outcomes_enough_for_a_window_do_not_wait_for_answers_to_fill_it(make: Make, profile: Profile) -> None:
    place = make(rows=50)
    place.put(answers(53))

    class Telling:
        def watch(self, pass_: Pass) -> None:
            if pass_.last:
                pass_.add(TAG, Window.from_outcomes(profile, np.full(60, 0.5), np.ones(60)))

    assert [(one.rows, one.labelled) for one in place.passed(watchers=[Telling()]).closed] == [(50, 0)]
    (closed,) = place.passed(watchers=[Telling()]).closed
    assert (closed.rows, closed.labelled) == (3, 60)
    (alone,) = place.passed().closed
    assert (alone.rows, alone.labelled) == (0, 60)
    assert closed.end <= alone.start == alone.end
    assert not place.passed().closed


def test_a_new_model_is_asked_for_after_so_many_alarms_in_a_row_and_not_again_while_it_cools(make: Make) -> None:
    place = make(rows=500, retrain=Retrain(tracks=("inputs",), windows=2, cooldown=DAY))

    def ask() -> dict[str, Any] | None:
        return asking.ask(place.usecase, place.ledger, {one.model for one in place.passed().closed})

    place.put(answers(500, shift=2.0))
    assert ask() is None
    place.put(answers(500, seed=2, start=DAY))  # pools still alarm, but for how long
    place.put(answers(500, seed=3, shift=2.0, start=2 * DAY))
    asked = ask()
    assert asked is not None
    assert asked["windows"][1] == 3
    assert asked["findings"][0]["column"] == "rating"
    assert (asking.untold(place.ledger) or {})["asked"] == asked["asked"]
    asking.told(place.ledger, asked)
    assert asking.untold(place.ledger) is None
    place.put(answers(1_000, seed=4, shift=2.0, start=3 * DAY))
    assert ask() is None  # it cools
    asking.answer(place.ledger, asked, "promote of a better one")
    assert (asking.standing(place.ledger) or {})["open"] is False
    place.usecase = watched(rows=500, retrain=Retrain(tracks=("inputs",), windows=2, cooldown=0))
    place.put(answers(500, seed=5, shift=2.0, start=4 * DAY))
    again = ask()
    assert again is not None
    assert again["asked"] > asked["asked"]
    place.usecase = watched(rows=500, retrain=Retrain(tracks=("outcomes",), windows=1, cooldown=0))
    place.put(answers(500, seed=6, shift=2.0, start=5 * DAY))
    assert ask() is None  # alarms, but not on that track
    place.usecase = watched(rows=500, retrain=None)
    place.put(answers(500, seed=7, shift=2.0, start=6 * DAY))
    assert ask() is None
