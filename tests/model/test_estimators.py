"""Boosted trees and the linear model: one row answers as a million do, before storing and after."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model import estimators
from model.estimators import Boosted, Estimator, Linear

COLUMNS = 7


def matrix(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Numbers of very different sizes, a fifth of them missing."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (rows, COLUMNS)) * 10.0 ** np.arange(-3, COLUMNS - 3)
    return np.where(random.random((rows, COLUMNS)) < 0.2, np.nan, values)


@pytest.fixture(scope="module")
def boosted() -> Boosted:
    """Deep trees, fitted on noise."""
    values = matrix(2_000, seed=1)
    label = np.random.default_rng(2).random(2_000) < 0.5
    train = xgboost.DMatrix(values, label)
    return Boosted(xgboost.train({"max_depth": 6, "objective": "binary:logistic", "nthread": 1}, train, 60))


@pytest.fixture(scope="module")
def linear() -> Linear:
    """Arbitrary coefficients."""
    random = np.random.default_rng(3)

    def numbers() -> list[float]:
        return [float(x) for x in random.normal(0, 2, COLUMNS)]

    scale = [float(x) for x in random.uniform(0.1, 1e3, COLUMNS)]
    return Linear([f"c{i}" for i in range(COLUMNS)], numbers(), numbers(), scale, numbers(), 0.3)


@pytest.fixture(params=["boosted", "linear"])
def model(request: pytest.FixtureRequest) -> Estimator:
    """Either."""
    found: Estimator = request.getfixturevalue(request.param)
    return found


def test_one_row_seven_rows_and_all_rows_answer_alike_to_the_last_bit(model: Estimator) -> None:
    values = matrix(500)
    whole = model.margin(values)
    assert whole.dtype == np.float64
    assert len(np.unique(whole)) > 100
    for size in (1, 7, 64):
        parts = [model.margin(values[start : start + size]) for start in range(0, 500, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), size


def test_the_order_of_rows_and_their_layout_in_memory_do_not_matter(model: Estimator) -> None:
    values = matrix(400)
    whole = model.margin(values)
    order = np.random.default_rng(5).permutation(400)
    assert model.margin(values[order]).tobytes() == whole[order].tobytes()
    assert model.margin(np.asfortranarray(values)).tobytes() == whole.tobytes()
    assert model.margin(np.repeat(values, 2, axis=0)[::2]).tobytes() == whole.tobytes()


def test_no_rows_have_no_answers(model: Estimator) -> None:
    assert model.margin(np.empty((0, COLUMNS))).shape == (0,)


def test_what_was_stored_answers_with_the_same_bits(model: Estimator, tmp_path: Path) -> None:
    model.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [model.file]
    back = estimators.read(model.algorithm, tmp_path)
    values = matrix(300)
    assert back.margin(values).tobytes() == model.margin(values).tobytes()
    back.write(tmp_path / ".." / tmp_path.name)
    assert estimators.read(model.algorithm, tmp_path).margin(values).tobytes() == model.margin(values).tobytes()


def test_an_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'neural' is neither 'xgboost' nor 'logistic'"):
        estimators.read("neural", tmp_path)


def test_more_threads_give_the_same_bits(boosted: Boosted, tmp_path: Path) -> None:
    boosted.write(tmp_path)
    values, answers = matrix(3_000, seed=8), []
    for threads in (1, 2, 4):
        booster = xgboost.Booster({"nthread": threads})
        booster.load_model(tmp_path / Boosted.file)
        answers.append(Boosted(booster).margin(values).tobytes())
    assert answers[0] == answers[1] == answers[2] == Boosted.read(tmp_path).margin(values).tobytes()


def test_trees_agree_with_xgboosts_own_prediction(boosted: Boosted) -> None:
    values = matrix(200)
    own = boosted.booster.predict(xgboost.DMatrix(values), output_margin=True)
    np.testing.assert_allclose(boosted.margin(values), own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 1_000])
def test_trees_answer_what_xgboosts_method_answers_to_the_last_bit(rows: int, boosted: Boosted) -> None:
    values = matrix(rows)
    values[::7, 0] = np.nan
    own = boosted.booster.inplace_predict(values, predict_type="margin")
    assert boosted.margin(values).tobytes() == own.astype(np.float64).tobytes()


numbers = st.floats(-1e150, 1e150, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=6), numbers)
def test_every_coefficient_survives_json_exactly(
    rows: list[tuple[float, float, float, float]], intercept: float
) -> None:
    fill, mean, scale, coefficients = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    model = Linear([f"c{i}" for i in range(len(rows))], fill, mean, scale, coefficients, intercept)
    back = Linear(**json.loads(json.dumps(model.__dict__)))
    assert back == model
    assert [math.copysign(1, x) for x in back.coefficients] == [math.copysign(1, x) for x in model.coefficients]


def test_a_linear_margin_is_the_exact_sum_but_for_rounding(linear: Linear) -> None:
    values = matrix(50)
    found = linear.margin(values)
    for row in range(50):
        terms = [
            (Fraction(float(linear.fill[i] if np.isnan(x) else x)) - Fraction(linear.mean[i]))
            / Fraction(linear.scale[i])
            * Fraction(linear.coefficients[i])
            for i, x in enumerate(values[row])
        ]
        exact = sum(terms, Fraction(linear.intercept))
        size = sum(map(abs, terms), Fraction(abs(linear.intercept)))
        assert abs(Fraction(float(found[row])) - exact) <= size * Fraction(COLUMNS + 4, 2**51)


def test_a_missing_value_counts_as_the_fill(linear: Linear) -> None:
    missing = np.full((1, COLUMNS), np.nan)
    assert linear.margin(missing).tobytes() == linear.margin(np.array([linear.fill])).tobytes()
    values = matrix(40)
    filled = values.copy()
    for column in range(COLUMNS):
        filled[np.isnan(values[:, column]), column] = linear.fill[column]
    assert np.isnan(values).any()
    assert linear.margin(values).tobytes() == linear.margin(filled).tobytes()
