"""Aggregates: PostgreSQL's event store answers as the oracle, to the last bit, over any events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server
from features.aggregates import Aggregate
from features.source import Source
from features.store.base import Spine
from features.store.postgres_events import PostgresEvents
from tests.effort import examples
from tests.features.engines import Engine, fill
from tests.features.test_aggregates import AGGREGATES, KEYS, ROWS, TIMES, UNKNOWN, oracle, same
from tests.features.toys import ROW, Row, Visit, feature_set


@pytest.fixture(scope="module")
def name(postgresql: Server) -> str:
    """A use case whose tables are made; each example fills them anew."""
    engine = Engine("postgresql", Path(), postgresql)
    engine.open(Source(Visit))
    return engine.name


@settings(max_examples=examples(100), deadline=None)
@given(ROWS, AGGREGATES, st.lists(TIMES, min_size=1, max_size=2))
def test_postgresql_answers_as_the_oracle(
    postgresql: Server, name: str, rows: list[Row], aggregates: list[Aggregate], times: list[int]
) -> None:
    store = PostgresEvents(postgresql.url, name, feature_set(Visit, *aggregates), {"events": Source(Visit)})
    schema = pa.schema([field for field in ROW if field.name != "batch"])
    fill(store, [("events", pa.Table.from_pylist([vars(row) for row in rows], schema))])
    asked = [*KEYS, *UNKNOWN, KEYS[0]]
    spine = Spine(np.array(asked * len(times)), np.repeat(np.array(times, dtype=np.int64), len(asked)))
    expected = oracle(aggregates, rows, spine)
    same(store.aggregate(spine), expected)
    seen = {key for key, t, known in zip(spine.key, spine.t, expected.known, strict=True) if known and t == times[0]}
    assert store.keys(times[0]).tolist() == sorted(seen)
