"""The card: what a model is, for people; equal models have equal cards."""

from __future__ import annotations

import pytest

from model import store
from tests.training.conftest import Ready


@pytest.fixture(scope="module")
def cards(pulse_ready: Ready, plan_ready: Ready) -> dict[str, str]:
    """Of both toys."""
    tags = {"pulse": pulse_ready.toy.train().manifest.tag, "plan": plan_ready.toy.train("logistic").manifest.tag}
    return {name: (store.path(tag) / "card.md").read_text() for name, tag in tags.items()}


def test_it_names_the_model_its_data_its_metrics_its_rule_and_its_inputs(
    cards: dict[str, str], pulse_ready: Ready
) -> None:
    card, manifest = cards["pulse"], pulse_ready.toy.train().manifest
    assert card.startswith("# pulse: Pulse: no visit in the next 30 days\n")
    assert f"`{manifest.fingerprint[:16]}`" in card
    assert "| train | 2020-03-09T00:00:00Z to 2020-05-08T00:00:00Z | 507 |" in card
    assert f"| ROC-AUC | {manifest.metrics['model']['roc_auc']:.4f} |" in card
    assert "`churn` where the probability is at least 0.2500, else `stay`" in card
    assert "contact 1, loss 20, rescued 0.2" in card
    for name in manifest.inputs:
        assert f"- `{name}`: " in card


def test_it_says_how_each_input_is_made(cards: dict[str, str]) -> None:
    assert "- `visits`: count over all of the past" in cards["pulse"]
    assert "- `phone_visits_60d`: count over 60 days, where device = 'phone'" in cards["pulse"]
    assert "- `most_pages`: max of pages over 90 days" in cards["pulse"]
    assert "- `mean_paid`: Mean cents per visit; 0 without visits." in cards["pulse"]
    assert "- `premium`: carried by the request" in cards["plan"]


def test_it_holds_no_time_of_training_and_no_version(cards: dict[str, str], pulse_ready: Ready) -> None:
    manifest = pulse_ready.toy.train().manifest
    assert manifest.version not in cards["pulse"]
    assert manifest.created_at[:10] not in cards["pulse"]
    assert "| train | - |" in cards["plan"]
