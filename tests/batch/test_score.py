"""A part: each row as it would be scored alone, and a row that cannot be scored harms nobody."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from batch.score import STAMPS, part
from cli.workspace import ROOT
from features.store.base import Spine
from model import gate
from model.gate import GateRefused
from model.scorer import Scorer
from tests.batch.conftest import AS_OF, Club
from training.dataset import frame


def alone(club: Club, scorer: Scorer, key: str) -> float:
    """The probability of one member, by the road of training."""
    inputs = frame(club.usecase, club.events, Spine.at([key], AS_OF))
    return float(inputs.score(scorer).probability[0])


def test_rows_that_cannot_be_scored_are_told_apart_and_harm_nobody(club: Club) -> None:
    club.join("child", 13, 0.0)
    club.join("free", 40, 1.0)
    club.take("events", "member_id,came_at,paid", [("ghost", "2025-02-01T00:00:00Z", "1.00")])
    run, keys = club.ask(), club.events.keys(AS_OF)
    scores, rejected = part(club.usecase, club.events, run, club.scoring, keys)
    told = dict(zip(rejected["member_id"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
    assert list(told) == ["child", "free", "ghost"]
    assert told["child"] == "ValueError: a member of 13 years"
    assert "full_price" in told["free"]
    assert "inf" in told["free"]
    assert told["ghost"] == f"no record was known at {run.as_of}"
    assert scores["member_id"].to_pylist() == [key for key in keys.tolist() if key not in told]
    scorer = club.scoring.load().scorer
    for row in (0, 150, len(scores) - 1):
        one = scores.slice(row, 1).to_pylist()[0]
        assert one["probability"] == alone(club, scorer, one["member_id"])


def test_nobody_but_such_rows_is_a_part_too(club: Club) -> None:
    club.take("events", "member_id,came_at,paid", [("ghost", "2025-02-01T00:00:00Z", "1.00")])
    scores, rejected = part(club.usecase, club.events, club.ask(), club.scoring, np.array(["ghost"]))
    assert (len(scores), len(rejected)) == (0, 1)


def test_every_row_is_stamped(club: Club) -> None:
    run = club.ask()
    scores, _ = part(club.usecase, club.events, run, club.scoring, club.events.keys(AS_OF))
    assert scores.column_names == ["member_id", *STAMPS]
    decision = gate.load(club.directory, club.usecase.features).scorer.decision
    for row in scores.to_pylist():
        assert (row["model"], row["fingerprint"], row["run_id"]) == (run.model, run.fingerprint, run.id)
        assert row["as_of"].isoformat().replace("+00:00", "Z") == run.as_of
        assert row["known"] is True
        assert row["threshold"] == decision.threshold
        assert row["decision"] == (decision.positive if row["probability"] >= decision.threshold else decision.negative)


def test_a_process_without_the_model_store_can_score(club: Club, tmp_path: Path) -> None:
    keys = club.events.keys(AS_OF)[:20]
    here = club.events.transform(Spine.at(keys, AS_OF), club.scoring, records=True)
    (tmp_path / "asked").write_bytes(
        pickle.dumps(
            (
                club.scoring,
                keys,
                club.events.aggregate(Spine.at(keys, AS_OF)),
                club.events.records(Spine.at(keys, AS_OF)),
            )
        )
    )
    program = (
        "import pathlib, pickle, sys; import settings; settings.pin_environment()\n"
        "scoring, *asked = pickle.loads(pathlib.Path(sys.argv[1], 'asked').read_bytes())\n"
        "pathlib.Path(sys.argv[1], 'answer').write_bytes(pickle.dumps(scoring(*asked)))"
    )
    environ = {"BENTOML_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=environ, check=True)
    there = pickle.loads((tmp_path / "answer").read_bytes())  # noqa: S301  # our own
    for name, values in here.items():
        assert np.array_equal(values, there[name]), name


def test_a_model_that_the_gate_refuses_scores_nobody(club: Club) -> None:
    damaged = club.scoring
    damaged.files["decision.json"] = damaged.files["decision.json"].replace(b"0.", b"0.1", 1)
    object.__setattr__(damaged, "digest", "damaged")
    with pytest.raises(GateRefused, match=r"decision\.json: sha256"):
        part(club.usecase, club.events, club.ask(), damaged, club.events.keys(AS_OF))
