"""Folds: the test part stays out, no window or key is on both sides, and what chooses does not measure."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from features.clock import DAY, rfc3339
from tests.effort import examples as tried
from tests.model.toys import START, plan, pulse
from tests.training.conftest import Ready
from tests.training.test_evaluate import many
from tests.training.test_split import examples
from training import fit
from training.dataset import LabelError, LeakageError
from training.folds import MOST, Judge, folds
from training.split import Split, split
from usecases import Absence


def known(parts: Split, name: str) -> NDArray[Any]:
    """Keys, times or labels of train and valid, as folds count them."""
    return np.concatenate([getattr(parts.train, name), getattr(parts.valid, name)])


@settings(max_examples=tried(60))
@given(st.lists(st.integers(0, 400), min_size=3, max_size=20, unique=True).map(sorted), st.integers(1, 120))
def test_folds_of_label_times_look_back_only_and_never_at_the_test_part(days: list[int], horizon: int) -> None:
    usecase = pulse(label=Absence(horizon=horizon * DAY, every=DAY, first=DAY))
    try:
        parts = split(usecase, examples(days, 12))
    except LeakageError:
        return
    t, key = known(parts, "t"), known(parts, "key")
    found = folds(usecase, parts)
    assert 1 <= len(found) <= MOST
    starts = []
    for fold in found:
        measured = np.concatenate(fold.halves)
        (start,) = set(t[measured].tolist())
        assert fold.about == rfc3339(start)
        assert t[fold.fitted].max() + horizon * DAY <= start
        assert set(fold.fitted.tolist()) == set(np.flatnonzero(t + horizon * DAY <= start).tolist())
        assert sorted(measured.tolist()) == np.flatnonzero(t == start).tolist()
        assert not set(key[fold.halves[0]]) & set(key[fold.halves[1]])
        assert start + horizon * DAY <= parts.test.t.min()
        starts.append(start)
    assert all(later - earlier >= horizon * DAY for later, earlier in pairwise(starts))
    assert starts[0] == parts.valid.t.max()


def test_few_label_times_leave_few_folds() -> None:
    usecase = pulse(label=Absence(horizon=30 * DAY, every=DAY, first=DAY))
    assert len(folds(usecase, split(usecase, examples([0, 40, 80], 12)))) == 1
    assert len(folds(usecase, split(usecase, examples([0, 40, 80, 120], 12)))) == 2


def test_without_label_times_each_key_is_fitted_on_or_measured_on(plan_ready: Ready) -> None:
    parts = split(plan(), plan_ready.dataset)
    key = known(parts, "key")
    found = folds(plan(), parts)
    for fold in found:
        one, other, fitted = (set(key[rows]) for rows in (*fold.halves, fold.fitted))
        assert not (one | other) & fitted
        assert not one & other
        assert one | other | fitted == set(key)
        assert min(len(one), len(other)) > 50
    measured = np.concatenate([rows for fold in found for rows in fold.halves])
    assert sorted(measured.tolist()) == list(range(len(key)))
    assert not set(key) & set(parts.test.key)


def test_a_fold_without_both_outcomes_is_left_out_and_none_is_an_error() -> None:
    usecase = pulse(label=Absence(horizon=30 * DAY, every=DAY, first=DAY))
    parts = split(usecase, examples([0, 40, 80, 120], 12))
    none_left = parts.train.t == START + 40 * DAY  # at the second time everyone has left
    train = replace(parts.train, label=parts.train.label | none_left)
    assert [fold.about for fold in folds(usecase, Split(train, parts.valid, parts.test))] == [rfc3339(START + 80 * DAY)]
    gone = replace(parts.valid, label=np.ones_like(parts.valid.label))
    with pytest.raises(LabelError, match="too few for a fold with both outcomes"):
        folds(usecase, Split(train, gone, parts.test))


def test_losses_are_those_of_probabilities_that_the_other_half_calibrated(plan_ready: Ready) -> None:
    usecase, parts = plan(), split(plan(), plan_ready.dataset)
    judge = Judge(usecase, parts, "logistic")
    matrix = np.concatenate([usecase.features.matrix(part.features) for part in (parts.train, parts.valid)])
    label = known(parts, "label")
    for number, fold in enumerate(folds(usecase, parts)):
        model = fit.logistic(usecase.features, matrix[fold.fitted], label[fold.fitted], 0.7)
        total, rows = 0.0, 0
        for own, others in (fold.halves, fold.halves[::-1]):
            platt = LogisticRegression(C=1e6).fit(model.margin(matrix[own])[:, None], label[own])
            p = platt.predict_proba(model.margin(matrix[others])[:, None])[:, 1]
            total, rows = total + log_loss(label[others], p, normalize=False), rows + len(others)
        losses = judge.losses({"C": 0.7}, number)
        assert len(losses) == rows
        assert losses.mean() == pytest.approx(total / rows, rel=1e-9)


def test_trees_gain_nothing_from_choosing_how_many_of_them_are_used() -> None:
    parts = split(plan(), many(3_000, seed=11))  # noise: the best there is is the share of those who left
    judge = Judge(plan(), parts, "xgboost")
    wild = {**fit.PARAMETERS, "max_depth": 7, "min_child_weight": 1, "reg_lambda": 0.1, "eta": 0.2}
    share = float(known(parts, "label").mean())
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert np.mean([judge.losses(wild, number).mean() for number in range(MOST)]) > entropy - 0.001
    gain, error = judge.better(fit.PARAMETERS, wild)
    assert error > 0
    assert np.allclose(judge.better(wild, fit.PARAMETERS), (-gain, error))
    assert gain == pytest.approx(
        np.mean([(judge.losses(wild, n).mean() - judge.losses(fit.PARAMETERS, n).mean()) for n in range(MOST)])
    )
