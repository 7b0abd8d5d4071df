"""`holdfast replay`: what models of before answered is computed again to the last bit, and what differs is named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.servers import Server
from model import store
from model.predictions import Entry, Header, Prediction, expand
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Directory
from model.predictions.segment import read, segments
from model.replay import Events, Replay
from serving.recorder import Recorder
from settings import HoldfastError
from tests.cli.conftest import holdfast
from tests.cli.studio import NOBODY, OWN, Studio, member, said, told
from tests.effort import examples

SINGLE = [member(number) for number in (1, 22, 33, 60, 999)]
BULK = [[member(number) for number in range(2)], [member(number) for number in [*range(100), 999]]]
SECRET = "a-secret-of-sixteen"
LAST = 242.6
ROW = 22
"""Of the large bulk request: somebody with visits."""
AWAY = {"online_url": "redis://127.0.0.1:1/0", "online_down": "cold-start"}


@dataclass(frozen=True)
class Past:
    """A studio in which three models followed one another, and how many of their answers are in the log."""

    studio: Studio
    tags: list[str]
    answers: int

    @property
    def environ(self) -> dict[str, str]:
        """Today."""
        return self.studio.environ(LAST)

    @property
    def log(self) -> Path:
        """The segments."""
        return self.studio.home / "var" / "studio" / "predictions"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Three models, each trained on more; answers by each, materialized, on read, of a store that is away, with
    pseudonyms; events that came late after each, and at the end."""
    studio = Studio(tmp_path_factory.mktemp("studio"))
    studio.members(200.5)
    tags, asked = [], [*SINGLE, *BULK]
    for number, day in enumerate((200.5, 220.25, LAST)):
        studio.visits((0, 200) if number == 0 else (day - 20, day), day)
        tags.append(studio.train(day, "logistic" if number == 1 else "xgboost"))
        answers = studio.answer(tags[-1], day, asked)
        answers += studio.answer(tags[-1], day, asked, online_read="on-read")
        answers += studio.answer(tags[-1], day, asked[:2], **AWAY)
        studio.visits((max(0, day - 60), day - 1), day, only=number + 1)  # late
    assert len(set(tags)) == 3
    return Past(studio, tags, 3 * (2 * (len(SINGLE) + 103) + 2))


def test_what_three_models_answered_replays_to_the_same_bits(past: Past) -> None:
    found = told("replay", "--from", "2020-01-01T00:00:00Z", environ=past.environ)
    assert (found["equal"], found["differ"], found["not_replayed"]) == (past.answers, 0, {})
    assert found["models"] == dict.fromkeys(past.tags, "to the last bit")
    everything = {"equal": past.answers, "differ": 0, "not_computed": {}}
    assert found["stages"] == dict.fromkeys(("answer", "features", "aggregates"), everything)
    assert found["predictions"] == []


def test_late_events_do_change_what_is_seen_today(past: Past) -> None:
    """Or else the test above would prove little."""
    workspace = past.studio.at(LAST)
    predictions = list(Directory(past.log, "studio").between())
    blind = Events(workspace.events, lambda one: one.key)
    last = blind.last()
    replays = {tag: Replay(store.path(tag), workspace.usecase.features) for tag in past.tags}
    for tag, again in replays.items():
        own = [replace(one, batch=last) for one in predictions if one.model == tag and one.known]
        differ = [one for one in again(own, blind) if not one.equal]
        assert differ
        assert {stage.name for one in differ for stage in one.stages if stage.differences} == {"aggregates"}


def test_one_answer_is_told_stage_by_stage(past: Past) -> None:
    name = next(one.prediction_id for one in Directory(past.log, "studio").between() if one.key == "m22")
    words = said("replay", name, environ=past.environ).stdout
    for text in (
        "answer      5 equal",
        "features    14 equal",
        "6 equal, as of 2025-07-20T00:00:00Z, of batches up to 2",
    ):
        assert text in words
    assert words.splitlines()[-1] == "replay      1 answer of 1 model(s): 1 equal to the last bit, 0 differ"
    found = told("replay", name, environ=past.environ)["predictions"]
    assert [stage["name"] for stage in found[0]["stages"]] == ["answer", "features", "aggregates"]


