"""How good a model is on examples that it has not seen: everything that the manifest's `metrics` hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.numeric import Floats
from model.scorer import Scorer
from training import curves, metrics, slices
from training.calibration import calibration
from training.cost import cost
from training.dataset import Dataset
from usecases import UseCase

EXPLAINED = 1_000
"""Examples whose contributions are averaged, evenly drawn: each costs some hundred times what its score does."""


def evaluation(usecase: UseCase, model: Scorer, logistic: Scorer, test: Dataset) -> dict[str, Any]:
    """Of the model, and of the logistic regression that it is compared with, on the test part, as plain rounded values.
    Where the model is that regression, there is no comparison: `logistic`, `logistic_interval` and `gain` are left out.

    - model, logistic: every metric; model_interval, logistic_interval: their 95 % bootstrap intervals;
    - gain: metric -> value and 95 % interval of model - logistic, paired: both are measured on the same draws;
    - calibration: `calibration.calibration`; curves: `curves.curve` of both and `histogram` of the model;
    - cost: `cost.cost`; slices: `slices.measured`;
    - importance: mean |contribution| of each input to the margin (log-odds before calibration), the largest first.
    """
    scorers = {"model": model} if model is logistic else {"model": model, "logistic": logistic}
    probability = {name: scorer.score_features(test.features).probability for name, scorer in scorers.items()}
    own = probability["model"]
    drawn = metrics.resampled(test.label, probability)
    plain = {name: metrics.measure(test.label, p) for name, p in probability.items()}
    parts = list(slices.parts(usecase.slices, usecase.features, test.features))
    return {
        **plain,
        **{f"{name}_interval": {m: metrics.interval(v) for m, v in values.items()} for name, values in drawn.items()},
        **({} if model is logistic else {"gain": _gain(plain, drawn)}),
        "calibration": calibration(test.label, own),
        "curves": {
            **{name: curves.curve(test.label, p) for name, p in probability.items()},
            "histogram": curves.histogram(test.label, own),
        },
        "cost": cost(usecase.costs, model.decision.threshold, test.label, own),
        "slices": slices.measured(parts, test.label, own),
        "importance": importance(model, test),
    }


def importance(scorer: Scorer, test: Dataset) -> dict[str, float]:
    """Mean |contribution| of each input on a sample of the examples, the largest first, rounded to 6 digits."""
    rows = np.unique(np.linspace(0, len(test) - 1, EXPLAINED).astype(np.int64))
    explanation = scorer.explain(scorer.score_features(test.take(rows).features))
    means = np.abs(explanation.contributions).mean(axis=0)
    order = np.argsort(-means, kind="stable")
    return {explanation.inputs[place]: round(float(means[place]), 6) for place in order}


def _gain(plain: dict[str, dict[str, float]], drawn: dict[str, dict[str, Floats]]) -> dict[str, Any]:
    return {
        metric: {
            "value": round(plain["model"][metric] - plain["logistic"][metric], 6),
            "interval": metrics.interval(drawn["model"][metric] - drawn["logistic"][metric]),
        }
        for metric in metrics.METRICS
    }


def said(measured: dict[str, Any], examples: int) -> list[str]:
    """What was measured on so many examples, in a line per finding."""
    money, own = measured["cost"], measured["calibration"]
    slope = "" if own["slope"] is None else f", calibration slope {own['slope']['value']:.3f}"
    best = "nobody" if money["best_threshold"] is None else f"{money['best_threshold']:.4f}"
    lines = [
        f"test on {examples:,} examples: "
        + "; ".join(_ranked(measured, name) for name in ("model", "logistic") if name in measured),
        f"{_compared(measured)}ECE {measured['model']['ece']:.4f}{slope}",
        f"at {money['threshold']:.4f} 1,000 customers cost {money['at_threshold']:,.0f}; the best threshold in "
        f"hindsight ({best}) {money['at_best']:,.0f}, doing nothing {money['nothing']:,.0f}, contacting everybody "
        f"{money['everybody']:,.0f}",
    ]
    for one in measured["slices"]:
        if one["worse"]:
            words = {
                "ranking": f"ROC-AUC {one['roc_auc']['value']:.4f}, its probabilities promise {one['promised']:.4f}",
                "level": f"mean probability {one['probability']:.3f}, share of positives {one['share']:.3f}",
            }
            why = "; ".join(words[kind] for kind in one["worse"])
            lines.append(f"worse where {one['feature']} is {one['part']} ({one['n']:,} examples): {why}")
    return lines


def _compared(measured: dict[str, Any]) -> str:
    if "gain" not in measured:
        return ""
    gain = measured["gain"]["roc_auc"]
    low, high = gain["interval"]
    verdict = "better" if low > 0 else "worse" if high < 0 else "no better and no worse"
    return f"{verdict} than the logistic regression: ROC-AUC {gain['value']:+.4f} ({low:+.4f} to {high:+.4f}); "


def _ranked(measured: dict[str, Any], name: str) -> str:
    low, high = measured[f"{name}_interval"]["roc_auc"]
    own = measured[name]
    return f"{name} ROC-AUC {own['roc_auc']:.4f} ({low:.4f} to {high:.4f}), log loss {own['log_loss']:.4f}"
