"""Entries of a prediction log, for tests of what writes, ships and reads it."""

from __future__ import annotations

import math
import os
import struct
import time
from itertools import count
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from model.predictions import Entry, Header, Prediction
from model.predictions.entry import Plain

HEADER = Header(
    usecase="club",
    model="club:20240101-aaaaaaaa",
    fingerprint="ab" * 32,
    threshold=0.25,
    labels=("stays", "leaves"),
    key="member_id",
    aggregates=["visits", "last_visit_at"],
    floats=["last_visit_at"],
    features=["visits", "recency"],
    pod="pod-1",
)
_NUMBER = count(1)


def new_id(at: int | None = None) -> str:
    """An id as serving makes them: milliseconds, then what makes it unique."""
    return f"{(time.time_ns() // 1_000 if at is None else at) // 1_000:012x}{os.getpid():08x}{next(_NUMBER):012x}"


def entry(*keys: str, at: int | None = None, bulk: bool | None = None, **given: Any) -> Entry:
    """An entry of made-up answers for these keys; `at` is when, microseconds."""
    n, moment = len(keys), time.time_ns() // 1_000 if at is None else at
    own = new_id(moment)
    plain: dict[str, Any] = {
        "id": own,
        "request_id": own,
        "route": "/v1/predict",
        "time": moment,
        "now": moment,
        "latency": 1_500,
        "keys": list(keys),
        "places": list(range(n)) if (n > 1 if bulk is None else bulk) else None,
        "attributes": {"region": ["north"] * n, "rating": [4.5] * n},
        "aggregates": b"".join(struct.pack("<qd", i, i + 0.5) for i in range(n)),
        "features": np.arange(2.0 * n).tobytes(),
        "margin": np.full(n, -1.5).tobytes(),
        "probability": np.full(n, 0.1).tobytes(),
        "positive": bytes(n),
        "known": bytes([1] * n),
        "as_of": [moment] * n,
    }
    return Entry(**{**plain, **given})


def bits(value: Any) -> Any:
    """The value with each float as its eight bytes, so that equal is equal to the last bit; every NaN is one."""
    if isinstance(value, Prediction):
        return {name: bits(inner) for name, inner in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return {name: bits(inner) for name, inner in value.items()}
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else struct.pack("<d", value)
    return value


_INTS = st.sampled_from([-(2**63), 2**63 - 1, 0, -1]) | st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.sampled_from([math.nan, -0.0, 0.0, math.inf, -math.inf, 5e-324, 1.7e308, 1e16]) | st.floats(width=64)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_LEVELS = _TEXTS.filter(lambda text: "Infinity" not in text and "e+" not in text and text != "-0.0")
"""No level of a category looks like a number that SQL has none for."""
_MICROS = st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000)
_FINITE = st.floats(width=64, allow_nan=False, allow_infinity=False)


@st.composite
def answered(draw: st.DrawFn) -> tuple[Entry, list[dict[str, Any]]]:
    """An entry, and what it says of each row, put together apart from the code under test."""
    n = draw(st.integers(1, 4))
    single = n == 1 and draw(st.booleans())

    def some(one: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(one, min_size=n, max_size=n))

    keys, as_of = some(_TEXTS), some(_MICROS)
    whole, last = some(_INTS), some(_FLOATS)
    visits, recency, margin, probability = some(_FLOATS), some(_FLOATS), some(_FLOATS), some(_FLOATS)
    positive, known = some(st.booleans()), some(st.booleans())
    kinds: list[st.SearchStrategy[Plain]] = [_LEVELS, st.integers(-(2**53), 2**53), st.none(), st.booleans(), _FINITE]
    attributes = {"region": some(kinds[0]), "other": some(draw(st.sampled_from(kinds)))}
    places = None if single else draw(st.lists(st.integers(0, 99), min_size=n, max_size=n, unique=True))
    made = entry(
        *keys,
        at=draw(_MICROS),
        id=new_id(),
        request_id=draw(_TEXTS),
        now=draw(_MICROS),
        places=places,
        attributes=attributes,
        aggregates=b"".join(struct.pack("<qd", *pair) for pair in zip(whole, last, strict=True)),
        features=b"".join(struct.pack("<dd", *pair) for pair in zip(visits, recency, strict=True)),
        margin=struct.pack(f"<{n}d", *margin),
        probability=struct.pack(f"<{n}d", *probability),
        positive=bytes(positive),
        known=bytes(known),
        as_of=as_of,
        batch=draw(st.integers(-1, 2**40)),
        degraded=draw(st.booleans()),
        latency=draw(st.integers(0, 2**40)),
    )
    rows: list[dict[str, Any]] = [
        {
            "prediction_id": made.id if places is None else f"{made.id}-{places[i]}",
            "request_id": made.request_id,
            "usecase": "club",
            "model": "club:20240101-aaaaaaaa",
            "fingerprint": "ab" * 32,
            "route": "/v1/predict",
            "pod": "pod-1",
            "answered_at": made.time,
            "request_time": made.now,
            "as_of": as_of[i],
            "key": keys[i],
            "known": known[i],
            "degraded": made.degraded,
            "probability": probability[i],
            "decision": "leaves" if positive[i] else "stays",
            "threshold": 0.25,
            "margin": margin[i],
            "attributes": {name: values[i] for name, values in attributes.items()},
            "aggregates": {"visits": whole[i], "last_visit_at": last[i]},
            "features": {"visits": visits[i], "recency": recency[i]},
            "batch": None if made.batch == -1 else made.batch,
            "latency_us": made.latency,
            "hashed": "",
        }
        for i in range(n)
    ]
    return made, rows
