"""Twenty: no events, twenty numbers a request. What serving costs when hardly anything else does."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from features.contract import Contract, Key
from features.featureset import FeatureSet
from features.source import Source
from usecases import Costs, Outcome, UseCase

NAMES = tuple(f"x{number}" for number in range(20))
NUMBERS: dict[str, Any] = dict.fromkeys(NAMES, (float, ...))
KEY: dict[str, Any] = {"customer_id": (Key, ...), "label": (bool, ...)}

Numbers = create_model("Numbers", __base__=Contract, **NUMBERS)
NumbersRecord = create_model("NumbersRecord", __base__=Numbers, **KEY)

USECASE = UseCase(
    name="twenty",
    title="Twenty: the label is true",
    sources={"records": Source(NumbersRecord)},
    features=FeatureSet(NAMES, attributes=Numbers),
    label=Outcome("label"),
    costs=Costs(contact=1, loss=10, rescued=0.2),
)