def test_a_request_by_the_clients_id_is_all_of_its_answers_and_the_command_is_one(past: Past) -> None:
    done = holdfast("replay", f"{past.tags[0][-8:]}-6", environ=past.environ)
    assert "replay      202 answers of 1 model(s): 202 equal to the last bit, 0 differ" in done.stdout


def test_the_last_ones_and_a_time(past: Past) -> None:
    assert told("replay", "--last", "7", environ=past.environ)["equal"] == 7
    assert told("replay", "--to", "2020-01-01T00:00:00Z", environ=past.environ)["equal"] == 0


def test_degraded_and_unknown_are_replayed_as_what_they_were(past: Past) -> None:
    found = [one for one in Directory(past.log, "studio").between() if one.degraded or one.key == NOBODY]
    for one in (found[0], next(one for one in found if one.degraded)):
        (again,) = told("replay", one.prediction_id, environ=past.environ)["predictions"]
        assert again["equal"]
        about = again["stages"][2]["about"]
        assert ("out of reach" in about) == one.degraded


@pytest.mark.parametrize(
    ("words", "said_"),
    [
        (("replay",), "say which"),
        (("replay", "x", "--last", "3"), "say which"),
        (("replay", "--last", "3", "--key", "m1"), "--key goes with an ID"),
        (("replay", "x"), "no prediction and no request 'x'"),
        (("replay", "--from", "noon"), "'noon' is no time"),
    ],
)
def test_what_a_user_can_mend_is_told(past: Past, words: tuple[str, ...], said_: str) -> None:
    done = said(*words, environ=past.environ, code=1)
    assert isinstance(done.exception, HoldfastError)
    assert said_ in str(done.exception)


def test_a_model_that_is_not_in_the_store_is_said_with_how_to_get_it(past: Past, tmp_path: Path) -> None:
    gone = rewritten(past, tmp_path, header=lambda header: replace(header, model="studio:20250101-00000000"))
    done = said("replay", "--last", "4", environ={**past.environ, **gone}, code=1)
    assert "not replayed" in done.output
    assert "holdfast models pull studio:20250101-00000000@sha256:DIGEST" in done.output


def test_where_there_are_no_events_the_rest_is_replayed(past: Past, tmp_path: Path) -> None:
    elsewhere = {**past.environ, "HOLDFAST_HOME": str(tmp_path), "HOLDFAST_PREDICTIONS_URL": f"file://{past.log}"}
    found = told("replay", "--last", "9", environ=elsewhere)
    assert found["stages"]["features"]["equal"] == 9
    degraded = found["stages"]["aggregates"]["equal"]
    assert degraded == 2
    assert found["stages"]["aggregates"]["not_computed"] == {"there are no events here: run it where they are": 7}


