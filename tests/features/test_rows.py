"""Row features: one call serves one row and a million with the same bits; what cannot be computed is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregates import Aggregate, FeatureError
from features.contract import columns
from features.featureset import FeatureSet
from features.rows import Arrays
from tests.features.toys import Sale
from usecases import load

Array = np.ndarray[Any, Any]
FUNCTIONS: dict[str, FeatureSet] = {name: load(name).features for name in ("cdnow", "telco")}


def double(orders: Array) -> Array:
    """An honest one."""
    return orders * 2.0


def quadruple(double: Array) -> Array:
    """One that builds on another."""
    return double * 2


def asks_unknown(orderz: Array) -> Array:
    return orderz


def ring_a(ring_b: Array) -> Array:
    return ring_b


def ring_b(ring_c: Array) -> Array:
    return ring_c


def ring_c(ring_a: Array) -> Array:
    return ring_a


def itself(itself: Array) -> Array:
    return itself


def defaulted(orders: Array, scale: float = 2.0) -> Array:
    return orders * scale


def starred(*orders: Array) -> Array:
    return orders[0]


def keyed(*, orders: Array) -> Array:
    return orders


def orders() -> Array:
    return np.zeros(1)


def made(*functions: Callable[..., Any], inputs: tuple[str, ...] = ("orders",)) -> FeatureSet:
    """A feature set of one aggregate and these row features."""
    return FeatureSet(inputs=inputs, events=Sale, aggregates=(Aggregate.count("orders"),), rows=functions)


def computed(features: FeatureSet, rows: int = 3) -> Arrays:
    """All features of rows 1 to n."""
    return features.evaluate({"orders": np.arange(1, rows + 1)}, {}, np.zeros(rows, np.int64))


def drawn(features: FeatureSet, seed: int, rows: int) -> tuple[Arrays, Arrays, Array]:
    """Inputs of a feature set with zeros, NaN, extremes and equal times, as the stores give them."""
    rng = np.random.default_rng(seed)
    aggregates: Arrays = {}
    for aggregate in features.aggregates:
        values = rng.integers(0, 4, rows) * rng.choice([0, 1, 977, 86_400_000_000, 2**40 + 1], rows)
        if aggregate.function in ("min", "max"):
            aggregates[aggregate.name] = np.where(rng.random(rows) < 0.3, np.nan, values.astype(np.float64))
        else:
            aggregates[aggregate.name] = values
    attributes: Arrays = {}
    for column in columns(features.attributes) if features.attributes else ():
        if column.kind == "category":
            attributes[column.name] = rng.choice(column.levels, rows)
        elif column.kind == "flag":
            attributes[column.name] = rng.random(rows) < 0.5
        else:
            attributes[column.name] = rng.integers(0, 1_000, rows) * rng.choice([0, 1, 99], rows)
    return aggregates, attributes, rng.integers(0, 2**45, rows)


def sliced(arrays: Arrays, chosen: slice | Array) -> Arrays:
    """Some rows of every array; a slice with a step is a strided view."""
    return {name: values[chosen] for name, values in arrays.items()}


def bits(arrays: Arrays) -> dict[str, tuple[str, bytes]]:
    """Dtype and bytes of every array."""
    return {name: (values.dtype.kind, values.astype(np.float64).tobytes()) for name, values in arrays.items()}


def numbers(arrays: Arrays) -> Arrays:
    """The arrays that are numbers."""
    return {name: values for name, values in arrays.items() if values.dtype.kind != "U"}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 80), step=st.integers(2, 9))
def test_any_number_of_rows_at_any_stride_gives_the_same_bits(name: str, seed: int, rows: int, step: int) -> None:
    features = FUNCTIONS[name]
    aggregates, attributes, time = drawn(features, seed, rows)
    whole = numbers(features.evaluate(aggregates, attributes, time))
    everything = slice(None)
    backwards = slice(None, None, -1)
    parts: list[slice] = [slice(0, 1), slice(rows - 1, rows), slice(0, 7), slice(1, None, step), everything, backwards]
    for part in parts:
        found = features.evaluate(sliced(aggregates, part), sliced(attributes, part), time[part])
        assert bits(numbers(found)) == bits(sliced(whole, part)), part
    for row in range(min(rows, 5)):
        one = slice(row, row + 1)
        found = features.evaluate(sliced(aggregates, one), sliced(attributes, one), time[one])
        assert bits(numbers(found)) == bits(sliced(whole, one)), row


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_input_makes_a_feature_infinite(name: str) -> None:
    features = FUNCTIONS[name]
    for seed in range(40):
        found = features.evaluate(*drawn(features, seed, 64))
        assert features.matrix(found).shape == (64, len(features.columns))


@pytest.mark.parametrize(
    ("functions", "named"),
    [
        ((asks_unknown,), ["'asks_unknown'", "'orderz'"]),
        ((ring_a, ring_b, ring_c), ["ring_a", "ring_b", "ring_c"]),
        ((itself,), ["itself"]),
        ((double, double), ["'double'", "twice"]),
        ((orders,), ["'orders'"]),
        ((lambda orders: orders,), ["<lambda>"]),
        ((defaulted,), ["'defaulted'", "scale"]),
        ((starred,), ["'starred'", "orders"]),
        ((keyed,), ["'keyed'", "orders"]),
        ((np.log,), ["log"]),
        ((quadruple,), ["'quadruple'", "'double'"]),
    ],
)
def test_what_cannot_be_resolved_is_named_at_import(
    functions: tuple[Callable[..., Any], ...], named: list[str]
) -> None:
    with pytest.raises(FeatureError) as refused:
        made(*functions)
    assert all(name in str(refused.value) for name in named), refused.value


def test_a_row_feature_comes_after_its_inputs_whatever_the_order_of_declaration() -> None:
    for functions in ((double, quadruple), (quadruple, double)):
        assert computed(made(*functions))["quadruple"].tolist() == [4, 8, 12]


def scalar(orders: Array) -> Any:
    return orders.sum()


def shorter(orders: Array) -> Array:
    return orders[1:]


def square(orders: Array) -> Array:
    return np.outer(orders, orders)


def listed(orders: Array) -> Any:
    return orders.tolist()


def words(orders: Array) -> Array:
    return orders.astype(str)


@pytest.mark.parametrize("function", [scalar, shorter, square, listed, words])
def test_an_answer_is_one_number_per_row(function: Callable[..., Any]) -> None:
    with pytest.raises(FeatureError, match=f"'{function.__name__}'"):
        computed(made(function))


def packed(orders: Array) -> Array:
    return np.full(len(orders), orders.flags.c_contiguous)


def twice_packed(packed: Array) -> Array:
    return np.repeat(packed, 2)[::2]


def last_packed(twice_packed: Array) -> Array:
    return np.full(len(twice_packed), twice_packed.flags.c_contiguous)


def test_what_a_row_feature_reads_is_contiguous() -> None:
    strided = np.arange(10)[::3]
    found = made(packed, twice_packed, last_packed).evaluate({"orders": strided}, {}, np.zeros(4, np.int64))
    assert found["packed"].all()
    assert found["last_packed"].all()


def greedy(orders: Array) -> Array:
    orders += 1
    return orders


def test_a_row_feature_cannot_change_what_others_read() -> None:
    given_ = np.array([1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        made(greedy).evaluate({"orders": given_}, {}, np.zeros(3, np.int64))
    assert given_.tolist() == [1, 2, 3]
