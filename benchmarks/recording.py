"""`python -m benchmarks.recording TAG`: made-up answers of a model, written to the prediction log as serving does.

It begins at once, at about `PACE` rows a second, in requests of one row and of some, with a new recorder every second,
so that segments are sealed and begun; it ends when stdin does, and prints how many rows are in the log.
"""

from __future__ import annotations

import random
import select
import sys
import time

import numpy as np

import settings as holdfast_settings
import usecases
from model import store
from model.predictions import Entry, Header
from serving.recorder import Recorder

PACE = 2_000
MOST = 40
"""Rows of the largest request."""


def main() -> None:
    """Write until there is nobody left."""
    tag = sys.argv[1]
    settings, manifest = holdfast_settings.load(), store.manifest(tag)
    usecase = usecases.load(manifest.name)
    aggregates, columns = usecase.features.aggregates, list(usecase.features.columns)
    header = Header(
        usecase=usecase.name,
        model=tag,
        fingerprint=manifest.fingerprint,
        threshold=0.5,
        labels=usecase.decisions,
        key=usecase.key,
        aggregates=[one.name for one in aggregates],
        floats=[],
        features=columns,
        pod="recording",
    )
    written, number = 0, 0
    chance = random.Random(tag)  # noqa: S311  # sizes, no secret
    numbers = np.random.default_rng(0)
    start = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        recorder = Recorder(settings.predictions_url, settings.home / usecase.name, header, 2**30)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            rows = 1 if chance.random() < 0.8 else chance.randint(2, MOST)
            moment, number = time.time_ns() // 1_000, number + 1
            own, score = f"{moment // 1_000:012x}{number:020x}", numbers.random(rows)
            recorder.append(
                Entry(
                    id=own,
                    request_id=own,
                    route="/v1/predict",
                    time=moment,
                    now=moment,
                    latency=1,
                    keys=[f"c{number}"] * rows,
                    places=None if rows == 1 else list(range(rows)),
                    attributes={},
                    aggregates=numbers.integers(0, 50, (rows, len(aggregates))).tobytes(),
                    features=numbers.random((rows, len(columns))).tobytes(),
                    margin=score.tobytes(),
                    probability=score.tobytes(),
                    positive=(score >= header.threshold).tobytes(),
                    known=bytes([1] * rows),
                    as_of=[moment] * rows,
                )
            )
            written += rows
            if written > PACE * (time.monotonic() - start):
                time.sleep(0.002)
        recorder.close()
        if any(recorder.dropped.values()):
            sys.exit(f"dropped: {recorder.dropped}")
    sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    main()
