"""Explanations: they add up, they are Shapley values, they speak of the inputs, and they are the row's own."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from pydantic import Field

from cli.workspace import Workspace
from features.aggregates import Aggregate
from features.contract import Contract, Key, Money, Timestamp, arrays
from features.featureset import FeatureSet
from model import gate, store
from model.estimators import Boosted, Linear
from model.explanation import MOST, Explanation
from model.scorer import Calibration, Decision, Scorer, Scores
from training import fit
from training.dataset import Dataset, build, label_times

COLUMNS = 5
RULE = Decision(0.5, "stay", "go", {})


def trees(rows: int = 400, rounds: int = 6) -> tuple[Boosted, NDArray[np.float64]]:
    """A few deep trees with splits on whether a value is missing, and what they were fitted on."""
    random = np.random.default_rng(11)
    values = random.normal(0, 1, (rows, COLUMNS))
    values[random.random(values.shape) < 0.15] = np.nan
    label = np.nansum(values[:, :3], axis=1) * np.nan_to_num(values[:, 3], nan=2.0) > 0.3
    train = xgboost.DMatrix(values, label)
    parameters = {"max_depth": 4, "objective": "binary:logistic", "nthread": 1, "base_score": 0.3}
    return Boosted(xgboost.train(parameters, train, rounds)), values


def expected(node: Mapping[str, Any], row: NDArray[np.float64], known: frozenset[int]) -> float:
    """What a tree says of a row when only some columns are known: at a split on another one, both branches, by the
    share of training's weight that went there (Lundberg et al. 2018, algorithm 1)."""
    if "leaf" in node:
        return float(node["leaf"])
    children = {child["nodeid"]: child for child in node["children"]}
    column = int(node["split"].removeprefix("f"))
    if column in known:
        value = np.float32(row[column])
        way = "missing" if np.isnan(value) else "yes" if value < np.float32(node["split_condition"]) else "no"
        return expected(children[node[way]], row, known)
    parts = [child["cover"] * expected(child, row, known) for child in node["children"]]
    return float(sum(parts) / sum(child["cover"] for child in node["children"]))


def test_trees_contributions_are_the_shapley_values_of_every_order_of_the_columns() -> None:
    model, values = trees()
    forest = [json.loads(text) for text in model.booster.get_dump(dump_format="json", with_stats=True)]
    rows = values[:6]
    found, base = model.contributions(rows)
    everything = range(COLUMNS)
    for row, own in zip(rows, found, strict=True):
        worth = {
            known: sum(expected(tree, row, known) for tree in forest)
            for size in range(COLUMNS + 1)
            for known in map(frozenset, itertools.combinations(everything, size))
        }
        for column in everything:
            orders = [
                math.factorial(len(known)) * math.factorial(COLUMNS - len(known) - 1) * (worth[known | {column}] - one)
                for known, one in worth.items()
                if column not in known
            ]
            assert own[column] == pytest.approx(sum(orders) / math.factorial(COLUMNS), abs=2e-5)
        assert base[0] == pytest.approx(worth[frozenset()] + math.log(0.3 / 0.7), abs=2e-5)
    assert np.abs(found).max() > 0.1


