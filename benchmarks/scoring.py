"""`python -m benchmarks.scoring`: the Scorer, against the bare booster and a pandas and scikit-learn pipeline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import xgboost
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.paired import DAYS, START, Pair, compare, orders
from cli.console import Json, Out, table
from features.clock import DAY
from features.store.base import Spine
from model.estimators import Boosted
from model.golden import Inputs
from model.scorer import Scorer
from training import fit
from usecases import load

CUSTOMERS, MANY, PAIRS = 12_000, 10_000, 9


def _fitted(inputs: Inputs, label: Any, directory: Path) -> tuple[Scorer, xgboost.Booster, Any, Any]:
    """A scorer as it is served, its booster and features, and the pipeline of the blog posts with as many trees."""
    usecase = load("cdnow")
    features = usecase.features.evaluate(inputs.aggregates, {}, inputs.request_time)
    matrix = usecase.features.matrix(features)
    held = np.arange(len(label)) % 5 == 0
    fitted = fit.scorer(Boosted.algorithm, usecase, (matrix[~held], label[~held]), (matrix[held], label[held]))
    fitted.model.write(directory)
    model = Boosted.read(directory)
    scorer = Scorer(usecase.features, model, fitted.calibration, fitted.decision)
    same = {("learning_rate" if name == "eta" else name): value for name, value in fit.PARAMETERS.items()}
    classifier = xgboost.XGBClassifier(n_estimators=model.booster.num_boosted_rounds(), n_jobs=1, **same)
    pipeline = Pipeline([("scale", StandardScaler()), ("model", classifier)])
    pipeline.fit(pd.DataFrame(matrix[~held], columns=list(usecase.features.inputs)), label[~held])
    return scorer, model.booster, features, pipeline


def main(as_json: Annotated[bool, Json] = False) -> None:
    """Compare, and print ratios."""
    out = Out(as_json)
    t = START + (DAYS - 90) * DAY
    with orders(CUSTOMERS) as store, TemporaryDirectory() as directory:
        keys = store.keys(t)[:MANY]
        spine = Spine.at(keys, t)
        everyone = Inputs(store.aggregate(spine).aggregates, {}, spine.t)
        busy = np.log1p(everyone.aggregates["orders_90d"]) + np.random.default_rng(0).normal(size=len(keys))
        scorer, booster, features, pipeline = _fitted(everyone, busy < np.median(busy), Path(directory))
    names = scorer.features.inputs
    found: dict[str, dict[str, Pair]] = {}
    for rows, calls in ((1, 200), (len(keys), 3)):
        inputs = everyone.take(np.arange(rows))
        columns = {name: features[name][:rows] for name in names}
        matrix = scorer.features.matrix(columns)
        bare = _bare(booster, matrix)
        ours = _ours(scorer, inputs)
        if not np.array_equal(inputs.score(scorer).margin, bare()):
            raise ValueError("the scorer's margins are not those of the bare booster")
        found[f"{rows}"] = {
            "booster": compare(ours, bare, PAIRS, calls),
            "pipeline": compare(ours, _blog(pipeline, columns), PAIRS, calls),
        }
    lines = [
        [f"{int(rows):,} row(s) against {against}", f"{p.ours * 1e6:,.0f}", f"{p.theirs * 1e6:,.0f}", f"{p.ratio:.2f}x"]
        for rows, pairs in found.items()
        for against, p in pairs.items()
    ]
    out.say(f"raw aggregates to decision, {len(names)} inputs, {PAIRS} pairs; the others get their features ready-made")
    out.say(table(lines, ["CPU microseconds per call", "Holdfast", "other", "faster"]))
    out.result({rows: {against: asdict(p) for against, p in pairs.items()} for rows, pairs in found.items()})


def _ours(scorer: Scorer, inputs: Inputs) -> Any:
    return lambda: inputs.score(scorer)


def _bare(booster: xgboost.Booster, matrix: Any) -> Any:
    return lambda: booster.inplace_predict(matrix, predict_type="margin", validate_features=False)


def _blog(pipeline: Any, columns: Any) -> Any:
    return lambda: pipeline.predict_proba(pd.DataFrame(columns))[:, 1]


if __name__ == "__main__":
    typer.run(main)
