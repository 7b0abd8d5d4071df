"""Boosted trees fitted by Spark's executors together (xgboost.spark): the same kind of model as one process fits.

Every worker holds a part of the rows; histograms are added up between them, over a tracker on the driver. Sums of
floats in another order, and samples drawn by each worker: the trees are others than those of one process, about as
good, and the same ones again for the same rows and number of workers.
"""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
from xgboost.spark import SparkXGBClassifier

from features.featureset import FeatureSet
from features.store.spark import SparkStore, told
from model.estimators import Boosted
from model.numeric import Floats
from training.fit import PARAMETERS, PATIENCE, ROUNDS, Labels, Parameters, finished

ROWS = 1_000
"""Fewest rows per worker: each needs examples to fit on and to validate on."""


def boosted(
    store: SparkStore,
    features: FeatureSet,
    matrix: Floats,
    label: Labels,
    valid: Floats,
    valid_label: Labels,
    parameters: Parameters = PARAMETERS,
) -> Boosted:
    """As `fit.boosted`, by as many workers as the store's session runs tasks at a time.

    Raises:
        StoreError: if Spark fails.
    """
    logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
    spark, rows = store.session, np.concatenate([matrix, valid])
    workers = max(1, min(spark.sparkContext.defaultParallelism, len(rows) // ROWS))
    table = pa.table(
        {
            "features": pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1]),
            "label": np.concatenate([label, valid_label]).astype(np.float64),
            "valid": np.repeat([False, True], [len(matrix), len(valid)]),
        }
    )
    classifier = SparkXGBClassifier(
        features_col="features",  # xgboost 3.2 cannot take a column each where an Arrow batch has no row to validate on
        label_col="label",
        validation_indicator_col="valid",
        num_workers=workers,
        force_repartition=True,  # rows to fit on and to validate on lie apart
        n_estimators=ROUNDS,
        early_stopping_rounds=PATIENCE,
        eval_metric="logloss",
        missing=float("nan"),
        verbose=False,
        verbosity=0,
        **{name: value for name, value in parameters.items() if name != "objective"},  # which is the classifier's own
    )
    with told():
        booster = classifier.fit(spark.createDataFrame(table)).get_booster()
    return finished(features, booster, workers)
