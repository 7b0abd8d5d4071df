"""Trees fitted by several workers: as good as those of one process, the same ones again, and a plain artefact."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cli.workspace import Workspace
from features.store.parquet import ParquetStore
from features.store.spark import SparkStore
from model import gate, store
from tests.model.toys import AS_OF
from tests.training.conftest import Ready
from training import distributed, fit, metrics
from training.dataset import build, label_times
from training.split import split
from training.train import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def on_spark(inner: ParquetStore, spark: SparkSession, cache: Path) -> SparkStore:
    """Spark over that store."""
    return SparkStore(inner, inner.features, spark, cache)


def test_two_workers_fit_as_well_as_one_process(cdnow: Workspace, spark: SparkSession, tmp_path: Path) -> None:
    usecase, events = cdnow.usecase, cdnow.events
    assert isinstance(events, ParquetStore)
    dataset, _ = build(usecase, events, label_times(usecase, events, cdnow.now), cdnow.now, cdnow.cache)
    parts = split(usecase, dataset)
    fitted, valid = ((usecase.features.matrix(p.features), p.label) for p in (parts.train, parts.valid))
    together = partial(distributed.boosted, on_spark(events, spark, tmp_path))
    one, two = (fit.scorer("xgboost", usecase, fitted, valid, trees) for trees in (fit.boosted, together))
    intervals = metrics.intervals(parts.test.label, one.score_features(parts.test.features).probability)
    found = metrics.measure(parts.test.label, two.score_features(parts.test.features).probability)
    for name in ("roc_auc", "pr_auc", "log_loss", "brier"):
        low, high = intervals[name]
        assert low < found[name] < high, name


def test_what_spark_trained_is_an_artefact_as_any_other(
    pulse_ready: Ready, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = pulse_ready.toy
    monkeypatch.setattr(distributed, "ROWS", 100)  # so few would be left to one worker
    wide = on_spark(toy.store, spark, tmp_path / "spark")
    trees = partial(distributed.boosted, wide)
    manifest = train(toy.usecase, wide, as_of=AS_OF, cache=tmp_path / "training", trees=trees).manifest
    assert manifest.dataset.content == pulse_ready.dataset.content  # computed by Spark, to the last bit
    assert manifest.parameters["workers"] == 2
    loaded = gate.load(store.path(manifest.tag), toy.usecase.features)
    assert loaded.manifest.metrics["model"]["roc_auc"] > 0.85
    files = {path.name: path.read_bytes() for path in store.path(manifest.tag).iterdir()}
    assert {"model.ubj", "manifest.json", "golden.json"} <= set(files)
    assert not [name for name, content in files.items() if content.startswith(b"\x80") or b"pickle" in content]


def test_workers_fit_the_same_trees_again_and_missing_values_as_missing(
    spark: SparkSession, pulse_ready: Ready, tmp_path: Path
) -> None:
    features, random = pulse_ready.toy.usecase.features, np.random.default_rng(0)
    matrix = random.normal(size=(6_000, len(features.columns)))
    label = random.random(6_000) < np.where(matrix[:, 0] > 0.5, 0.9, 0.1)
    matrix[matrix[:, 0] > 0.5, 0] = np.nan  # only that it is missing tells
    given = features, matrix[:4_000], label[:4_000], matrix[4_000:], label[4_000:]
    wide = on_spark(pulse_ready.toy.store, spark, tmp_path)
    one, two, again = fit.boosted(*given), distributed.boosted(wide, *given), distributed.boosted(wide, *given)
    assert two.booster.attr("workers") == "2"
    assert two.booster.save_raw("ubj") == again.booster.save_raw("ubj") != one.booster.save_raw("ubj")
    assert two.booster.feature_names == one.booster.feature_names
    stumps = distributed.boosted(wide, *given, {**fit.PARAMETERS, "max_depth": 1})
    assert (
        max(tree.count("\n") for tree in stumps.booster.get_dump())
        <= 3
        < max(tree.count("\n") for tree in two.booster.get_dump())
    )
    for model in (one, two):
        missing, zero = model.margin(np.array([[np.nan, *[0.0] * 7], [0.0] * 8]))
        assert missing > 1.5
        assert zero < -1.5
