"""Splits: no label window of one part reaches into another, and a key keeps its side for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import clock
from features.clock import DAY
from model.golden import Inputs
from tests.model.toys import START, plan, pulse
from tests.training.conftest import Ready
from training.dataset import Dataset, LabelError, LeakageError
from training.split import bucket, folds, split
from usecases import Absence


def examples(days: list[int], per_time: int = 4) -> Dataset:
    """`per_time` customers at each day, half of them gone."""
    t = np.repeat(np.array([START + day * DAY for day in days], dtype=np.int64), per_time)
    key = np.array([f"c{number % per_time}" for number in range(len(t))])
    label = np.arange(len(t)) % 2 == 0
    return Dataset(key, t, label, Inputs({}, {}, t), {}, "content")


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=20, unique=True).map(sorted),
    st.integers(1, 120),
)
def test_label_windows_of_the_parts_do_not_overlap(days: list[int], horizon: int) -> None:
    usecase = pulse(label=Absence(horizon=horizon * DAY, every=DAY, first=DAY))
    whole = examples(days)
    possible = any(c - b >= horizon and b - a >= horizon for c in days[-1:] for b in days for a in days if a < b < c)
    if not possible:
        with pytest.raises(LeakageError) as caught:
            split(usecase, whole)
        assert clock.rfc3339(START + days[0] * DAY) in str(caught.value)
        assert "longer history" in str(caught.value)
        return
    parts = split(usecase, whole)
    windows = [(int(p.t.min()), int(p.t.max()) + horizon * DAY) for p in (parts.train, parts.valid, parts.test)]
    assert windows[0][1] <= windows[1][0]
    assert windows[1][1] <= windows[2][0]
    assert set(parts.test.t.tolist()) == {START + days[-1] * DAY}
    assert len(set(parts.valid.t.tolist())) == 1


def test_a_trained_split_follows_its_label_times(pulse_ready: Ready) -> None:
    parts = split(pulse_ready.toy.usecase, pulse_ready.dataset)
    times = [sorted(set(part.t.tolist())) for part in (parts.train, parts.valid, parts.test)]
    assert pulse_ready.times[5] - pulse_ready.times[4] < 30 * DAY  # so that one is in none
    assert times == [pulse_ready.times[:3], pulse_ready.times[3:4], pulse_ready.times[5:]]
    for part in parts.parts().values():
        assert len(part.features["paid"]) == len(part.inputs) == len(part.key) == len(part)


def test_without_label_times_each_key_is_in_one_part(plan_ready: Ready) -> None:
    parts = split(plan_ready.toy.usecase, plan_ready.dataset)
    sides = {name: set(part.key.tolist()) for name, part in parts.parts().items()}
    assert sides["train"] | sides["valid"] | sides["test"] == set(plan_ready.dataset.key.tolist())
    assert sum(map(len, sides.values())) == len(plan_ready.dataset)
    shares = {name: len(keys) / len(plan_ready.dataset) for name, keys in sides.items()}
    assert shares == {
        "train": pytest.approx(0.6, abs=0.07),
        "valid": pytest.approx(0.2, abs=0.07),
        "test": pytest.approx(0.2, abs=0.07),
    }


def test_a_key_never_changes_sides_when_others_come(plan_ready: Ready) -> None:
    whole = plan_ready.dataset
    before = split(plan(), whole.take(np.arange(300)))
    after = split(plan(), whole)
    for name, part in before.parts().items():
        assert set(part.key.tolist()) <= set(after.parts()[name].key.tolist())


def test_buckets_are_the_same_on_every_machine() -> None:
    keys = np.array(["1", "2", "customer-17", "ä", ""])
    assert bucket(keys, 5).tolist() == [3, 1, 3, 2, 2]  # sha256sum of each, its first 8 bytes, modulo 5
    assert bucket(keys[::-1], 5).tolist() == [2, 2, 3, 1, 3]
    assert bucket(keys.astype("U40"), 5).tolist() == [3, 1, 3, 2, 2]


def test_buckets_are_even() -> None:
    counts = np.bincount(bucket(np.array([str(number) for number in range(10_000)]), 5))
    assert (abs(counts - 2_000) < 200).all()


@given(st.integers(20, 80), st.integers(0, 2**32 - 1))
def test_folds_test_each_key_once_per_repeat_and_never_on_its_own_training(keys: int, seed: int) -> None:
    key = np.array([f"c{number}" for number in range(keys)])
    label = np.random.default_rng(seed).permutation(keys) < keys // 2
    tested: list[list[str]] = [[], []]
    for number, (train, test) in enumerate(folds(key, label, 5, 2)):
        assert not set(key[train]) & set(key[test])
        assert len(train) + len(test) == keys
        tested[number // 5] += key[test].tolist()
    assert [sorted(repeat) for repeat in tested] == [sorted(key.tolist())] * 2


@pytest.mark.parametrize(("gone", "said"), [([True] * 12, "4 are positive"), ([False] * 12, "0 are positive")])
def test_a_part_with_one_outcome_is_an_error_that_names_it(gone: list[bool], said: str) -> None:
    whole = examples([0, 100, 200])
    usecase = pulse(label=Absence(horizon=30 * DAY, every=DAY, first=DAY))
    for part, rows in (("train", slice(0, 4)), ("valid", slice(4, 8)), ("test", slice(8, 12))):
        label = whole.label.copy()
        label[rows] = gone[rows]
        one = Dataset(whole.key, whole.t, label, whole.inputs, {}, "content")
        with pytest.raises(LabelError, match=f"the {part} part has 4 examples, of which {said}"):
            split(usecase, one)


def test_too_few_keys_for_three_parts_is_an_error(plan_ready: Ready) -> None:
    with pytest.raises(LabelError, match="has 0 examples"):
        split(plan(), plan_ready.dataset.take(np.arange(1)))
