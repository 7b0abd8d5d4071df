"""How a use case asks to be watched: what cannot be meant is refused, with what can be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import usecases
from features.featureset import FeatureSet
from usecases import Retrain, UseCaseError, Watch


@pytest.mark.parametrize(
    "given", [{"rows": 0}, {"settle": 0}, {"matures": -1}, {"budget": 0.0}, {"budget": 1.0}, {"every": 0}]
)
def test_a_watch_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UseCaseError, match=next(iter(given))):
        Watch(**given)


@pytest.mark.parametrize("given", [{"windows": 0}, {"cooldown": -1}, {"tracks": ("inputs", "skew")}])
def test_a_request_for_a_model_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UseCaseError, match="inputs, quality, answers, outcomes"):
        Retrain(**given)


@pytest.mark.parametrize("name", ["score", "decision", "outcome"])
def test_an_input_cannot_have_the_name_of_an_answer(name: str) -> None:
    cdnow = usecases.load("cdnow")
    own = cdnow.features

    def renamed(orders: Any) -> Any:
        return orders * 1.0

    renamed.__name__ = name
    features = FeatureSet(events=own.events, aggregates=own.aggregates, rows=(renamed,), inputs=("orders", name))
    with pytest.raises(UseCaseError, match=f"{name!r}.*rename it"):
        dataclasses.replace(cdnow, features=features, slices=(), telling=())
