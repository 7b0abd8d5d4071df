"""Curves: every point is what counting at its threshold gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score

from training.curves import curve, histogram

rows = st.lists(
    st.tuples(st.booleans(), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))), min_size=2, max_size=250
).filter(lambda found: len({label for label, _ in found}) == 2)


@given(rows)
def test_every_point_is_a_count_at_its_threshold(given: list[tuple[bool, float]]) -> None:
    label, probability = (np.array(column) for column in zip(*given, strict=True))
    found = curve(label, probability)
    points = list(zip(*(found[name] for name in ("share", "recall", "fallout", "precision")), strict=True))
    assert len(points) <= 101
    assert points[0][:3] == (0, 0, 0)
    assert points[-1][:3] == (1, 1, 1)
    assert points == sorted(points, key=lambda point: point[0])
    possible = set()
    for threshold in sorted(set(probability.tolist())):
        inside = [one for one, p in given if p >= threshold]
        outside = len(given) - len(inside)
        right = sum(inside)
        possible.add(
            (
                round(1 - outside / len(given), 5),
                round(right / label.sum(), 5),
                round((len(inside) - right) / (~label).sum(), 5),
                round(right / len(inside), 5),
            )
        )
    near = [min(np.abs(np.subtract(point, one)).max() for one in possible) for point in points[1:]]
    assert max(near) < 2e-5


def test_a_hundred_points_are_enough_for_the_area() -> None:
    random = np.random.default_rng(1)
    truth = random.uniform(0, 1, 20_000)
    label = random.random(20_000) < truth
    found = curve(label, truth)
    assert len(found["share"]) == 101
    assert auc(found["fallout"], found["recall"]) == pytest.approx(roc_auc_score(label, truth), abs=2e-4)


@given(rows)
def test_a_histogram_counts_everyone_by_outcome(given: list[tuple[bool, float]]) -> None:
    label, probability = (np.array(column) for column in zip(*given, strict=True))
    found = histogram(label, probability)
    assert [sum(found["negative"]), sum(found["positive"])] == [int((~label).sum()), int(label.sum())]
    high = [p for one, p in given if one and p >= 0.95]
    assert found["positive"][-1] == len(high)
    assert len(found["negative"]) == len(found["positive"]) == 20
