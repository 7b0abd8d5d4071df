"""`holdfast outcomes ingest|derive`: files of every kind, and events, into any log; every row is told of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

import usecases
from benchmarks.servers import Server
from cli.deriving import derive
from cli.telling import Refusal, bring
from features.clock import DAY, HOUR, parse, rfc3339
from features.etl.read import SourceError
from model.predictions import Entry, Header
from model.predictions.outcome import Outcome
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Directory
from model.predictions.segment import SEALED, frame, name
from settings import HoldfastError
from tests.cli.studio import START, Studio, said, told
from tests.effort import examples
from tests.model.answers import HEADER, entry

CDNOW = usecases.load("cdnow")
PLAIN = Pseudonyms(None)
ID = "019b76da18006c1f20a4000001"
GOOD: list[dict[str, Any]] = [
    {"prediction_id": ID, "outcome": True, "observed_at": "2026-07-01T00:00:00Z"},
    {"prediction_id": f"{ID}-3", "outcome": False, "observed_at": "2026-07-01T02:00:00+02:00"},
    {"customer_id": "2", "at": "2026-04-02T09:30:00.5Z", "outcome": True, "observed_at": "2026-07-01T00:00:00Z"},
    {"customer_id": "2", "at": "2026-04-02T09:30:00Z", "outcome": False, "observed_at": "2026-07-01T00:00:00Z",
     "outcome_id": "mine"},
]  # fmt: skip
COLUMNS = ["prediction_id", "customer_id", "at", "outcome", "observed_at", "outcome_id"]


def shorn(found: list[Outcome]) -> list[tuple[Any, ...]]:
    """Everything but when they were received."""
    return [(o.outcome_id, o.prediction_id, o.key, o.at, o.outcome, o.observed_at, o.client) for o in found]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in a file of the kind that its name says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    else:
        table(rows).to_parquet(path)
    return path


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a frame with types of its own."""
    found = pd.DataFrame(rows, columns=COLUMNS)
    for moment in ("at", "observed_at"):
        found[moment] = pd.to_datetime(found[moment], format="ISO8601", utc=True)
    return found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "frame"])
def test_every_kind_says_the_same(kind: str, tmp_path: Path) -> None:
    log, refused = Directory(tmp_path / "log", "cdnow"), list[Refusal]()
    source = table(GOOD) if kind == "frame" else written(tmp_path / f"o.{kind}", GOOD)
    brought = bring(CDNOW, log, PLAIN, source, refused.append)
    assert (brought.read, brought.new, brought.known, brought.refused, refused) == (4, 4, 0, 0, [])
    june, april = parse("2026-07-01T00:00:00Z"), parse("2026-04-02T09:30:00Z")
    found = [one[1:] for one in shorn(list(log.outcomes()))]
    assert found == [
        (ID, None, None, True, june, ""),
        (f"{ID}-3", None, None, False, june, ""),
        (None, "2", april + 500_000, True, june, ""),
        (None, "2", april, False, june, ""),
    ]
    assert list(log.outcomes())[-1].outcome_id == "mine"
    again = bring(CDNOW, log, PLAIN, source, refused.append)
    assert (again.read, again.new, again.known, again.refused) == (4, 0, 4, 0)


@pytest.mark.parametrize(("text", "outcome"), [("TRUE", True), ("yes", True), ("1", True), ("False", False),
                                               ("NO", False), ("0", False)])  # fmt: skip
def test_an_outcome_may_be_spelled_so(text: str, outcome: bool, tmp_path: Path) -> None:
    log = Directory(tmp_path / "log", "cdnow")
    bring(CDNOW, log, PLAIN, written(tmp_path / "o.csv", [{**GOOD[0], "outcome": text}]), lambda _: None)
    assert [one.outcome for one in log.outcomes()] == [outcome]


