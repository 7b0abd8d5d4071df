"""A lean server by hand: FastAPI with nothing on it but a pydantic model and Holdfast's own ModelRunner.

No features, no record, no metrics, no limits: what is left of the cost when one gives all of that up.
"""

import os
from itertools import accumulate, pairwise

import numpy as np
import xgboost
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, create_model

from serving.runner import ModelRunner

Features = create_model("Features", **dict.fromkeys([f"x{number}" for number in range(20)], (float, ...)))
booster = xgboost.Booster({"nthread": 1})
booster.load_model(os.environ["MODEL"])


class Rows(BaseModel):
    rows: list[list[float]]


def run(asked: list[list[list[float]]]) -> list[list[float]]:
    """Probabilities of the rows of each request, computed together."""
    found = booster.inplace_predict(np.array([row for rows in asked for row in rows])).tolist()
    return [found[start:stop] for start, stop in pairwise(accumulate(map(len, asked), initial=0))]


runner = ModelRunner(run, max_batch_size=1_024, max_queue_rows=20_000, max_latency_ms=2_000)
app = FastAPI()


@app.get("/health")
async def health():
    return JSONResponse({"status": "ok"})


@app.post("/predict")
async def predict(features: Features):
    (probability,) = await runner.async_run([list(features.__dict__.values())])
    return JSONResponse({"probability": probability})


@app.post("/predict_many")
async def predict_many(rows: Rows):
    return JSONResponse({"probabilities": await runner.async_run(rows.rows)})
