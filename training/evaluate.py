"""Cross-validation at one label time, beside the logistic baseline: how good the recipe is, not one model."""

from __future__ import annotations

import numpy as np

from model.estimators import Boosted, Linear
from training import fit, metrics
from training.dataset import Dataset, LabelError, LeakageError
from training.progress import Step
from training.split import bucket, folds
from usecases import UseCase

FOLDS, REPEATS = 5, 2


def evaluate(usecase: UseCase, dataset: Dataset, progress: Step) -> dict[str, dict[str, float]]:
    """`REPEATS` x `FOLDS`-fold cross-validation over keys: metrics of `model` and of `logistic`.

    In each fold a fifth of the training keys chooses the number of trees and calibrates; the test keys only measure.
    Each repeat is measured whole, and the repeats are averaged.

    Raises:
        LeakageError: if a key has several examples, as one could then be tested on its own training.
        LabelError: if an outcome is too rare for every fold to have it.
    """
    if len(np.unique(dataset.key)) < len(dataset):
        raise LeakageError(f"{usecase.name}: a key has several examples; cross-validate at one label time")
    rarest = int(min(dataset.label.sum(), (~dataset.label).sum()))
    if rarest < 2 * FOLDS:
        raise LabelError(
            f"{usecase.name}: of {len(dataset):,} examples {rarest} have the rarer outcome, too few for {FOLDS} folds"
        )
    matrix = usecase.features.matrix(dataset.features)
    measured: dict[str, list[dict[str, float]]] = {"model": [], "logistic": []}
    answers = {name: np.empty(len(dataset)) for name in measured}
    total = FOLDS * REPEATS
    for number, (train, test) in enumerate(folds(dataset.key, dataset.label, FOLDS, REPEATS)):
        progress("cross-validation", number, total)
        held = bucket(dataset.key[train], 5) == number % 5
        fitted, chosen = train[~held], train[held]
        for name, algorithm in (("model", Boosted.algorithm), ("logistic", Linear.algorithm)):
            scorer = fit.scorer(
                algorithm,
                usecase,
                (matrix[fitted], dataset.label[fitted]),
                (matrix[chosen], dataset.label[chosen]),
            )
            answers[name][test] = scorer.score_features(dataset.take(test).features).probability
            if number % FOLDS == FOLDS - 1:
                measured[name].append(metrics.measure(dataset.label, answers[name]))
    progress("cross-validation", total, total)
    return {
        name: {key: round(float(np.mean([m[key] for m in repeats])), 6) for key in repeats[0]}
        for name, repeats in measured.items()
    }
