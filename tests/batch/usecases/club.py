"""Club: which member stays away? Events and attributes; and two row features that cannot take every value."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, Key, Money, Timestamp
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
    """What is known of a member."""

    age: Annotated[int, Field(ge=0, le=120)]
    discount: Annotated[float, Field(ge=0, le=1)]


class MemberRecord(Member):
    """The same, and whose it is."""

    member_id: Key


def adult_years(age: Array) -> Array:
    """Years since the eighteenth birthday.

    Raises:
        ValueError: for a minor, whoever stands beside.
    """
    if (age < 18).any():
        raise ValueError(f"a member of {age.min()} years")
    return age - 18


def full_price(paid: Array, discount: Array) -> Array:
    """What would have been paid without a discount: infinite for who has everything free."""
    return np.asarray(paid / (1 - discount))


USECASE = UseCase(
    name="club",
    title="Club: no visit in the next 30 days",
    sources={"events": Source(Visit), "records": Source(MemberRecord)},
    features=FeatureSet(
        events=Visit,
        attributes=Member,
        aggregates=(Aggregate.count("visits"), Aggregate.sum("paid", "paid"), Aggregate.max("last_at", "came_at")),
        rows=(adult_years, full_price),
        inputs=("visits", "adult_years", "full_price"),
    ),
    label=Absence(horizon=30 * DAY, every=30 * DAY, first=60 * DAY),
    costs=Costs(contact=1.0, loss=20.0, rescued=0.2),
)