BAD = [
    ({"outcome": "churned"}, "outcome: one of true, yes, 1, false, no, 0: 'churned'"),
    ({"outcome": ""}, "outcome: Field required"),
    ({"observed_at": "2026-07-01T00:00:00"}, "observed_at: Input should be a time with its zone"),
    ({"observed_at": "2026-02-30T00:00:00Z"}, "observed_at: Input should be a time with its zone"),
    ({"observed_at": "1782864000"}, "observed_at: Input should be a time with its zone"),
    ({"prediction_id": "42"}, "prediction_id: Input should be the `prediction_id` of an answer"),
    ({"prediction_id": ""}, "prediction_id: Field required, or else customer_id and at"),
    ({"prediction_id": "", "customer_id": "2"}, "at: Field required"),
    ({"customer_id": "2"}, "customer_id: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_bad_row_is_refused_with_its_number_and_reason(change: dict[str, str], reason: str, tmp_path: Path) -> None:
    log, refused = Directory(tmp_path / "log", "cdnow"), list[Refusal]()
    rows = [GOOD[1], {**GOOD[0], **change}, GOOD[2]]
    brought = bring(CDNOW, log, PLAIN, written(tmp_path / "o.csv", rows), refused.append)
    assert (brought.read, brought.new, brought.refused, sum(brought.reasons.values())) == (3, 2, 1, 1)
    assert [(one.row, len(one.reasons)) for one in refused] == [(2, 1)]
    assert refused[0].reasons[0].startswith(reason)


cell = st.sampled_from(["", "true", "0", "maybe", ID, "2", "2026-07-01T00:00:00Z", "yesterday", "ü", 'a"b', "\x07"])


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cell, min_size=5, max_size=7), max_size=8), st.binary(max_size=12))
def test_good_and_bad_rows_are_all_rows_whatever_stands_in_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], rubbish: bytes
) -> None:
    home = tmp_path_factory.mktemp("rows")
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    path = home / "o.csv"
    path.write_bytes(text.getvalue().encode() + (rubbish.replace(b'"', b"").replace(b"\n", b"").replace(b"\r", b"")))
    log, refused = Directory(home / "log", "cdnow"), list[Refusal]()
    brought = bring(CDNOW, log, PLAIN, path, refused.append)
    assert brought.read >= len(rows)
    assert brought.read == brought.new + brought.known + brought.refused
    assert brought.new == len(list(log.outcomes()))
    assert len(refused) == brought.refused == len({one.row for one in refused})


