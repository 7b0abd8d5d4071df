"""Whole runs on the real data: everyone, to the last bit, however often it is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batch.files import Directory
from batch.run import BudgetExceeded, score
from batch.score import Scoring
from cli.workspace import ROOT, Workspace
from features import clock
from features.rows import Arrays
from features.store.base import Lookup, Spine, StoreError
from model import gate
from model import store as model_store
from tests.batch.conftest import AS_OF, START, Club, scored
from tests.batch.test_files import content
from training.dataset import frame


@pytest.mark.parametrize(("name", "customers"), [("cdnow", 23_570), ("telco", 7_043)])
def test_everyone_is_scored_to_the_last_bit(
    name: str, customers: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    outcome = scored(workspace, Directory(tmp_path), 5_000)
    assert (outcome.rows, outcome.scored, outcome.quarantined) == (customers, customers, 0)
    found = pd.read_parquet(outcome.where).set_index(workspace.usecase.key)
    keys, tag = workspace.events.keys(workspace.as_of), workspace.champion()
    assert tag is not None
    scorer = gate.load(model_store.path(tag), workspace.usecase.features).scorer
    base = frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.as_of)).score(scorer)
    there = found.loc[keys.tolist()]
    assert np.array_equal(there["probability"].to_numpy().view(np.int64), base.probability.view(np.int64))
    assert (there["decision"] == [scorer.label(positive) for positive in base.positive.tolist()]).all()


def test_killed_again_and_again_it_comes_out_as_if_it_never_was(cdnow: Workspace, tmp_path: Path) -> None:
    outcome = scored(cdnow, Directory(tmp_path / "whole"), 2_000)
    name = Path(outcome.where).name
    place = tmp_path / "killed" / name
    command = [str(Path(sys.executable).with_name("holdfast")), "score", "cdnow", "--rows-per-part", "2000"]
    command += ["--out", str(place.parent)]
    seen = 0
    for wanted in (0, 1, 6):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list((place / "_parts").glob("[0-9]*"))) < wanted or not (place / "_parts").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        there = len(list((place / "_parts").glob("[0-9]*")))
        assert seen <= there < outcome.parts
        assert not (place / "_SUCCESS").exists()
        seen = there
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'"resumed": {seen}' in done.stdout
    assert content(place) == content(tmp_path / "whole" / name)


def test_more_bad_rows_than_allowed_end_the_run_and_what_is_done_stays(club: Club, tmp_path: Path) -> None:
    club.join("a child", 13, 0.0)
    sink, parts = Directory(tmp_path), []
    with pytest.raises(
        BudgetExceeded, match=r"1 of 100 rows .* budget of 0\.0000%.*'a child': ValueError: a member of 13"
    ):
        club.score(sink)
    place = tmp_path / f"run={club.ask().id}"
    assert pd.read_parquet(place / "_quarantine")["member_id"].tolist() == ["a child"]
    assert not (place / "_SUCCESS").exists()
    outcome = club.score(sink, budget=0.01, progress=lambda done, of: parts.append((done, of)))
    assert (outcome.rows, outcome.scored, outcome.quarantined, outcome.resumed) == (301, 300, 1, 1)
    assert parts == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_budget_is_a_share_of_all_rows(club: Club, tmp_path: Path) -> None:
    for member in ("a", "b", "z"):
        club.join(member, 13, 0.0)
    with pytest.raises(BudgetExceeded, match=r"3 of 303 rows"):
        club.score(Directory(tmp_path), budget=0.0098)
    assert club.score(Directory(tmp_path), budget=0.01).quarantined == 3


@dataclass(frozen=True)
class Arriving(Scoring):
    """Scores; before its first row, more visits are ingested."""

    club: Club | None = field(default=None, compare=False)
    coming: list[tuple[str, str, str]] = field(default_factory=list, compare=False)

    def __call__(self, keys: np.ndarray[Any, Any], found: Lookup, fields: Arrays) -> Arrays:
        """The scores."""
        if self.coming and self.club:
            visits = [self.coming.pop()]
            self.club.take("events", "member_id,came_at,paid", visits, now=AS_OF + 10 * clock.DAY)
        return super().__call__(keys, found, fields)


@pytest.mark.parametrize(("day", "counts"), [(205, False), (100, True)])
def test_rows_that_arrive_under_way_end_the_run_if_they_count(
    day: int, counts: bool, club: Club, tmp_path: Path
) -> None:
    own, run = club.scoring, club.ask()
    visit = ("m000", clock.rfc3339(START + day * clock.DAY), "9.99")
    scoring = Arriving(own.usecase, own.own, own.digest, own.files, club, [visit])
    if not counts:
        assert score(club.usecase, club.events, Directory(tmp_path), run, scoring).rows == 300
        return
    with pytest.raises(StoreError, match=r"ingested while run .* was under way"):
        score(club.usecase, club.events, Directory(tmp_path), run, scoring)
    assert not list(tmp_path.rglob("part-*"))