def test_a_wrong_contribution_is_refused_and_never_evened_out() -> None:
    model, values = trees()
    fewer = model.booster[:3]

    class Mixed(Boosted):
        """Explains other trees than it scores with."""

        def margin(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
            return Boosted(fewer).margin(matrix)

    with pytest.raises(ArithmeticError, match=r"contributions add up to .* in row 0, and its margin is"):
        Mixed(model.booster).contributions(values)


def test_a_value_beyond_float32_is_explained_as_it_is_scored() -> None:
    model, values = trees()
    huge = values[:40].copy()
    huge[::2, 0], huge[1::2, 1] = 1e300, -1e300
    found, base = model.contributions(huge)
    np.testing.assert_allclose(base + found.sum(axis=1), model.margin(huge), atol=1e-6)


def test_what_float32_left_is_on_the_largest_contribution_alone() -> None:
    model, values = trees()
    found, base = model.contributions(values)
    own = model.booster.predict(xgboost.DMatrix(values), pred_contribs=True).astype(np.float64)
    moved = found != own[:, :-1]
    assert moved.any()
    for row in np.flatnonzero(moved.any(axis=1)):
        assert np.flatnonzero(moved[row]).tolist() == [int(np.abs(own[row, :-1]).argmax())]
    assert np.abs(found - own[:, :-1]).max() < 1e-5
    np.testing.assert_allclose(base + found.sum(axis=1), model.margin(values), atol=1e-12)


def test_a_linear_contribution_is_how_far_a_value_moves_the_margin_from_the_mean() -> None:
    model = Linear(["a", "b"], [5.0, 2.0], [4.0, 2.0], [2.0, 1.0], [3.0, -1.0], 0.5)
    found, base = model.contributions(np.array([[8.0, 2.0], [np.nan, 7.0]]))
    assert found.tolist() == [[6.0, 0.0], [1.5, -5.0]]
    assert base.tolist() == [0.5, 0.5]
    assert (base + found[:, 0] + found[:, 1]).tobytes() == model.margin(np.array([[8.0, 2.0], [np.nan, 7.0]])).tobytes()


class Order(Contract):
    """An event."""

    customer_id: Key
    ordered_at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=10**9)]


class Asked(Contract):
    """A request with a field of every kind."""

    plan: Literal["month", "One year"]
    region: Literal["north", "south"] | None
    fee: Money
    months: int | None
    rating: float | None
    premium: bool
    mail: bool | None


def ratio(paid: NDArray[Any], fee: NDArray[Any]) -> NDArray[Any]:
    """A row feature that is a number."""
    return np.asarray(paid / fee)


def recent(last_order_at: NDArray[Any]) -> NDArray[Any]:
    """A row feature that is a flag."""
    return np.asarray(last_order_at > 0)


FEATURES = FeatureSet(
    inputs=(*Asked.model_fields, "orders", "paid", "last_order_at", "ratio", "recent", "request_time"),
    events=Order,
    attributes=Asked,
    aggregates=(
        Aggregate.count("orders"),
        Aggregate.sum("paid", "paid"),
        Aggregate.max("last_order_at", "ordered_at"),
    ),
    rows=(ratio, recent),
)
NOW = 1_700_000_000_000_000


@pytest.fixture
def scored() -> tuple[Scorer, Scores]:
    """A linear model in which column i weighs i + 1; a row with everything, and one without what may be missing."""
    wide = len(FEATURES.columns)
    numbers = [0.0] * wide
    model = Linear(list(FEATURES.columns), numbers, numbers, [1.0] * wide, [i + 1.0 for i in range(wide)], 0.25)
    rows: list[Mapping[str, Any]] = [
        {"plan": "One year", "region": "south", "fee": 1177, "months": 7, "rating": 2.5, "premium": True, "mail": True},
        {"plan": "month", "region": None, "fee": 100, "months": None, "rating": None, "premium": False, "mail": None},
    ]
    events = {
        "orders": np.array([3, 0]),
        "paid": np.array([5_000, 0]),
        "last_order_at": np.array([float(NOW - 1), np.nan]),
    }
    scorer = Scorer(FEATURES, model, Calibration(1.0, 0.0), RULE)
    return scorer, scorer.score(events, arrays(Asked, rows), np.full(2, NOW))


def test_values_are_told_as_the_user_knows_them(scored: tuple[Scorer, Scores]) -> None:
    scorer, scores = scored
    told = [{one["feature"]: one["value"] for one in row["contributions"]} for row in scorer.explain(scores).top(MOST)]
    first: dict[str, Any] = {
        "plan": "One year",
        "region": "south",
        "fee": 1177,
        "months": 7,
        "rating": 2.5,
        "premium": True,
    }
    first |= {"mail": True, "orders": 3, "paid": 5_000, "last_order_at": NOW - 1, "ratio": 5_000 / 1177, "recent": True}
    second: dict[str, Any] = {
        "plan": "month",
        "region": None,
        "fee": 100,
        "months": None,
        "rating": None,
        "premium": False,
    }
    second |= {"mail": None, "orders": 0, "paid": 0, "last_order_at": None, "ratio": 0.0, "recent": False}
    for found, right in zip(told, (first, second), strict=True):
        assert found == right | {"request_time": NOW}
        for name, value in right.items():
            assert type(found[name]) is type(value), name
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_columns_of_a_category_are_one_contribution(scored: tuple[Scorer, Scores]) -> None:
    scorer, scores = scored
    explanation = scorer.explain(scores)
    assert explanation.inputs == FEATURES.inputs
    columns, _ = scorer.model.contributions(scores.matrix)
    one = FEATURES.columns.index("plan=One year")
    assert explanation.contributions[:, FEATURES.inputs.index("plan")].tolist() == [one + 1.0, one]
    assert explanation.contributions[1, FEATURES.inputs.index("region")] == 0  # missing: no column is set
    assert explanation.contributions.sum() == pytest.approx(columns.sum())


