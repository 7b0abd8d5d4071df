"""`holdfast predictions show|list|export|outcomes` over answers of the real model, in files and in PostgreSQL."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from benchmarks.servers import Server
from cli.workspace import Workspace
from features.clock import SECOND, micros, rfc3339
from features.store.base import Lookup
from model import gate
from model import store as model_store
from model.predictions import Entry, Header
from model.predictions.outcome import Outcome, Outcomes
from model.scorer import Scores
from serving.recorder import Recorder
from tests.cli.conftest import figures, holdfast
from tests.model.answers import new_id

NOBODY = "nobody's"


@dataclass(frozen=True)
class Answered:
    """Answers that were recorded, and outcomes of some: what went in, and the environment in which commands find it."""

    environ: dict[str, str]
    single: list[Entry]
    bulk: Entry
    header: Header
    lookup: Lookup
    scores: Scores
    told: list[Outcome]


def outcomes(single: list[Entry], bulk: Entry) -> list[Outcome]:
    """Of the first prediction one that is corrected, of a row of the bulk request one by its key, and of nobody's."""
    said: list[tuple[dict[str, Any], bool, int]] = [
        ({"prediction_id": single[0].id}, False, 1),
        ({"prediction_id": single[0].id}, True, 2),
        ({"key": bulk.keys[5], "at": bulk.time}, False, 3),
        ({"prediction_id": "0" * 26}, True, 4),
    ]
    return [
        Outcome(
            outcome_id=f"mine-{number}",
            outcome=outcome,
            observed_at=number * SECOND,
            received_at=bulk.time + number,
            client="crm",
            **about,
        )
        for about, outcome, number in said
    ]


def entries(workspace: Workspace, keys: list[str]) -> tuple[Header, list[Entry], Entry, Lookup, Scores]:
    """The model's answers for these keys: the first three one by one, the others in bulk."""
    features, now = workspace.usecase.features, workspace.now
    loaded = gate.load(model_store.path(str(workspace.champion())), features)
    with closing(workspace.online()) as online:
        lookup = online.read(keys)
    scores = loaded.scorer.score(lookup.aggregates, {}, np.full(len(keys), now, dtype=np.int64))
    header = Header(
        usecase=workspace.usecase.name,
        model=loaded.manifest.tag,
        fingerprint=loaded.manifest.fingerprint,
        threshold=loaded.scorer.decision.threshold,
        labels=(loaded.scorer.decision.negative, loaded.scorer.decision.positive),
        key=workspace.usecase.key,
        aggregates=list(lookup.aggregates),
        floats=[name for name, values in lookup.aggregates.items() if values.dtype == np.float64],
        features=list(features.columns),
        pod="pod-1",
    )

    def made(rows: slice, places: list[int] | None, request_id: str | None, after: int) -> Entry:
        moment = time.time_ns() // 1_000 + after
        own = new_id(moment)
        cells = np.stack([values[rows].view(np.int64) for values in lookup.aggregates.values()], axis=1)
        return Entry(
            id=own,
            request_id=request_id or own,
            route="/v1/predict",
            time=moment,
            now=now,
            latency=900,
            keys=keys[rows],
            places=places,
            attributes={},
            aggregates=cells.tobytes(),
            features=scores.matrix[rows].tobytes(),
            margin=scores.margin[rows].tobytes(),
            probability=scores.probability[rows].tobytes(),
            positive=scores.positive[rows].tobytes(),
            known=lookup.known[rows].tobytes(),
            as_of=lookup.as_of[rows].tolist(),
        )

    single = [made(slice(i, i + 1), None, f"mine-{i}", i * 1_000) for i in range(3)]
    return header, single, made(slice(3, None), list(range(len(keys) - 3)), None, 3_000), lookup, scores


@pytest.fixture(scope="module", params=["file", "postgresql"])
def answered(
    request: pytest.FixtureRequest, cdnow: Workspace, postgresql: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answered]:
    """Answers for fifty customers and a key without events, in a log of each kind."""
    home = tmp_path_factory.mktemp("answered")
    url = f"file://{home / 'log'}" if request.param == "file" else postgresql.url
    keys = [*cdnow.events.keys(cdnow.now)[:50].tolist(), NOBODY]
    header, single, bulk, lookup, scores = entries(cdnow, keys)
    with closing(Recorder(url, home, header, 10**9)) as recorder:
        for one in [*single, bulk]:
            recorder.append(one)
        told = outcomes(single, bulk)
        recorder.keep(Outcomes(items=told)).result(60)
    assert recorder.written == len(keys)
    yield Answered({"HOLDFAST_PREDICTIONS_URL": url}, single, bulk, header, lookup, scores, told)
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS holdfast_cdnow.predictions, holdfast_cdnow.outcomes")


