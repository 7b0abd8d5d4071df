"""Training: from events to a gated artefact in the store, or an error that says why not."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features import clock
from features.clock import DAY
from features.etl.ingest import ingest
from features.store.base import StoreError
from features.store.parquet import ParquetStore
from model import gate, store
from tests.model.toys import (
    AS_OF,
    START,
    MemberRecord,
    Toy,
    ingest_visits,
    plan,
    plan_toy,
    pulse,
    visits,
    write_csv,
)
from tests.training.conftest import Ready
from training.dataset import LabelError, LeakageError
from training.publish import git_commit
from training.train import train


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic"])
def test_a_trained_model_is_in_the_store_and_passes_the_gate(pulse_ready: Ready, algorithm: str) -> None:
    toy = pulse_ready.toy
    steps: list[tuple[str, int, int]] = []
    trained = train(
        toy.usecase,
        toy.store,
        as_of=AS_OF,
        cache=toy.cache,
        algorithm=algorithm,
        parent="pulse:20000101-00000000",
        progress=lambda *step: steps.append(step),
    )
    manifest = gate.load(store.path(trained.manifest.tag), toy.usecase.features).manifest
    assert manifest.algorithm == algorithm
    assert manifest.search is None
    assert manifest.dataset.content == pulse_ready.dataset.content
    used = [t for t in pulse_ready.times if not 0 < pulse_ready.times[-1] - t < 30 * DAY]  # the others overlap the test
    flat = sorted(time for times in manifest.dataset.label_times.values() for time in times)
    assert flat == [clock.rfc3339(t) for t in used]
    assert sum(manifest.dataset.rows.values()) == np.isin(pulse_ready.dataset.t, used).sum()
    assert manifest.metrics["model"]["roc_auc"] > 0.85
    assert [(done, total) for _, done, total in steps] == [(done, 5) for done in range(6)]
    assert f"{(pulse_ready.dataset.t == pulse_ready.times[-1]).sum()} rows unchanged" in trained.proof[0]
    assert "golden rows agree to the last bit" in trained.proof[-1]


def test_positives_are_counted_part_by_part(pulse_ready: Ready) -> None:
    manifest = pulse_ready.toy.train().manifest
    whole, about = pulse_ready.dataset, manifest.dataset
    for part, times in about.label_times.items():
        rows = np.isin(whole.t, [clock.parse(time) for time in times])
        assert about.rows[part] == rows.sum()
        assert about.positives[part] == whole.label[rows].sum()
    used = np.isin(whole.t, [clock.parse(time) for times in about.label_times.values() for time in times])
    assert sum(about.positives.values()) == whole.label[used].sum()


def test_a_use_case_without_time_trains_to_the_same_model_at_any_hour(tmp_path: Path) -> None:
    toy = plan_toy(tmp_path)
    first = toy.train().manifest
    later = Toy(toy.usecase, toy.store, toy.cache, AS_OF + 5 * DAY).train()
    assert not later.stored
    assert later.manifest.tag == first.tag
    assert "unchanged with the future hidden" not in later.proof[0]  # there are no aggregates to compare


def test_a_history_too_short_is_an_error_that_names_times(tmp_path: Path) -> None:
    usecase = pulse()
    few = [row for row in visits(1, 20) if row[1] < START + 110 * DAY]
    with pytest.raises(LeakageError, match="longer history") as caught:
        Toy(usecase, ingest_visits(usecase, tmp_path / "few", few), tmp_path).train()
    assert "2020-0" in str(caught.value)
    fewer = [row for row in few if row[1] < START + 40 * DAY]
    with pytest.raises(StoreError, match="60 days before and 30 days after"):
        Toy(usecase, ingest_visits(usecase, tmp_path / "fewer", fewer), tmp_path).train()


def test_customers_who_never_stop_are_an_error_and_not_a_hang(tmp_path: Path) -> None:
    usecase = pulse()
    always = [(f"c{n}", START + day * DAY + n, 1, 100, "phone") for n in range(15) for day in range(0, 240, 5)]
    with pytest.raises(LabelError, match="0 are positive"):
        Toy(usecase, ingest_visits(usecase, tmp_path, always), tmp_path / "training").train()


@pytest.mark.parametrize("gone", [True, False])
def test_members_with_one_outcome_are_an_error(tmp_path: Path, gone: bool) -> None:
    usecase = replace(plan(), name="lonely")
    own = ParquetStore(tmp_path / "store", usecase.features, usecase.sources)
    rows = [(number % 60, "north", True, "", f"m{number}", gone) for number in range(50)]
    ingest(own, "records", write_csv(tmp_path / "m.csv", list(MemberRecord.model_fields), rows), now=AS_OF)
    with pytest.raises(LabelError, match="both outcomes are needed"):
        Toy(usecase, own, tmp_path / "training").train()
    assert store.tags("lonely") == []


def test_a_column_that_is_missing_everywhere_trains(tmp_path: Path) -> None:
    usecase, random = replace(plan(), name="blank"), np.random.default_rng(0)
    own = ParquetStore(tmp_path / "store", usecase.features, usecase.sources)
    rows = [(n % 60, "south", False, "", f"m{n}", bool(random.random() < 0.01 * (n % 60) + 0.1)) for n in range(400)]
    ingest(own, "records", write_csv(tmp_path / "m.csv", list(MemberRecord.model_fields), rows), now=AS_OF)
    toy = Toy(usecase, own, tmp_path / "training")
    for algorithm in ("xgboost", "logistic"):
        assert toy.train(algorithm).manifest.metrics["model"]["roc_auc"] > 0.5


def test_the_commit_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], [*own, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_commit() == head
    (tmp_path / "file").write_text("two")
    assert git_commit() == f"{head}-dirty"
