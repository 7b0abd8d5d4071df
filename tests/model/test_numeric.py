"""Arithmetic that gives the same bits for one row and for many, against exact oracles."""

from __future__ import annotations

import math
import struct
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.numeric import baseline, linear, sigmoid, ulps

finite = st.floats(allow_nan=False, allow_infinity=False)
tame = st.floats(-1e6, 1e6, allow_nan=False)


def exact_sigmoid(margin: float) -> Decimal:
    """To 60 digits."""
    with localcontext(prec=60):
        return 1 / (1 + (-Decimal(margin)).exp())


def steps(a: float, b: float) -> int:
    """From a to b, by their place in the order of all float64: an oracle in plain integers."""

    def place(x: float) -> int:
        bits: int = struct.unpack("<Q", struct.pack("<d", x))[0]
        return bits if bits < 2**63 else 2**63 - bits

    return abs(place(a) - place(b))


@given(st.floats(-700, 700))
def test_sigmoid_is_right_to_a_few_ulp(margin: float) -> None:
    found = float(sigmoid(np.array([margin]))[0])
    assert abs(Decimal(found) - exact_sigmoid(margin)) <= exact_sigmoid(margin) * Decimal(8 * 2.0**-53)


@pytest.mark.parametrize(("margin", "expected"), [(1e3, 1.0), (-1e3, 0.0), (1e308, 1.0), (-1e308, 0.0), (0.0, 0.5)])
def test_sigmoid_of_extremes_neither_overflows_nor_warns(margin: float, expected: float) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert sigmoid(np.array([margin]))[0] == expected


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)))
def test_sigmoid_stays_within_0_and_1_and_keeps_the_order(margin: Any) -> None:
    found = sigmoid(np.sort(margin))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -(2.0**-52)).all()


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-800, 800)), st.data())
def test_sigmoid_of_one_is_sigmoid_among_many_bit_for_bit(margin: Any, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(margin) - 1))
    strided = np.stack([margin, margin], axis=1)[:, 0]
    assert sigmoid(margin[row : row + 1]).tobytes() == sigmoid(margin)[row : row + 1].tobytes()
    assert sigmoid(strided).tobytes() == sigmoid(margin).tobytes()


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**32 - 1), st.data())
def test_linear_is_the_exact_sum_but_for_rounding(columns: int, rows: int, seed: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(0, 100, (rows, columns))
    coefficients, intercept = random.normal(0, 3, columns).tolist(), data.draw(st.floats(-10, 10))
    found = linear(matrix, coefficients, intercept)
    for row in range(rows):
        products = [Fraction(float(x)) * Fraction(c) for x, c in zip(matrix[row], coefficients, strict=True)]
        exact = sum(products, Fraction(intercept))
        size = sum(map(abs, products), Fraction(abs(intercept)))
        assert abs(Fraction(float(found[row])) - exact) <= size * Fraction(columns + 1, 2**52)


@given(st.integers(1, 30), st.integers(2, 70), st.integers(0, 2**32 - 1))
def test_linear_of_some_rows_is_that_of_all_bit_for_bit(columns: int, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix, coefficients = random.normal(0, 1e4, (rows, columns)), random.normal(0, 3, columns).tolist()
    whole = linear(matrix, coefficients, 0.5)
    order = random.permutation(rows)
    assert linear(matrix[order], coefficients, 0.5).tobytes() == whole[order].tobytes()
    assert linear(matrix[:1], coefficients, 0.5).tobytes() == whole[:1].tobytes()
    assert linear(np.asfortranarray(matrix), coefficients, 0.5).tobytes() == whole.tobytes()


def test_linear_refuses_another_number_of_columns() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        linear(np.ones((3, 2)), [1.0, 2.0, 3.0], 0.0)


@given(finite, st.integers(0, 40))
def test_ulps_counts_steps_of_nextafter(start: float, count: int) -> None:
    end = start
    for _ in range(count):
        end = math.nextafter(end, math.inf)
    if math.isfinite(end):
        assert int(ulps(np.array([start]), np.array([end]))[0]) == count


@given(finite, finite)
def test_ulps_is_the_distance_in_the_order_of_floats(a: float, b: float) -> None:
    there, back = ulps(np.array([a]), np.array([b])), ulps(np.array([b]), np.array([a]))
    assert int(there[0]) == int(back[0]) == steps(a, b)
    assert (int(there[0]) == 0) == (a == b)


def test_ulps_spans_the_whole_range_and_takes_both_zeros_as_one() -> None:
    largest = np.finfo(np.float64).max
    assert int(ulps(np.array([-largest]), np.array([largest]))[0]) == steps(-largest, largest) > 2**63
    assert int(ulps(np.array([0.0]), np.array([-0.0]))[0]) == 0
    assert int(ulps(np.array([1.0]), np.array([np.nan]))[0]) > 1_000_000


def test_the_baseline_is_the_same_whenever_it_is_asked_for() -> None:
    assert baseline() == baseline()
    assert set(baseline()) == {"machine", "probe"}
