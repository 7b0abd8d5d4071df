"""Costs: customer by customer, threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from training.cost import cost
from usecases import Costs


def spent(costs: Costs, customers: list[tuple[bool, float]], threshold: float) -> float:
    """What a thousand such customers cost, one after the other."""
    total = 0.0
    for churns, probability in customers:
        if probability >= threshold:
            total += costs.contact
            total += costs.loss * (1 - costs.rescued) if churns else 0.0
        elif churns:
            total += costs.loss
    return 1_000 * total / len(customers)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.8, 1.0])), min_size=2, max_size=30),
    st.builds(Costs, st.floats(0, 30), st.floats(0.5, 90), st.floats(0.05, 1)),
)
@settings(max_examples=examples(30), deadline=None)
def test_every_rule_costs_what_its_customers_cost(customers: list[tuple[bool, float]], costs: Costs) -> None:
    label, probability = (np.array(column) for column in zip(*customers, strict=True))
    assume(label.any() and not label.all())
    found = cost(costs, 0.25, label, probability)
    assert found["at_threshold"] == pytest.approx(spent(costs, customers, 0.25), abs=1e-5)
    assert found["nothing"] == pytest.approx(spent(costs, customers, 2.0), abs=1e-5)
    assert found["everybody"] == pytest.approx(spent(costs, customers, -1.0), abs=1e-5)
    best = min(spent(costs, customers, threshold) for threshold in [2.0, *probability.tolist()])
    assert found["at_best"] == pytest.approx(best, abs=1e-5)
    at = 2.0 if found["best_threshold"] is None else found["best_threshold"]
    assert spent(costs, customers, at) == pytest.approx(best, abs=1e-5)
    assert found["saving"] == pytest.approx(found["nothing"] - found["at_threshold"], abs=1e-5)
    assert found["saving_against_everybody"] == pytest.approx(found["everybody"] - found["at_threshold"], abs=1e-5)
    assert found["share"] == pytest.approx(np.mean([p >= 0.25 for _, p in customers]), abs=1e-6)


def test_the_interval_of_the_saving_holds_the_truth_about_as_often_as_it_says() -> None:
    costs, held = Costs(contact=1, loss=20, rescued=0.2), 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth = random.uniform(0, 1, 500)
        found = cost(costs, costs.threshold, random.random(500) < truth, truth)
        low, high = found["saving_interval"]
        expected = 1_000 * (4 * (1 - 0.25**2) / 2 - 0.75)  # of contacting p in [.25, 1]: 4 p - 1 each
        held += low <= expected <= high
    assert held >= 50


def test_where_acting_never_pays_the_best_is_nobody() -> None:
    label, probability = np.arange(50) < 10, np.linspace(1, 0, 50)
    assert cost(Costs(contact=5, loss=10, rescued=0.4), 0.5, label, probability)["best_threshold"] is None
