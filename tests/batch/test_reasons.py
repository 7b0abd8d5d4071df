"""Explanations in batch: those of the service, to the last bit, in every sink and on every engine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from batch import run as module
from batch.files import Directory
from batch.plan import Run, ask
from batch.postgres import Postgres
from batch.run import Outcome
from batch.score import Scoring, part
from batch.sink import Sink, SinkError
from benchmarks.servers import Server
from cli.parity import requests
from cli.workspace import Workspace
from features.store.base import Spine
from model import store as model_store
from model.artefact import read_manifest
from model.estimators import Boosted, Linear
from serving.call import Call
from serving.core import Core
from tests.batch.conftest import AS_OF, Club
from training.dataset import frame
from training.train import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOP = 3


def asked(club: Club, top: int) -> Run:
    """The run over everyone, explained."""
    return ask("club", club.events, AS_OF, read_manifest(club.directory), 100, top)


def explained(workspace: Workspace, directory: Path, sink: Sink, top: int = TOP) -> Outcome:
    """Everyone of a workspace, scored and explained by a model."""
    usecase, events = workspace.usecase, workspace.events
    run = ask(usecase.name, events, workspace.as_of, read_manifest(directory), 20_000, top)
    return module.score(usecase, events, sink, run, Scoring.of(usecase.name, directory))


def online(workspace: Workspace, directory: Path, keys: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """What the service tells of these customers, a hundred at a time."""
    inputs = frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.as_of))
    rows = list(requests(workspace.usecase, keys, inputs))

    async def told_of() -> list[dict[str, Any]]:
        core = Core(workspace.usecase, directory, workspace.settings, record=False)
        assert core.loaded is not None, core.refused
        told: list[Any] = []
        for start in range(0, len(rows), 100):
            body = json.dumps({"rows": rows[start : start + 100], "explain": True, "top": TOP}).encode()
            told += (await core.predict(core.decoder.many(body), Call.begin("/v1/predict/bulk"))).answers
        await core.close(10)
        return [one.explanation for one in told]

    return asyncio.run(told_of())


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a file as the service tells it."""
    told = [{**one, "value": json.loads(one["value"])} for one in row["contributions"]]
    return {**row, "contributions": told}


@pytest.fixture(params=["cdnow", "telco"])
def workspace(request: pytest.FixtureRequest) -> Workspace:
    """A real use case."""
    found: Workspace = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("algorithm", [Boosted.algorithm, Linear.algorithm])
def test_batch_and_service_give_the_same_reasons_to_the_last_bit(
    workspace: Workspace, algorithm: str, tmp_path: Path
) -> None:
    tag = str(workspace.champion())
    if algorithm == Linear.algorithm:
        usecase, cache = workspace.usecase, workspace.cache
        tag = train(usecase, workspace.events, as_of=workspace.now, cache=cache, algorithm=algorithm).manifest.tag
    directory = model_store.path(tag)
    table = pq.read_table(explained(workspace, directory, Directory(tmp_path)).where)
    assert table.num_rows > 7_000
    margins = table["explanation"].combine_chunks()
    added = np.asarray(margins.field("base")) + np.asarray(margins.field("rest"))
    added = added + np.asarray(margins.field("contributions").flatten().field("contribution")).reshape(-1, TOP).sum(1)
    assert np.abs(added - np.asarray(margins.field("margin"))).max() <= 1e-6
    some = np.linspace(0, table.num_rows - 1, 400).astype(int)
    found = [plain(row) for row in table["explanation"].take(some).to_pylist()]
    keys = np.array(table[workspace.usecase.key].take(some).to_pylist())
    assert [repr(one) for one in found] == [repr(one) for one in online(workspace, directory, keys)]
    assert len({one["contributions"][0]["feature"] for one in found}) > 1


def test_a_table_has_them_as_json_beside_runs_that_have_none(club: Club, database: Server, tmp_path: Path) -> None:
    sink = Postgres.at(f"{database.url}/reasons", "member_id")
    club.score(sink)
    run = asked(club, 2)
    for target in (sink, Directory(tmp_path)):
        module.score(club.usecase, club.events, target, run, club.scoring)
    club.score(sink, rows_per_part=70)
    with psycopg.connect(database.url) as connection:
        rows = connection.execute(
            "SELECT member_id, explanation, explanation->'contributions'->0->>'feature' FROM reasons "
            "WHERE run_id = %s ORDER BY member_id",
            (run.id,),
        ).fetchall()
        others = connection.execute("SELECT count(explanation), count(*) FROM reasons WHERE run_id <> %s", (run.id,))
        assert others.fetchone() == (0, 600)
    kept = pq.read_table(tmp_path / f"run={run.id}").to_pylist()
    assert [(row["member_id"], repr(plain(row["explanation"]))) for row in kept] == [
        (key, repr(told)) for key, told, _ in rows
    ]
    assert {first for *_, first in rows} <= set(club.usecase.features.inputs)


def test_a_table_that_is_another_ones_is_left_alone(club: Club, database: Server) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE mine_alone (member_id text, mine int)")
    run = asked(club, 2)
    with pytest.raises(SinkError, match="another one's"):
        module.score(
            club.usecase, club.events, Postgres.at(f"{database.url}/mine_alone", "member_id"), run, club.scoring
        )
    with psycopg.connect(database.url) as connection:
        there = connection.execute("SELECT * FROM mine_alone").description or ()
    assert [one.name for one in there] == ["member_id", "mine"]


def test_a_row_that_cannot_be_scored_has_no_reasons_and_harms_nobody(club: Club) -> None:
    club.join("child", 13, 0.0)
    run = asked(club, TOP)
    scores, rejected = part(club.usecase, club.events, run, club.scoring, club.events.keys(AS_OF))
    assert rejected["member_id"].to_pylist() == ["child"]
    scorer = club.scoring.load().scorer
    for row in (0, 299):
        one = scores.slice(row, 1).to_pylist()[0]
        alone = frame(club.usecase, club.events, Spine.at([one["member_id"]], AS_OF)).score(scorer)
        assert repr(plain(one["explanation"])) == repr(scorer.explain(alone).top(TOP)[0])
    nobody, _ = part(club.usecase, club.events, run, club.scoring, np.array(["child"]))
    assert nobody.num_rows == 0
    assert nobody.schema.equals(scores.schema)


def test_more_contributions_than_inputs_are_all_of_them(club: Club) -> None:
    scores, _ = part(club.usecase, club.events, asked(club, 100), club.scoring, club.events.keys(AS_OF)[:5])
    for row in scores["explanation"].to_pylist():
        assert {one["feature"] for one in row["contributions"]} == set(club.usecase.features.inputs)
        assert row["rest"] == 0


def test_spark_gives_the_same_bits(telco: Workspace, spark: SparkSession) -> None:
    assert spark.sparkContext.master == "local[2]"
    directory = model_store.path(str(telco.champion()))
    keys = telco.events.keys(telco.as_of)[:300]
    run = ask("telco", telco.events, telco.as_of, read_manifest(directory), 300, TOP)
    scoring = Scoring.of("telco", directory)
    here, there = (
        part(telco.usecase, one.events, run, scoring, keys)[0] for one in (telco, replace(telco, spark="local[2]"))
    )
    assert len(here) == 300
    assert here.equals(there)
