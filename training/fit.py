"""Fitting: boosted trees with regularised defaults and early stopping, logistic regression, calibration, threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from features.featureset import FeatureSet
from model.estimators import Boosted, Estimator, Linear, spelled
from model.numeric import Floats
from model.scorer import Calibration, Decision, Scorer
from usecases import Costs, UseCase

Parameters = dict[str, Any]
"""What a fit is given: by XGBoost's own names, or `C` and `penalty` of the logistic regression."""
PARAMETERS: Parameters = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 3,
    "eta": 0.05,
    "min_child_weight": 20,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "reg_lambda": 10.0,
    "seed": 0,
}
"""Chosen on cdnow and telco by cross-validation: within .001 ROC-AUC of deeper and slower settings on both."""
ROUNDS, PATIENCE = 2_000, 50
ONE_THREAD = 5_000_000
"""Up to so many numbers one thread fits: OpenMP's threads spin while they wait, and where a container has fewer
processors than it sees, 25,000 rows of 18 columns took 9 s per 100 trees with two threads and 0.2 s with one."""
PENALTY = 0.1
"""C of the logistic regression: inverse strength of its L2 penalty on standardised columns."""
DEFAULTS: dict[str, Parameters] = {Boosted.algorithm: PARAMETERS, Linear.algorithm: {"C": PENALTY, "penalty": "l2"}}
"""What each algorithm is fitted with where nothing has been searched for."""

Labels = NDArray[np.bool_]
Boosting = Callable[[FeatureSet, Floats, Labels, Floats, Labels, Parameters], Boosted]
"""Fits trees on a matrix and its labels, as many as serve another matrix and its labels best."""


def boosted(
    features: FeatureSet,
    matrix: Floats,
    label: Labels,
    valid: Floats,
    valid_label: Labels,
    parameters: Parameters = PARAMETERS,
) -> Boosted:
    """Trees fitted on (n, p) `matrix`, as many as serve `valid` best by log loss, whatever the number of threads."""
    train, held = xgboost.DMatrix(matrix, label), xgboost.DMatrix(valid, valid_label)
    return finished(features, grow(parameters, train, {"valid": held})[0])


def grow(
    parameters: Parameters, train: xgboost.DMatrix, held: dict[str, xgboost.DMatrix]
) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """Trees until the log loss of the last of `held` has not fallen for PATIENCE rounds; the log loss of each of them
    after every round."""
    told: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        {
            **parameters,
            "eval_metric": "logloss",
            "nthread": 1 if train.num_row() * train.num_col() <= ONE_THREAD else 0,
        },
        train,
        ROUNDS,
        evals=[(matrix, name) for name, matrix in held.items()],
        early_stopping_rounds=PATIENCE,
        evals_result=told,
        verbose_eval=False,
    )
    return booster, {name: losses["logloss"] for name, losses in told.items()}


def finished(features: FeatureSet, booster: xgboost.Booster, workers: int | None = None) -> Boosted:
    """The model of a booster that has stopped early: the trees that served best, under the feature set's names.

    Args:
        workers: how many fitted it together, if more than this process did; kept in the model.
    """
    best = booster[: booster.best_iteration + 1]
    best.set_attr(best_iteration=None, best_score=None, workers=workers if workers is None else str(workers))
    best.feature_names = [spelled(name) for name in features.columns]
    return Boosted(best)


def logistic(features: FeatureSet, matrix: Floats, label: Labels, penalty: float = PENALTY) -> Linear:
    """scikit-learn's logistic regression on standardised columns, exported as numbers; missing is the median.

    Args:
        penalty: C, the inverse strength of the L2 penalty.
    """
    with np.errstate(all="ignore"):
        fill = np.array([np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else 0.0 for c in matrix.T])
    filled = np.where(np.isnan(matrix), fill, matrix)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale = np.where(np.ptp(filled, axis=0) > 0, scale, 1.0)  # a constant column's own deviation is rounding error
    with threadpool_limits(1):  # a sum over other threads has other last bits
        fitted = LogisticRegression(C=penalty, max_iter=5_000).fit((filled - mean) / scale, label)
    return Linear(
        list(features.columns),
        fill.tolist(),
        mean.tolist(),
        scale.tolist(),
        fitted.coef_[0].tolist(),
        float(fitted.intercept_[0]),
    )


def calibrate(margin: Floats, label: Labels) -> Calibration:
    """Platt's scaling of margins on examples the model was not fitted on (Platt 1999, without label smoothing)."""
    if label.all() or not label.any():
        raise ValueError("calibration needs both outcomes among its examples")
    with threadpool_limits(1):
        fitted = LogisticRegression(C=1e6).fit(margin[:, None], label)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def decision(usecase: UseCase) -> Decision:
    """The rule that the stated costs make: act where the expected gain is positive."""
    costs: Costs = usecase.costs
    negative, positive = usecase.decisions
    stated = {"contact": costs.contact, "loss": costs.loss, "rescued": costs.rescued}
    return Decision(min(max(costs.threshold, 0.0), 1.0), negative, positive, stated)


def scorer(
    algorithm: str,
    usecase: UseCase,
    train: tuple[Floats, Labels],
    valid: tuple[Floats, Labels],
    trees: Boosting = boosted,
    parameters: Parameters | None = None,
) -> Scorer:
    """Fit, then calibrate on `valid`: a scorer of that algorithm, `xgboost` (fitted by `trees`) or `logistic`; without
    `parameters` by its DEFAULTS."""
    own = DEFAULTS[algorithm] if parameters is None else parameters
    model: Estimator
    if algorithm == Boosted.algorithm:
        model = trees(usecase.features, *train, *valid, own)
    else:
        model = logistic(usecase.features, *train, own["C"])
    return Scorer(usecase.features, model, calibrate(model.margin(valid[0]), valid[1]), decision(usecase))
