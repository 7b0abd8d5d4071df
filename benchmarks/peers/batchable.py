"""BentoML with its own adaptive batching, as its documentation shows it: `batchable=True` on an array."""

import os
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType

Rows = Annotated[np.ndarray, DType("float32")]


@bentoml.service(workers=1, traffic={"timeout": 30})
class Batchable:
    """The benchmark's model; MODEL is its file."""

    def __init__(self) -> None:
        import xgboost  # late: BentoML's supervisor imports this module too

        self.booster = xgboost.Booster({"nthread": 1})
        self.booster.load_model(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=1_024, max_latency_ms=1_000)
    def predict(self, rows: Rows) -> Rows:
        """Probabilities of rows."""
        return np.asarray(self.booster.inplace_predict(rows))
