"""Refusals: every row that is refused for what it says is counted by field, by whatever protocol, and recorded once."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from msgspec.structs import replace

from benchmarks.servers import Server
from cli.parity import requests
from cli.server import serve
from cli.workspace import Workspace
from features.store.base import Spine
from model.predictions.postgres import Table
from model.predictions.reading import Directory, Log
from model.predictions.refusal import Refusals
from model.predictions.segment import REFUSALS, records, segments
from model.predictions.tail import read_on
from serving import metrics
from serving.errors import Late, Malformed, NotAccepted, TooLarge, WrongMedia
from serving.proto import Protocol
from serving.recorder import Recorder
from serving.refusals import Refusing
from tests.model.answers import HEADER, entry
from training.dataset import frame

NAMES = ("customer_id", "tenure", "plan")


def told(log: Log) -> dict[str, int]:
    """What is in a log, added up, as a job reads it."""
    return dict(sum((Counter(one.counts) for chunk in read_on(log, {}) for one in chunk.refusals), Counter()))


def problems(*fields: str) -> list[dict[str, Any]]:
    """Of one row."""
    return [{"field": field, "problem": "x"} for field in fields]


def test_reasons_are_the_contracts_fields_and_kinds_of_problems(tmp_path: Path) -> None:
    with closing(Recorder(None, tmp_path, HEADER, 1)) as recorder:
        refusing = Refusing(NAMES, recorder)
        refusing.request(
            "/v1/predict", NotAccepted("no", problems("attributes.tenure", "attributes.tenure.int", "x.y"))
        )
        refusing.request("/v1/predict/bulk", NotAccepted("none", [{"row": 0, "problems": problems("customer_id")}] * 2))
        refusing.request("/v2/models/{model}/infer", NotAccepted("no such output", ["what"]))
        refusing.request("/v1/predict", NotAccepted("a bulk request asks for at least one row"))
        refusing.rows([{"row": 3, "problems": problems("attributes.plan", "attributes.tenure")}])
        for error in (Malformed("no JSON"), TooLarge("much"), WrongMedia("x")):
            refusing.request("/v1/predict", error)
        refusing.request("/v1/feedback", Malformed("another matter"))
        refusing.request(metrics.OTHER, TooLarge("no such path"))
        refusing.request("/v1/predict", Late("not its fault"))
        refusing.flush()
        refusing.flush()
    assert told(Directory(tmp_path / "predictions", "club")) == {
        "field tenure": 2,
        "field plan": 1,
        "field customer_id": 2,
        "field other": 3,
        "malformed-body": 1,
        "too-large": 1,
        "wrong-media-type": 1,
    }


def test_a_record_is_written_at_most_every_few_seconds_and_readers_of_answers_pass_over_it(tmp_path: Path) -> None:
    with closing(Recorder(None, tmp_path, HEADER, 1)) as recorder:
        refusing = Refusing(NAMES, recorder)
        refusing.tick()
        for _ in range(500):
            refusing.request("/v1/predict", Malformed(""))
            refusing.tick()
        recorder.append(entry("a", "b"))
        refusing.flush()
    log = Directory(tmp_path / "predictions", "club")
    own = [one for path in segments(log.path) for _, one in records(path, only=REFUSALS)]
    assert [one.counts for one in own if isinstance(one, Refusals)] == [{"malformed-body": 1}, {"malformed-body": 499}]
    assert [one.key for one in log.between()] == ["a", "b"]
    assert list(log.outcomes()) == []


def test_what_the_log_cannot_take_is_kept_for_later(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("in the way")
    with closing(Recorder(None, tmp_path, HEADER, 1)) as recorder:
        refusing = Refusing(NAMES, recorder)
        refusing.request("/v1/predict", Malformed(""))
        refusing.flush()
        (tmp_path / "predictions").unlink()
        deadline = time.monotonic() + 60
        while not told(Directory(tmp_path / "predictions", "club")):
            assert time.monotonic() < deadline
            refusing.flush()
    assert told(Directory(tmp_path / "predictions", "club")) == {"malformed-body": 1}
    nowhere = Recorder("none:", tmp_path, HEADER, 1)
    for recorder_ in (nowhere, None):
        refusing = Refusing(NAMES, recorder_)
        refusing.request("/v1/predict", Malformed(""))
        refusing.flush()


def test_in_postgresql_each_is_once_and_answers_do_not_wait_for_a_table_that_is_not_there(postgresql: Server) -> None:
    header = replace(HEADER, usecase="refusals")
    table = Table(postgresql.url, "refusals")
    table.migrate()
    one = Refusals(id="a", time=5, counts={"field tenure": 3, "too-large": 1})
    with closing(table.writer()) as connection:
        for _ in range(2):
            assert table.insert(connection, [(header, one), (header, entry("x"))]) == 1
        assert told(table) == one.counts
        cursor = {name: place for chunk in read_on(table, {}) for name, place in chunk.cursor.items()}
        assert table.insert(connection, [(header, replace(one, id="b"))]) == 0
        (chunk,) = read_on(table, cursor)
        assert [(each.id, each.counts) for each in chunk.refusals] == [("b", {k: v}) for k, v in one.counts.items()]
        connection.execute(f"DROP TABLE {table.schema}.refusals")
        assert table.insert(connection, [(header, one), (header, entry("y"))]) == 1
    assert told(table) == {}
    assert {each.key for each in table.between()} >= {"y"}


def test_a_server_records_what_it_refused_by_every_protocol(telco: Workspace, tmp_path: Path) -> None:
    row = _example(telco)
    wrong = {**row, "attributes": {**row["attributes"], "tenure": -1}}
    environ = {"HOLDFAST_USECASE": "telco", "HOLDFAST_PREDICTIONS_URL": f"file://{tmp_path / 'log'}"}
    with serve(environ, log=tmp_path / "serve.log") as server, httpx.Client(base_url=server.url) as client:
        assert client.post("/v1/predict", json=wrong).status_code == 422
        assert client.post("/v1/predict", content=b"{").status_code == 400
        bulk = client.post("/v1/predict/bulk", json={"rows": [row, wrong, {**row, "customer_id": ""}]}).json()
        assert (len(bulk["predictions"]), len(bulk["errors"])) == (1, 2)
        assert client.post("/v1/feedback", json={"outcomes": [{}]}).status_code == 422
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(f"/{Protocol(telco.usecase).service}/Predict")(b"")
        counted = client.get("/metrics").text
    assert 'holdfast_refused_total{reason="field tenure"} ' in counted
    found = told(Directory(tmp_path / "log", "telco"))
    assert found == {"field tenure": 2, "malformed-body": 1, "field customer_id": 2, "field other": 1}


def _example(workspace: Workspace) -> dict[str, Any]:
    """A request that is right."""
    keys = workspace.events.keys(workspace.now)[:1]
    inputs = frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.now))
    return next(requests(workspace.usecase, keys, inputs))