def test_json_lines_that_are_none_are_refused_and_the_others_are_not(tmp_path: Path) -> None:
    log, refused, path = Directory(tmp_path / "log", "cdnow"), list[Refusal](), tmp_path / "o.jsonl"
    lines = [json.dumps(GOOD[0]), "{", "", "[1]", json.dumps({**GOOD[1], "more": 1}), json.dumps(GOOD[1])]
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\n" + b"[" * 100_000)
    brought = bring(CDNOW, log, PLAIN, path, refused.append)
    assert (brought.read, brought.new, brought.refused) == (7, 2, 5)
    assert [one.row for one in refused] == [2, 3, 4, 6, 7]
    assert "more: Extra inputs" in refused[2].reasons[0]


def test_a_file_of_something_else_is_refused_whole(tmp_path: Path) -> None:
    log = Directory(tmp_path / "log", "cdnow")
    path = tmp_path / "o.csv"
    path.write_text("customer_id,at,outcome,observed_at,colour\n")
    with pytest.raises(SourceError, match="no column 'colour' of outcomes"):
        bring(CDNOW, log, PLAIN, path, lambda _: None)
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        bring(CDNOW, log, PLAIN, tmp_path / "none.jsonl", lambda _: None)


def test_keys_and_ids_of_ones_own_are_hashed_as_the_log_has_them(tmp_path: Path) -> None:
    log, secret = Directory(tmp_path / "log", "cdnow"), Pseudonyms(SecretStr("s" * 32))
    bring(CDNOW, log, secret, written(tmp_path / "o.csv", GOOD), lambda _: None)
    found = list(log.outcomes())
    assert [one.key for one in found] == [None, None, secret("2"), secret("2")]
    assert found[-1].outcome_id == secret("mine")


@pytest.fixture(params=["files", "postgresql"])
def environ(request: pytest.FixtureRequest, tmp_path: Path, postgresql: Server) -> Iterator[dict[str, str]]:
    """A home, and a log of each kind."""
    home = {"HOLDFAST_HOME": str(tmp_path / "var"), "HOLDFAST_USECASE": "telco"}
    if request.param == "files":
        yield home
        return
    yield {**home, "HOLDFAST_PREDICTIONS_URL": postgresql.url}
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA holdfast_telco CASCADE")


def test_the_command_tells_what_became_of_each_row(environ: dict[str, str], tmp_path: Path) -> None:
    key = usecases.load("telco").key
    path, rejects = tmp_path / "o.csv", tmp_path / "o.csv.rejects.jsonl"
    head = f"{key},at,outcome,observed_at\n"
    good = [f"{n},2026-04-02T09:30:00Z,{n % 2},2026-07-01T00:00:00Z\n" for n in range(5)]
    path.write_text(head + "".join([*good[:4], "5,today,no,2026-07-01T00:00:00Z\n", good[4]]))
    found = told("outcomes", "ingest", str(path), environ=environ)
    assert (found["read"], found["new"], found["known"], found["refused"]) == (6, 5, 0, 1)
    (refused,) = map(json.loads, rejects.read_text().splitlines())
    assert (refused["row"], refused["original"]) == (5, "5,today,no,2026-07-01T00:00:00Z")
    assert found["rejects"] == str(rejects)
    assert "5 known" in said("outcomes", "ingest", str(path), environ=environ).output
    assert len(told("predictions", "outcomes", environ=environ)["outcomes"]) == 5
    path.write_text(head + good[0])
    assert told("outcomes", "ingest", str(path), environ=environ)["rejects"] is None
    assert not rejects.exists()
    path.write_text(head + "1,,,\n")
    refusal = said("outcomes", "ingest", str(path), environ=environ, code=1)
    assert "no row of" in str(refusal.exception)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Visits of 200 days."""
    made = Studio(tmp_path_factory.mktemp("studio"))
    made.members(200)
    made.visits((0, 200), 200)
    return made


def answers(log: Directory, pseudonyms: Pseudonyms, keys: list[str]) -> list[Entry]:
    """Answers about these members on several days, and one about a key that nobody knew."""
    header = msgspec.structs.replace(HEADER, usecase="studio", hashed=pseudonyms.mark)
    made = [
        entry(*map(pseudonyms, keys[day % 7 :: 7]), at=START + day * DAY + HOUR, bulk=True) for day in range(20, 200, 9)
    ]
    made.append(entry(pseudonyms("nobody's"), at=START + 50 * DAY, known=bytes(1)))
    log.path.mkdir(parents=True)
    records: list[Header | Entry] = [header, *made]
    path = log.path / (name(made[0].time, "pod", 7, 1) + SEALED)
    path.write_bytes(b"".join(b"".join(frame(one)) for one in records))
    return made


@pytest.mark.parametrize("secret", [None, SecretStr("s" * 32)])
def test_outcomes_come_from_the_events_as_training_would_label_them(
    secret: SecretStr | None, studio: Studio, tmp_path: Path
) -> None:
    workspace, pseudonyms, log = studio.at(200), Pseudonyms(secret), Directory(tmp_path / "log", "studio")
    made = answers(log, pseudonyms, workspace.events.keys(START + 20 * DAY).tolist())
    horizon = 30 * DAY

    def brought(since: int | None = None) -> Any:
        return derive(workspace.usecase, workspace.events, log, pseudonyms, START, as_of=workspace.now, since=since)

    late = brought(START + 100 * DAY)
    first = brought()
    again = brought()
    visits = [
        (pseudonyms(key), at)
        for batch in workspace.events.batches()
        if batch.table == "events"
        for rows in [workspace.events.events(batch.number)]
        for key, at in zip(rows["key"], rows["ts"], strict=True)
    ]
    expected = {
        id_: not any(whom == key and one.now <= at < one.now + horizon for whom, at in visits)
        for one in made[:-1]
        if one.now + horizon <= parse(first.upto)
        for key, id_ in zip(one.keys, one.ids(), strict=True)
    }
    assert {one.prediction_id: one.outcome for one in log.outcomes()} == expected
    assert 0 < sum(expected.values()) < len(expected)
    assert {one.observed_at for one in log.outcomes()} == {
        one.now + horizon for one in made[:-1] if one.now + horizon <= parse(first.upto)
    }
    everyone = sum(len(one.keys) for one in made)
    assert first.read == everyone == first.new + first.known + first.undecided + first.strangers
    assert (first.strangers, first.known, again.new, again.known) == (1, late.new, 0, len(expected))
    assert parse(first.upto) <= workspace.now
    assert rfc3339(START) < first.upto


def test_a_label_that_is_no_absence_cannot_be_derived(tmp_path: Path) -> None:
    telco = usecases.load("telco")
    with pytest.raises(HoldfastError, match="bring them with `holdfast outcomes ingest FILE`"):
        derive(telco, None, Directory(tmp_path, "telco"), PLAIN, 0, as_of=0, since=None)  # type: ignore[arg-type]


def test_a_summary_shows_what_was_refused_for_each_reason(tmp_path: Path) -> None:
    log = Directory(tmp_path / "log", "cdnow")
    rows = [{**GOOD[0], "outcome": text} for text in ("churned", "churned", "it's gone", "x" * 100)]
    rows += [{**GOOD[0], "observed_at": "yesterday"}] * 2
    brought = bring(CDNOW, log, PLAIN, written(tmp_path / "o.csv", rows), lambda _: None)
    (first, often), (second, twice) = brought.reasons.items()
    assert (first, often) == ("outcome: one of true, yes, 1, false, no, 0: 'churned' and others", 4)
    assert second.startswith("observed_at: Input should be a time with its zone")
    assert (second.endswith(": 'yesterday'"), twice) == (True, 2)
    long = bring(CDNOW, log, PLAIN, written(tmp_path / "l.csv", rows[3:4]), lambda _: None)
    assert list(long.reasons) == [f"outcome: one of true, yes, 1, false, no, 0: '{'x' * 35}...'"]


def test_what_was_observed_in_the_future_is_brought_with_a_warning(tmp_path: Path) -> None:
    rows = [GOOD[0], {**GOOD[1], "observed_at": "2999-01-01T00:00:00Z"}]
    log = Directory(tmp_path / "log", "cdnow")
    brought = bring(CDNOW, log, PLAIN, written(tmp_path / "o.csv", rows), lambda _: None)
    assert (brought.new, brought.ahead) == (2, 1)
    then = parse("2999-01-01T00:00:00Z") - DAY  # HOLDFAST_NOW may be later than the clock on the wall
    log = Directory(tmp_path / "other", "cdnow")
    assert bring(CDNOW, log, PLAIN, tmp_path / "o.csv", lambda _: None, now=then).ahead == 0
    assert bring(CDNOW, log, PLAIN, tmp_path / "o.csv", lambda _: None, now=then - 1).ahead == 1
    environ = {"HOLDFAST_HOME": str(tmp_path / "var"), "HOLDFAST_USECASE": "cdnow"}
    output = said("outcomes", "ingest", str(tmp_path / "o.csv"), environ=environ).output
    assert "WARNING     1 row with an observed_at of more than a day from now" in output
