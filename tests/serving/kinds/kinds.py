"""Kinds: a use case with a field of every kind, and every kind that may be missing; the model uses them all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.contract import Blank, Contract, Key, Money
from features.featureset import FeatureSet
from features.source import Source
from usecases import Costs, Outcome, UseCase


class Fields(Contract):
    """What a request says."""

    count: Annotated[int, Field(ge=-3, le=700)]
    paid: Money
    whole: int
    ratio: Annotated[float, Field(ge=-1e6)]
    flag: bool
    level: Literal["low", "high", "One year"]
    maybe_count: int | None
    maybe_paid: Annotated[Money, Field(ge=0)] | None
    maybe_ratio: Annotated[float, Field(ge=0, le=1)] | None
    maybe_flag: bool | None
    maybe_level: Literal["a", "Größe"] | None
    blank_count: Annotated[int, Field(ge=0), Blank(7, "nobody said")]
    blank_ratio: Annotated[float, Blank(0.5, "nobody said")]
    blank_flag: Annotated[bool, Blank(True, "nobody said")]
    blank_level: Annotated[Literal["p", "q"], Blank("q", "nobody said")]


class Record(Fields):
    """The same, whose it is, and what became of it."""

    who: Key
    gone: bool


USECASE = UseCase(
    name="kinds",
    title="Kinds: the label is true",
    sources={"records": Source(Record)},
    features=FeatureSet(attributes=Fields, inputs=tuple(Fields.model_fields)),
    label=Outcome("gone"),
    costs=Costs(contact=1, loss=10, rescued=0.5),
)
