"""Golden rows: raw inputs that cover what a model sees, kept exactly, and asked again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import gate, golden
from model.golden import Inputs
from model.scorer import Scorer
from tests.model.conftest import Model
from tests.model.toys import AS_OF, START, plan, pulse
from training.dataset import Dataset, build, label_times


def dataset(model: Model) -> Dataset:
    """What the model was trained on."""
    toy = model.toy
    return build(toy.usecase, toy.store, label_times(toy.usecase, toy.store, toy.as_of), toy.as_of, toy.cache)[0]


def scorer(model: Model) -> Scorer:
    """As it was stored."""
    return gate.load(model.directory, model.toy.usecase.features).scorer


def test_the_rows_cover_the_ends_of_every_input_every_level_and_missing_values(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        whole, rows = dataset(model).inputs, json.loads((model.directory / "golden.json").read_text())
        for kind, columns in (("aggregates", whole.aggregates), ("attributes", whole.attributes)):
            for name, values in columns.items():
                kept = [row[kind][name] for row in rows]
                if values.dtype.kind == "U":
                    assert set(kept) == set(values.tolist()), name
                    continue
                there = [value for value in kept if value is not None]
                assert (min(there), max(there)) == (np.nanmin(values), np.nanmax(values)), name
                assert (None in kept) == bool(np.isnan(values.astype(float)).any()), name


def test_the_rows_spread_over_the_scores(boosted: Model) -> None:
    rows = json.loads((boosted.directory / "golden.json").read_text())
    kept = [float.fromhex(row["margin"]) for row in rows]
    scores = dataset(boosted).inputs.score(scorer(boosted))
    assert (min(kept), max(kept)) == (scores.margin.min(), scores.margin.max())
    assert {row["positive"] for row in rows} == {True, False}


def test_recorded_rows_come_back_bit_for_bit(boosted: Model, linear: Model) -> None:
    for model in (boosted, linear):
        inputs = dataset(model).inputs
        scores = inputs.score(scorer(model))
        text = json.dumps(golden.record(inputs, scores), allow_nan=False)
        back = golden.restore(json.loads(text), model.toy.usecase.features)
        for name, values in {**inputs.aggregates, **inputs.attributes}.items():
            found = {**back.aggregates, **back.attributes}[name]
            assert found.dtype.kind == values.dtype.kind, name
            np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(back.request_time, inputs.request_time)
        assert golden.compare(json.loads(text), scorer(model), exact=True) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 600),
            st.sampled_from(["north", "south", "west"]),
            st.booleans(),
            st.one_of(st.floats(0, 5), st.just(math.nan)),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_attributes_survive_json(rows: list[tuple[int, str, bool, float]]) -> None:
    months, regions, premium, ratings = zip(*rows, strict=True)
    attributes = {
        "months": np.array(months, dtype=np.int64),
        "region": np.array(regions),
        "premium": np.array(premium),
        "rating": np.array(ratings),
    }
    inputs = Inputs({}, attributes, np.full(len(rows), START, dtype=np.int64))
    from model.estimators import Linear
    from model.scorer import Calibration, Decision

    own = plan().features
    width = len(own.columns)
    model = Linear(list(own.columns), [0.0] * width, [0.0] * width, [1.0] * width, [0.01] * width, 0.1)
    toy = Scorer(own, model, Calibration(1.0, 0.0), Decision(0.5, "stay", "go", {}))
    written = json.loads(json.dumps(golden.record(inputs, inputs.score(toy)), allow_nan=False))
    back = golden.restore(written, own)
    for name, values in attributes.items():
        np.testing.assert_array_equal(back.attributes[name], values)
    assert golden.compare(written, toy, exact=True) == []


def test_few_rows_are_all_kept_and_none_twice(boosted: Model) -> None:
    inputs = dataset(boosted).inputs.take(np.arange(5))
    chosen = golden.choose(inputs.score(scorer(boosted)), inputs)
    assert chosen.tolist() == [0, 1, 2, 3, 4]


def test_a_column_that_is_missing_everywhere_is_kept_as_such(linear: Model) -> None:
    inputs = dataset(linear).inputs
    blank = Inputs({}, inputs.attributes | {"rating": np.full(len(inputs), np.nan)}, inputs.request_time)
    scores = blank.score(scorer(linear))
    rows = golden.record(blank.take(golden.choose(scores, blank)), scores)
    assert {row["attributes"]["rating"] for row in rows} == {None}


@pytest.mark.parametrize("change", ["margin", "probability", "positive"])
def test_every_recorded_answer_is_compared(linear: Model, change: str) -> None:
    rows = json.loads((linear.directory / "golden.json").read_text())
    row = rows[4]
    wrong = {
        "margin": math.nextafter(float.fromhex(row["margin"]), math.inf).hex(),
        "probability": math.nextafter(float.fromhex(row["probability"]), 0).hex(),
        "positive": not row["positive"],
    }
    rows[4] = row | {change: wrong[change]}
    (said,) = golden.compare(rows, scorer(linear), exact=True)
    assert said.startswith("golden row 4: recorded probability")


def test_untimed_models_keep_no_hour_of_training(boosted: Model, linear: Model) -> None:
    assert not linear.toy.usecase.features.timed
    assert {row["request_time"] for row in json.loads((linear.directory / "golden.json").read_text())} == {0}
    assert pulse().features.timed
    times = {row["request_time"] for row in json.loads((boosted.directory / "golden.json").read_text())}
    assert len(times) > 1
    assert max(times) < AS_OF
