"""Salon: which guest stays away? Visits that are read from a database, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, EventId, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.source import Relation, Source
from usecases import Absence, Costs, Floors, Retrain, UseCase, Watch

Array = NDArray[Any]


class Visit(Contract):
    """One visit."""

    id: EventId
    guest_id: Key
    came_at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=500_00)]


def days_away(last_at: Array, request_time: Array) -> Array:
    """Days since the last visit; NaN without one."""
    return (request_time - last_at) / DAY


def paid_per_visit(paid: Array, visits: Array) -> Array:
    """Mean cents; 0 without visits."""
    return np.divide(paid, visits, out=np.zeros(len(visits)), where=visits > 0)


USECASE = UseCase(
    name="salon",
    title="Salon: no visit in the next 30 days",
    sources={"events": Source(Visit, relation=Relation("salon.visits", updated="updated_at", id="id"))},
    features=FeatureSet(
        events=Visit,
        aggregates=(
            Aggregate.count("visits"),
            Aggregate.count("visits_30d", window=30 * DAY),
            Aggregate.sum("paid", "paid"),
            Aggregate.max("last_at", "came_at"),
        ),
        rows=(days_away, paid_per_visit),
        inputs=("visits", "visits_30d", "paid_per_visit", "days_away"),
    ),
    label=Absence(horizon=30 * DAY, every=30 * DAY, first=60 * DAY),
    costs=Costs(contact=1.0, loss=20.0, rescued=0.2),
    floors=Floors(ece=0.2, loss=1),  # 400 guests show little
    watch=Watch(rows=500, retrain=Retrain(windows=2)),
)
