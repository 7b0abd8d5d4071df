"""What the serving benchmarks send and what must come back: a model of 200 trees of depth 6, trained as any other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from benchmarks.usecases.twenty import NAMES
from cli.workspace import Workspace
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from model import gate, store
from model.estimators import Boosted
from model.numeric import Floats
from training.fit import Labels
from training.train import train

TREES, DEPTH = 200, 6
EXAMPLES, ROWS = 20_000, 1_000
USECASES = Path(__file__).parent / "usecases"


@dataclass(frozen=True)
class Workload:
    """A served model and rows with their answers.

    Args:
        environ: what a server of ours needs to serve it. model: the file every server loads.
        rows: float64 (n, 20), exact in JSON and, rounded, the same float32 for everybody.
        probability: Holdfast's, calibrated, float64. raw: the bare booster's, float32.
    """

    environ: dict[str, str]
    tag: str
    model: Path
    rows: Floats
    probability: Floats
    raw: np.ndarray[Any, Any]

    def booster(self) -> xgboost.Booster:
        """The model alone, one thread."""
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(self.model)
        return booster


def prepare(root: Path) -> Workload:
    """Generate, ingest, train and promote under the empty directory `root`; this process's environment is set too."""
    bentoml_home = root / "bentoml"
    bentoml_home.mkdir(parents=True)
    environ = {
        "HOLDFAST_HOME": str(root / "var"),
        "HOLDFAST_USECASES": str(USECASES),
        "HOLDFAST_USECASE": "twenty",
        "BENTOML_HOME": str(bentoml_home),
    }
    os.environ.update(environ)
    workspace = Workspace.open()
    random = np.random.default_rng(4)
    frame = _frame(random.normal(size=(EXAMPLES, len(NAMES))), random)
    ingest(workspace.events, "records", frame, now=workspace.now, backfill=True)
    trained = train(workspace.usecase, workspace.events, as_of=workspace.now, cache=workspace.cache, trees=_trees)
    tag = trained.manifest.tag
    workspace.registry.promote("twenty", tag, why="the benchmark's model", proof="")
    directory = store.path(tag)
    scorer = gate.load(directory, workspace.usecase.features).scorer
    rows = np.round(random.normal(size=(ROWS, len(NAMES))), 3)
    scores = scorer.score({}, dict(zip(NAMES, rows.T, strict=True)), np.zeros(ROWS, dtype=np.int64))
    model = directory / Boosted.file
    workload = Workload(environ, tag, model, rows, scores.probability, np.empty(0))
    raw = workload.booster().inplace_predict(rows)
    return Workload(environ, tag, model, rows, scores.probability, np.asarray(raw))


def _frame(numbers: Floats, random: np.random.Generator) -> pd.DataFrame:
    """Records whose label leans on a few numbers and on a product of two."""
    lean = numbers[:, :5] @ np.array([1.0, -0.8, 0.6, -0.4, 0.2]) + numbers[:, 5] * numbers[:, 6]
    frame = pd.DataFrame(np.round(numbers, 3), columns=list(NAMES))
    frame["customer_id"] = [f"c{number}" for number in range(len(frame))]
    frame["label"] = random.random(len(frame)) < 1 / (1 + np.exp(-lean))
    return frame


def _trees(features: FeatureSet, matrix: Floats, label: Labels, *_: Any) -> Boosted:
    """TREES trees of DEPTH, with XGBoost's own defaults, as the servers compared with are usually shown."""
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH, "seed": 0, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(matrix, label), TREES)
    booster.feature_names = list(features.columns)
    return Boosted(booster)
