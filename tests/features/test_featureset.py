"""A feature set: its inputs, its matrix, and what does not fit together, by name."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field

from features.aggregates import Aggregate, FeatureError
from features.contract import Contract, Key
from features.featureset import FeatureSet
from tests.features.test_rows import FUNCTIONS, Array, computed, drawn, made
from tests.features.toys import Sale


class Attributes(Contract):
    """What a request carries, with a category that may be missing."""

    plan: Literal["small", "large"] | None
    age: int | None


def test_the_matrix_is_one_hot_in_declared_order_and_missing_is_nan() -> None:
    features = FeatureSet(inputs=("age", "plan"), attributes=Attributes)
    assert features.columns == ("age", "plan=small", "plan=large")
    given_ = {"plan": np.array(["large", "", "small"]), "age": np.array([3.0, np.nan, 0.0])}
    found = features.matrix(features.evaluate({}, given_, np.zeros(3, np.int64)))
    assert (found.dtype, found.flags.c_contiguous) == (np.dtype(np.float64), True)
    assert np.array_equal(found, np.array([[3, 0, 1], [np.nan, 0, 0], [0, 1, 0]]), equal_nan=True)


def test_no_rows_give_no_rows() -> None:
    features = FUNCTIONS["cdnow"]
    assert features.matrix(features.evaluate(*drawn(features, 1, 0))).shape == (0, len(features.columns))


@pytest.mark.parametrize("inputs", [(), ("orders", "orders"), ("orderz",)])
def test_model_inputs_are_features_each_once(inputs: tuple[str, ...]) -> None:
    with pytest.raises(FeatureError):
        made(inputs=inputs)


def spend_rate(orders: Array) -> Array:
    return 1 / (orders - 2.0)


def test_an_infinite_input_is_named_with_its_row() -> None:
    features = made(spend_rate, inputs=("spend_rate",))
    with pytest.raises(FeatureError, match="'spend_rate' is inf in row 1"):
        features.matrix(computed(features))


def test_a_name_is_one_thing() -> None:
    with pytest.raises(FeatureError, match="'plan'"):
        FeatureSet(("plan",), Sale, Attributes, (Aggregate.count("plan"),))


def plan(age: Array) -> Array:
    return age


def test_a_row_feature_has_no_field_s_name() -> None:
    with pytest.raises(FeatureError, match="'plan'"):
        FeatureSet(("plan",), attributes=Attributes, rows=(plan,))


class Named(Contract):
    """A request that carries a name."""

    account: Key
    age: Annotated[int, Field(ge=0)]


def test_a_key_is_no_input() -> None:
    with pytest.raises(FeatureError, match="'account'"):
        FeatureSet(("account",), attributes=Named)


def waits(request_time: Array) -> Array:
    return request_time / 2


def test_whether_time_matters_is_known() -> None:
    assert not FeatureSet(("age",), attributes=Named).timed
    assert FeatureSet(("age",), attributes=Named, rows=(waits,)).timed
    assert FeatureSet(("age", "request_time"), attributes=Named).timed