def test_a_model_that_the_gate_refuses_is_not_replayed(past: Past, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    directory.mkdir()
    source = store.path(past.tags[0])
    for path in source.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    (directory / "calibration.json").write_text("{}")
    with pytest.raises(HoldfastError, match=r"calibration.json: sha256 is"):
        Replay(directory, past.studio.at(LAST).usecase.features)


def entries(log: Path) -> list[tuple[Header, Entry]]:
    """All that is in a log."""
    return [both for path in segments(log) for both in read(path)]


def rewritten(
    past: Past,
    home: Path,
    *,
    header: Callable[[Header], Header] = lambda header: header,
    entry: Callable[[Entry], Entry] = lambda entry: entry,
    which: int = 6,
) -> dict[str, str]:
    """A log with one of the records changed, and nothing else, and where commands find it."""
    said_, told_ = entries(past.log)[which]
    url = f"file://{home / 'log'}"
    with closing(Recorder(url, home, header(said_), 10**9)) as recorder:
        recorder.append(entry(told_))
        assert not recorder.dropped["entry"]
    return {"HOLDFAST_PREDICTIONS_URL": url}


def changed(name: str, dtype: str, at: int, by: float) -> Callable[[Entry], Entry]:
    """One number of an array is another one."""

    def change(entry: Entry) -> Entry:
        values = np.frombuffer(getattr(entry, name), dtype).copy()
        values[at] += by
        return replace(entry, **{name: values.tobytes()})

    return change


TAMPERED: list[tuple[dict[str, Any], dict[str, set[str]]]] = [
    ({"entry": changed("margin", "<f8", ROW, 1e-15)}, {"answer": {"margin"}}),
    ({"entry": changed("probability", "<f8", ROW, 1e-9)}, {"answer": {"probability"}}),
    ({"entry": lambda e: replace(e, positive=bytes(1 - b for b in e.positive))}, {"answer": {"decision"}}),
    ({"header": lambda h: replace(h, threshold=0.3)}, {"answer": {"threshold"}}),
    ({"header": lambda h: replace(h, fingerprint="0" * 64)}, {"answer": {"fingerprint"}}),
    ({"entry": changed("features", "<f8", 3 * ROW + 1, 1e-9)}, {"features": {"days_away"}}),
    ({"entry": changed("aggregates", "<i8", 5 * ROW + 2, 1)}, {"aggregates": {"paid"}, "features": {"paid_per_visit"}}),
    (
        {"entry": lambda e: replace(e, known=bytes([*e.known[:ROW], 1 - e.known[ROW], *e.known[ROW + 1 :]]))},
        {"aggregates": {"known"}},
    ),
    (
        {"entry": lambda e: replace(e, keys=[*e.keys[:ROW], NOBODY, *e.keys[ROW + 1 :]])},
        {"aggregates": {"visits", "known"}},
    ),
    ({"entry": lambda e: replace(e, now=e.now + 1)}, {"features": {"days_away"}}),
    ({"entry": lambda e: replace(e, batch=99)}, {"aggregates": {"batch"}}),
    ({"entry": lambda e: replace(e, arrays={**e.arrays, "age": aged(e)})}, {"features": {"log_age"}}),
]


def aged(entry: Entry) -> tuple[Any, bytes]:
    """The attribute with another number in that row."""
    cells, data = entry.arrays["age"]
    values = np.frombuffer(data, "<i8").copy()
    values[ROW] += 1
    return cells, values.tobytes()


@pytest.mark.parametrize(("how", "expected"), TAMPERED, ids=range(len(TAMPERED)))
def test_a_record_that_was_tampered_with_is_found_by_name(
    past: Past, tmp_path: Path, how: dict[str, Any], expected: dict[str, set[str]]
) -> None:
    environ = {**past.environ, **rewritten(past, tmp_path, **how)}
    name = entries(tmp_path / "log")[0][1].id
    found = told("replay", name, environ=environ, code=1)
    rows = {one["prediction_id"]: one for one in found["predictions"]}
    differ = {
        stage["name"]: {one["name"] for one in stage["differences"]}
        for stage in rows[f"{name}-{ROW}"]["stages"]
        if stage["differences"]
    }
    for stage, names in expected.items():
        assert names <= differ[stage]
    assert set(differ) - {"answer"} <= set(expected)
    words = said("replay", f"{name}-{ROW}", environ=environ, code=1).output
    for names in expected.values():
        assert all(f"{one}: logged " in words for one in names)


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_bit_that_is_another_is_found(past: Past, data: st.DataObject) -> None:
    """Unless it says the same: another NaN, another byte for true."""
    header, entry = data.draw(st.sampled_from(entries(past.log)))
    name = data.draw(st.sampled_from(["aggregates", "features", "margin", "probability", "positive", "known"]))
    whole = bytearray(getattr(entry, name))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    before, after = (list(map(plain, expand(header, one))) for one in (entry, replace(entry, **{name: bytes(whole)})))
    assume(before != after)
    workspace = past.studio.at(LAST)
    again = Replay(store.path(header.model), workspace.usecase.features)
    rows = list(expand(header, replace(entry, **{name: bytes(whole)})))
    assert [one.equal for one in again(rows, Events(workspace.events, lambda one: one.key))] == [
        one == other for one, other in zip(before, after, strict=True)
    ]


def plain(one: Prediction) -> str:
    """All that a prediction says, in which NaN equals NaN and -0.0 does not equal 0.0."""
    return repr(one)


def test_answers_of_other_feature_code_replay_from_the_logged_features(past: Past, tmp_path: Path) -> None:
    (tmp_path / "studio.py").write_text((OWN / "studio.py").read_text().replace("/ DAY\n", "/ DAY / 7\n"))
    environ = {**past.environ, "HOLDFAST_USECASES": str(tmp_path)}
    found = told("replay", "--from", "2020-01-01T00:00:00Z", environ=environ)
    assert found["stages"]["answer"] == {"equal": past.answers, "differ": 0, "not_computed": {}}
    for stage in ("features", "aggregates"):
        assert found["stages"][stage]["equal"] == found["stages"][stage]["differ"] == 0
        whys = found["stages"][stage]["not_computed"]
        assert sum(whys.values()) == past.answers
        assert all(f"{tag} has other features" in " ".join(whys) for tag in past.tags)
        assert all("check out" in why for why in whys)
    worse = rewritten(past, tmp_path / "worse", entry=changed("margin", "<f8", ROW, 1e-9))
    assert told("replay", "--last", "101", environ={**environ, **worse}, code=1)["differ"] == 1


def test_pseudonyms_are_looked_up_or_named(past: Past, tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    past.studio.answer(past.tags[2], LAST, [*SINGLE, BULK[0]], predictions_url=url, id_hmac_key=SECRET)
    log = {**past.environ, "HOLDFAST_PREDICTIONS_URL": url}
    hashed = {**log, "HOLDFAST_ID_HMAC_KEY": SECRET}
    found = told("replay", "--last", "9", environ=hashed)
    assert (found["equal"], found["stages"]["aggregates"]["equal"]) == (7, 6)
    (why,) = found["stages"]["aggregates"]["not_computed"]
    assert "pseudonym" in why
    rows = list(Directory(tmp_path, "studio").between())
    one = next(row for row in rows if row.key == Pseudonyms(settings_of(SECRET))("m22"))
    named = told("replay", one.prediction_id, "--key", "m22", environ=hashed)
    assert named["stages"]["aggregates"] == {"equal": 1, "differ": 0, "not_computed": {}}
    nameless = told("replay", one.prediction_id, environ=hashed)["stages"]
    assert "name it with --key" in next(iter(nameless["aggregates"]["not_computed"]))
    assert nameless["answer"]["equal"] == 1
    wrong = said("replay", one.prediction_id, "--key", "m21", environ=hashed, code=1)
    assert "is not whom this answer is about" in str(wrong.exception)
    without = said("replay", one.prediction_id, "--key", "m22", environ=log, code=1)
    assert f"of the mark {one.hashed}" in str(without.exception)
    unknown = next(row for row in rows if not row.known)
    assert told("replay", unknown.prediction_id, "--key", NOBODY, environ=hashed)["equal"] == 1


def settings_of(secret: str) -> Any:
    """The secret as settings hold it."""
    return Studio(Path()).at(0, id_hmac_key=secret).settings.id_hmac_key


def test_a_log_in_postgresql_replays_to_the_same_bits(past: Past, postgresql: Server) -> None:
    with psycopg.connect(
        postgresql.url, autocommit=True
    ) as connection:  # of its own: studio answers in other tests too
        connection.execute("CREATE DATABASE replay")
    url = postgresql.url.rpartition("/")[0] + "/replay"
    for tag, day in ((past.tags[1], 220.25), (past.tags[2], LAST)):
        past.studio.answer(tag, day, [*SINGLE, *BULK], predictions_url=url)
    environ = {**past.environ, "HOLDFAST_PREDICTIONS_URL": url}
    answers = 2 * (len(SINGLE) + 103)
    found = told("replay", "--last", "5000", environ=environ)
    assert (found["equal"], found["differ"], found["stages"]["aggregates"]["equal"]) == (answers, 0, answers)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE holdfast_studio.predictions SET features = jsonb_set(features, '{days_away}', '1.5') "
            "WHERE key = 'm33' AND prediction_id NOT LIKE '%-%'"
        )
    worse = told("replay", "--last", "5000", environ=environ, code=1)
    assert {one["key"] for one in worse["predictions"]} == {"m33"}
    assert all(stage["differences"] for one in worse["predictions"] for stage in one["stages"][1:2])
