"""The server of the articles: FastAPI, a pydantic model, a DataFrame, a scikit-learn pipeline out of joblib.

`python article.py MODEL PIPELINE` makes the pipeline; `PIPELINE=... uvicorn article:app` serves it.
"""

import os
import sys

import joblib
import numpy as np
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

FEATURES = [f"x{number}" for number in range(20)]

Features = create_model("Features", **dict.fromkeys(FEATURES, (float, ...)))


class Rows(BaseModel):
    rows: list[Features]


def make(model: str, path: str) -> None:
    """The pipeline as an article's training would have dumped it, around the benchmark's model.

    Its scaler leaves numbers as they are, so that the answers are those of the model alone.
    """
    classifier = XGBClassifier()
    classifier.load_model(model)
    scaler = StandardScaler(with_mean=False, with_std=False)
    scaler.fit(pd.DataFrame(np.zeros((2, len(FEATURES))), columns=FEATURES))
    joblib.dump(Pipeline([("scaler", scaler), ("classifier", classifier)]), path)


app = FastAPI()
pipeline = joblib.load(os.environ["PIPELINE"]) if "PIPELINE" in os.environ else None


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/predict")
def predict(features: Features):
    frame = pd.DataFrame([features.model_dump()])
    probability = pipeline.predict_proba(frame)[0][1]
    return {"prediction": int(probability >= 0.5), "probability": float(probability)}


@app.post("/predict_many")
def predict_many(rows: Rows):
    frame = pd.DataFrame([row.model_dump() for row in rows.rows])
    probabilities = pipeline.predict_proba(frame)[:, 1]
    return {"probabilities": probabilities.tolist()}


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2])