def test_show_tells_everything_an_answer_was_made_of(answered: Answered) -> None:
    first, scores = answered.single[0], answered.scores
    (told,) = figures("predictions", "show", "mine-0", environ=answered.environ)["predictions"]
    assert (told["prediction_id"], told["request_id"]) == (first.id, "mine-0")
    assert (told["key"], told["known"], told["degraded"]) == (first.keys[0], True, False)
    assert (told["model"], told["fingerprint"]) == (answered.header.model, answered.header.fingerprint)
    assert (told["answered_at"], told["request_time"]) == (rfc3339(first.time), rfc3339(first.now))
    assert (told["probability"], told["margin"]) == (scores.probability[0], scores.margin[0])
    assert told["threshold"] == answered.header.threshold
    assert told["decision"] == answered.header.labels[int(scores.positive[0])]
    assert told["latency_us"] == 900
    assert (told["outcome"], told["observed_at"]) == (True, "1970-01-01T00:00:02Z")
    assert told["aggregates"] == {name: values[0].item() for name, values in answered.lookup.aggregates.items()}
    row = zip(answered.header.features, scores.matrix[0].tolist(), strict=True)
    assert told["features"] == {name: None if math.isnan(value) else value for name, value in row}
    words = holdfast("predictions", "show", first.id, environ=answered.environ).stdout
    for text in (first.id, answered.header.model, repr(answered.scores.probability[0].item())):
        assert text in words
    for feature in answered.header.features:
        assert f"feature {feature}" in words


def test_show_of_a_bulk_request_and_of_one_of_its_rows(answered: Answered) -> None:
    bulk = answered.bulk
    whole = figures("predictions", "show", bulk.id, environ=answered.environ)["predictions"]
    assert [one["key"] for one in whole] == bulk.keys
    (last,) = figures("predictions", "show", f"{bulk.id}-{len(bulk.keys) - 1}", environ=answered.environ)["predictions"]
    assert (last["key"], last["known"]) == (NOBODY, False)
    missing = {name for name, values in answered.lookup.aggregates.items() if math.isnan(values[-1])}
    assert missing
    assert {name for name, value in last["aggregates"].items() if value is None} == missing


def test_show_of_what_is_not_there(answered: Answered) -> None:
    done = holdfast("predictions", "show", "mine-9", environ=answered.environ, code=1)
    assert "no prediction and no request 'mine-9' is in the log" in done.stderr


def test_list_is_newest_first(answered: Answered) -> None:
    found = figures("predictions", "list", "--limit", "50", environ=answered.environ)["predictions"]
    assert len(found) == 50
    times = [one["answered_at"] for one in found]
    assert times == sorted(times, reverse=True)
    assert {one["prediction_id"] for one in found[-2:]} == {answered.single[1].id, answered.single[2].id}
    key = answered.bulk.keys[5]
    header, only = holdfast("predictions", "list", "--key", key, environ=answered.environ).stdout.splitlines()
    assert header.startswith("answered at")
    assert f"{answered.bulk.id}-5" in only


