"""Slices: every example in one part of each, and a part is named when it is worse, not when it is harder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.effort import examples
from tests.model.toys import plan
from training import metrics
from training.slices import Part, measured, parts
from usecases import Slice

N = 3_000


def groups(count: int) -> list[Part]:
    """Equal parts of N examples."""
    return [Part("group", str(number), np.arange(N) % count == number) for number in range(count)]


def right(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """N outcomes, and their true probabilities."""
    random = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-random.normal(-1, 1.3, N)))
    return random.random(N) < truth, truth


def test_parts_of_a_slice_hold_every_example_once() -> None:
    random = np.random.default_rng(0)
    rating = np.where(random.random(N) < 0.2, np.nan, random.uniform(0, 5, N))
    values = {
        "region": np.array(["north", "south", "west", ""])[random.integers(0, 4, N)],
        "premium": random.random(N) < 0.5,
        "rating": np.where(np.arange(N) == 5, 2.0, rating),
        "months": random.integers(0, 11, N),
    }
    slices = (Slice("region"), Slice("premium"), Slice("rating", (2, 4.5)), Slice("months", (12,)))
    found = list(parts(slices, plan().features, values))
    for one in slices:
        assert (np.sum([part.rows for part in found if part.feature == one.feature], axis=0) == 1).all()
    named = {(part.feature, part.part): part.rows for part in found}
    assert list(named) == [
        *(("region", level) for level in ("north", "south", "west", "missing")),
        *(("premium", level) for level in ("yes", "no")),
        *(("rating", level) for level in ("< 2", "2 to < 4.5", ">= 4.5", "missing")),
        ("months", "< 12"),
    ]
    assert named["rating", "2 to < 4.5"][5]
    assert (values["rating"][named["rating", "2 to < 4.5"]] < 4.5).all()
    assert (np.isnan(values["rating"]) == named["rating", "missing"]).all()


def test_a_part_has_its_own_figures() -> None:
    label, probability = right(1)
    for part, one in zip(groups(3), measured(groups(3), label, probability), strict=True):
        own = metrics.measure(label[part.rows], probability[part.rows])
        assert one["n"] == 1_000
        assert one["share"] == pytest.approx(label[part.rows].mean(), abs=1e-6)
        for name in ("roc_auc", "log_loss", "ece"):
            low, high = one[name]["interval"]
            assert one[name]["value"] == own[name]
            assert low < high
            assert low <= own[name] + 0.02
        assert one["roc_auc"]["interval"][0] < own["roc_auc"] < one["roc_auc"]["interval"][1]
        assert one["reason"] is None
    json.dumps(measured(groups(3), label, probability), allow_nan=False)


def test_a_part_that_is_too_small_says_why() -> None:
    label, probability = right(2)
    few = Part("group", "few", np.arange(N) < 150)
    same = Part("group", "same", np.cumsum(~label) * ~label > 0)
    one, other = measured([few, same], label, probability)
    assert one["reason"] == "fewer than 200 examples"
    assert "0 of" in other["reason"]
    assert one["roc_auc"] is other["ece"] is None
    assert other["share"] == 0
    assert one["worse"] == other["worse"] == []


def test_parts_that_are_harder_to_rank_are_not_called_worse() -> None:
    label, probability = right(3)
    order = np.argsort(np.argsort(probability))
    found = measured([Part("p", str(n), order // (N // 4) == n) for n in range(4)], label, probability)
    whole = metrics.measure(label, probability)["roc_auc"]
    assert all(one["roc_auc"] is None or one["roc_auc"]["value"] < whole - 0.1 for one in found)
    assert [one["worse"] for one in found] == [[]] * 4


def test_where_all_parts_are_alike_hardly_one_is_named() -> None:
    runs = examples(30)
    named = sum(any(one["worse"] for one in measured(groups(6), *right(seed))) for seed in range(runs))
    assert named <= runs // 6 + 2  # LEVEL is one in twenty


def test_a_part_whose_level_is_off_is_named_and_no_other() -> None:
    label, probability = right(4)
    off = groups(6)[2].rows
    probability = np.where(off, probability / 2, probability)
    assert [one["worse"] for one in measured(groups(6), label, probability)] == [[], [], ["level"], [], [], []]


def test_a_part_whose_ranking_is_off_is_named_and_no_other() -> None:
    label, probability = right(5)
    off = np.flatnonzero(groups(6)[4].rows)
    probability[off] = probability[np.random.default_rng(0).permutation(off)]
    assert [one["worse"] for one in measured(groups(6), label, probability)] == [[], [], [], [], ["ranking"], []]