def test_the_largest_come_first_and_the_rest_is_what_the_others_add_up_to(scored: tuple[Scorer, Scores]) -> None:
    explanation = scored[0].explain(scored[1])
    everything = explanation.top(MOST)
    for k in (1, 2, 5, len(FEATURES.inputs), MOST):
        for row, told in enumerate(explanation.top(k)):
            whole = everything[row]["contributions"]
            assert told["contributions"] == whole[:k]
            assert [told["base"], told["margin"]] == [0.25, explanation.margin[row]]
            assert told["rest"] == pytest.approx(sum(one["contribution"] for one in whole[k:]), rel=1e-12)
    sizes = [abs(one["contribution"]) for one in everything[0]["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    nothing = [one["feature"] for one in everything[1]["contributions"] if one["contribution"] == 0]
    assert nothing == [name for name in FEATURES.inputs if name in nothing]  # equal ones: in order
    assert len(nothing) > 3


def test_a_contribution_that_is_no_number_is_refused_by_name() -> None:
    wide = len(FEATURES.columns)
    columns = np.zeros((2, wide))
    columns[1, 0] = np.inf
    with pytest.raises(ArithmeticError, match="'plan' contributes inf in row 1"):
        Explanation.of(FEATURES, {}, np.zeros(2), columns, np.zeros(2))


@pytest.fixture(scope="module", params=["cdnow", "telco"])
def real(request: pytest.FixtureRequest) -> tuple[Workspace, Dataset]:
    """Everyone of a real use case, at the last label time."""
    workspace: Workspace = request.getfixturevalue(request.param)
    last = label_times(workspace.usecase, workspace.events, workspace.as_of)[-1:]
    return workspace, build(workspace.usecase, workspace.events, last, workspace.as_of, workspace.cache)[0]


def scorer_of(workspace: Workspace, dataset: Dataset, algorithm: str) -> Scorer:
    """The champion, or a linear model of the same features."""
    if algorithm == Boosted.algorithm:
        return gate.load(store.path(str(workspace.champion())), workspace.usecase.features).scorer
    matrix = workspace.usecase.features.matrix(dataset.features)
    return fit.scorer(algorithm, workspace.usecase, (matrix, dataset.label), (matrix, dataset.label))


@pytest.mark.parametrize("algorithm", [Boosted.algorithm, Linear.algorithm])
def test_contributions_add_up_for_every_customer_and_are_the_rows_own(
    real: tuple[Workspace, Dataset], algorithm: str
) -> None:
    workspace, dataset = real
    scorer = scorer_of(workspace, dataset, algorithm)
    scores = dataset.inputs.score(scorer)
    whole = scorer.explain(scores)
    total = whole.base + whole.contributions.sum(axis=1)
    assert len(total) > 7_000
    assert np.abs(total - scores.margin).max() <= 1e-6
    told = whole.top(3)
    for row, one in enumerate(told):
        added = one["base"] + sum(each["contribution"] for each in one["contributions"]) + one["rest"]
        assert abs(added - scores.margin[row]) <= 1e-6
    order = np.random.default_rng(4).permutation(len(dataset))[:300]
    for size in (1, 7, 300):
        parts = [order[start : start + size] for start in range(0, 300, size)]
        again = [one for part in parts for one in scorer.explain(dataset.inputs.take(part).score(scorer)).top(3)]
        assert [repr(one) for one in again] == [repr(told[row]) for row in order]