def test_export_to_parquet_has_a_column_per_name_and_every_bit(answered: Answered, tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    assert figures("predictions", "export", "--out", str(path), environ=answered.environ)["rows"] == 51
    rows = {row["prediction_id"]: row for row in pq.read_table(path).to_pylist()}
    ids = [i for one in [*answered.single, answered.bulk] for i in one.ids()]
    assert set(rows) == set(ids)
    for name, values in answered.lookup.aggregates.items():
        np.testing.assert_array_equal([rows[i][f"aggregates.{name}"] for i in ids], values)
    for column, name in enumerate(answered.header.features):
        np.testing.assert_array_equal([rows[i][f"features.{name}"] for i in ids], answered.scores.matrix[:, column])
    assert [rows[i]["probability"] for i in ids] == answered.scores.probability.tolist()
    assert list(tmp_path.iterdir()) == [path]


def test_export_of_a_time_to_json_lines(answered: Answered, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = rfc3339(answered.single[1].time), rfc3339(answered.bulk.time)
    holdfast("predictions", "export", "--out", str(path), "--from", first, "--to", second, environ=answered.environ)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["prediction_id"] for line in lines] == [answered.single[1].id, answered.single[2].id]
    assert lines[0]["probability"] == answered.scores.probability[1]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_export_with_outcomes_has_those_that_hold(form: str, answered: Answered, tmp_path: Path) -> None:
    path = tmp_path / f"settled.{form}"
    words = ("predictions", "export", "--out", str(path), "--outcomes")
    assert figures(*words, environ=answered.environ)["rows"] == 51
    lines = pq.read_table(path).to_pylist() if form == "parquet" else map(json.loads, path.read_text().splitlines())
    found = {line["prediction_id"]: (line["outcome"], line["observed_at"]) for line in lines}
    times = {
        id_: moment if form == "jsonl" or moment is None else rfc3339(micros(moment))
        for id_, (_, moment) in found.items()
    }
    row = f"{answered.bulk.id}-5"
    assert {id_: (outcome, times[id_]) for id_, (outcome, _) in found.items() if outcome is not None} == {
        answered.single[0].id: (True, "1970-01-01T00:00:02Z"),
        row: (False, "1970-01-01T00:00:03Z"),
    }
    assert sum(moment is None for moment in times.values()) == 49


def test_the_last_outcomes_are_listed_newest_first(answered: Answered) -> None:
    found = figures("predictions", "outcomes", "--limit", "3", environ=answered.environ)["outcomes"]
    assert [one["outcome_id"] for one in found] == ["mine-4", "mine-3", "mine-2"]
    assert found[1] == {
        "outcome_id": "mine-3", "prediction_id": None, "key": answered.bulk.keys[5], "at": rfc3339(answered.bulk.time),
        "outcome": False, "observed_at": "1970-01-01T00:00:03Z", "received_at": rfc3339(answered.told[2].received_at),
        "client": "crm",
    }  # fmt: skip
    header, *lines = holdfast("predictions", "outcomes", environ=answered.environ).stdout.splitlines()
    assert header.startswith("received at")
    assert len(lines) == 4
    assert f"{answered.bulk.keys[5]} at {rfc3339(answered.bulk.time)}" in lines[1]


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        (("export", "--out", "x.csv"), {}, "the name ends with .parquet or .jsonl"),
        (("export", "--out", "/nowhere/x.jsonl"), {}, "/nowhere/x.jsonl cannot be written"),
        (("export", "--out", "x.jsonl", "--from", "noon"), {}, "'noon' is no time"),
        (("list",), {"HOLDFAST_PREDICTIONS_URL": "none:"}, "no prediction is recorded"),
        (("list",), {"HOLDFAST_PREDICTIONS_URL": "mysql://u:s3cret@h/d"}, "mysql://u:***@h/d"),
        (("list",), {"HOLDFAST_PREDICTIONS_URL": "postgresql://u:s3cret@127.0.0.1:1/d"}, "u:***@127.0.0.1:1/d is out"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    words: tuple[str, ...], environ: dict[str, str], told: str, homes: dict[str, str]
) -> None:
    done = holdfast("predictions", *words, environ={**homes, **environ}, code=1)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def test_a_log_without_answers_says_so(homes: dict[str, str], tmp_path: Path) -> None:
    assert "cdnow: nothing was answered yet" in holdfast("predictions", "list", environ=homes).stdout
    assert (
        "no answer to customer_id '7' is in the log"
        in holdfast("predictions", "list", "--key", "7", environ=homes).stdout
    )
    assert "cdnow: no outcome was told yet" in holdfast("predictions", "outcomes", environ=homes).stdout
    path = tmp_path / "none.parquet"
    for more in ([], ["--outcomes"]):
        assert figures("predictions", "export", "--out", str(path), *more, environ=homes)["rows"] == 0
        names = pq.read_table(path).column_names
        assert "prediction_id" in names
        assert ("outcome" in names) == bool(more)


def test_migrate_makes_the_table_where_the_log_is_in_postgresql(homes: dict[str, str], postgresql: Server) -> None:
    environ = {**homes, "HOLDFAST_PREDICTIONS_URL": postgresql.url, "HOLDFAST_USECASE": "telco"}
    for _ in range(2):
        assert "holdfast_telco: predictions" in figures("migrate", environ=environ)["predictions"]
    assert "telco: nothing was answered yet" in holdfast("predictions", "list", environ=environ).stdout
    assert "predictions" not in figures("migrate", environ=homes)
