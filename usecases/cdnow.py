"""CDNOW: who of the 23,570 first-time buyers of early 1997 will order nothing in the next 90 days?"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY
from features.contract import Contract, Key, Money, Timestamp
from features.etl.fetch import Sample
from features.featureset import FeatureSet
from features.source import Source
from usecases import Absence, Costs, Slice, UseCase, Watch

Array = NDArray[Any]


class Order(Contract):
    """One order."""

    customer_id: Key
    ordered_at: Timestamp
    cds: Annotated[int, Field(ge=1, le=1_000, description="How many CDs.")]
    spend: Annotated[Money, Field(ge=0, le=10_000_00, description="What was paid, in cents.")]


def avg_spend(total_spend: Array, orders: Array) -> Array:
    """Mean cents per order; 0 without orders."""
    return np.divide(total_spend, orders, out=np.zeros(len(orders)), where=orders > 0)


def recency_days(last_order_at: Array, request_time: Array) -> Array:
    """Days since the last order; NaN without one."""
    return (request_time - last_order_at) / DAY


def tenure_days(first_order_at: Array, request_time: Array) -> Array:
    """Days since the first order; NaN without one."""
    return (request_time - first_order_at) / DAY


def mean_gap_days(first_order_at: Array, last_order_at: Array, orders: Array) -> Array:
    """Mean days between orders; NaN with fewer than two."""
    gaps = np.where(orders > 1, orders - 1.0, np.nan)
    return (last_order_at - first_order_at) / DAY / gaps


def recency_share(recency_days: Array, tenure_days: Array) -> Array:
    """Share of the tenure that has passed since the last order; 1 for a single order."""
    return np.divide(recency_days, tenure_days, out=np.ones(len(tenure_days)), where=tenure_days > 0)


def log_orders(orders: Array) -> Array:
    """log(1 + orders)."""
    return np.log1p(orders)


def log_recency(recency_days: Array) -> Array:
    """log(1 + days since the last order)."""
    return np.log1p(recency_days)


def log_spend(total_spend: Array) -> Array:
    """log(1 + dollars spent)."""
    return np.log1p(total_spend / 100)


FEATURES = FeatureSet(
    events=Order,
    aggregates=(
        Aggregate.count("orders"),
        Aggregate.count("orders_30d", window=30 * DAY),
        Aggregate.count("orders_90d", window=90 * DAY),
        Aggregate.count("orders_180d", window=180 * DAY),
        Aggregate.sum("total_spend", "spend"),
        Aggregate.sum("spend_90d", "spend", window=90 * DAY),
        Aggregate.sum("spend_180d", "spend", window=180 * DAY),
        Aggregate.max("largest_order", "spend"),
        Aggregate.sum("total_cds", "cds"),
        Aggregate.sum("cds_90d", "cds", window=90 * DAY),
        Aggregate.min("first_order_at", "ordered_at"),
        Aggregate.max("last_order_at", "ordered_at"),
    ),
    rows=(avg_spend, recency_days, tenure_days, mean_gap_days, recency_share, log_orders, log_recency, log_spend),
    inputs=(
        "orders",
        "orders_30d",
        "orders_90d",
        "orders_180d",
        "total_spend",
        "spend_90d",
        "spend_180d",
        "largest_order",
        "total_cds",
        "cds_90d",
        "avg_spend",
        "recency_days",
        "tenure_days",
        "mean_gap_days",
        "recency_share",
        "log_orders",
        "log_recency",
        "log_spend",
    ),
)

USECASE = UseCase(
    name="cdnow",
    title="CDNOW: no order in the next 90 days",
    sources={
        "events": Source(
            Order,
            rename={"date": "ordered_at", "number_of_cds": "cds", "dollar_value": "spend"},
            rewrite={"customer_id": (r"^0+(\d)", r"\1")},
            delimiter=" ",
            time_format="%Y%m%d",
            zone="UTC",
        )
    },
    features=FEATURES,
    label=Absence(horizon=90 * DAY, every=30 * DAY, first=90 * DAY),
    costs=Costs(contact=2.0, loss=25.0, rescued=0.1),
    label_time="1997-12-31T00:00:00Z",
    slices=(
        Slice("orders", at=(2, 5)),  # who bought once is most of them, and has told us least
        Slice("recency_days", at=(90, 180, 365)),
        Slice("total_spend", at=(50_00, 200_00)),
    ),
    # served customers are older than those of any label time, so the training set is no reference for their inputs
    watch=Watch(reference="served", matures=90 * DAY),
    sample=Sample(
        title="CDNOW: 69,659 orders of 23,570 customers, 1997-01 to 1998-06",
        requirement="lifetimes==0.11.3",
        wheel="261e3dc89977c2b60767ca6728aaa29d429de0c814635070a749c36555895da8",
        member="lifetimes/datasets/CDNOW_master.txt",
        sha256="eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef",
        now="1998-07-01T00:00:00Z",
    ),
)
