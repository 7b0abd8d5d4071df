"""Studio: which member stays away? Events, attributes of every kind, some of which may be missing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Blank, Contract, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.source import Source
from usecases import Absence, Costs, UseCase

Array = NDArray[Any]


class Visit(Contract):
    """One visit."""

    member_id: Key
    came_at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=100_00)]


class Member(Contract):
    """What a request says of a member."""

    age: Annotated[int, Field(ge=0, le=120)]
    fee: Annotated[Money, Field(ge=0, le=500_00), Blank(0, "a guest pays nothing")]
    plan: Literal["month", "year < 2"] | None
    rating: Annotated[float, Field(ge=-5, le=5)] | None
    since: int | None
    student: bool


class MemberRecord(Member):
    """The same, and whose it is."""

    member_id: Key


def paid_per_visit(paid: Array, visits: Array) -> Array:
    """Mean cents; 0 without visits."""
    return np.divide(paid, visits, out=np.zeros(len(visits)), where=visits > 0)


def days_away(last_at: Array, request_time: Array) -> Array:
    """Days since the last visit; NaN without one."""
    return (request_time - last_at) / DAY


def log_age(age: Array) -> Array:
    """log(1 + years)."""
    return np.log1p(age)


USECASE = UseCase(
    name="studio",
    title="Studio: no visit in the next 30 days",
    sources={"events": Source(Visit), "records": Source(MemberRecord)},
    features=FeatureSet(
        events=Visit,
        attributes=Member,
        aggregates=(
            Aggregate.count("visits"),
            Aggregate.count("visits_14d", window=14 * DAY),
            Aggregate.sum("paid", "paid"),
            Aggregate.max("most_paid", "paid", window=60 * DAY),
            Aggregate.max("last_at", "came_at"),
        ),
        rows=(paid_per_visit, days_away, log_age),
        inputs=(
            "visits",
            "visits_14d",
            "paid",
            "most_paid",
            "last_at",
            "paid_per_visit",
            "days_away",
            "log_age",
            "fee",
            "plan",
            "rating",
            "since",
            "student",
        ),
    ),
    label=Absence(horizon=30 * DAY, every=15 * DAY, first=60 * DAY),
    costs=Costs(contact=1.0, loss=20.0, rescued=0.2),
)
