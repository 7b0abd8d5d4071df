"""What is read of a server's metrics, and the sums and differences of it."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cli.rollout.counts import ANSWERED, ASKED, OURS, SINGLE, Counts, MetricsError, read
from tests.deploy.files import RECORDED, rules
from tests.effort import examples

histograms = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(
    lambda grown: {0.1: float(grown[0]), 0.5: float(sum(grown[:2])), math.inf: float(sum(grown))}
)
counted = st.builds(
    Counts, st.integers(0, 1_000).map(float), st.integers(0, 1_000).map(float), histograms, st.just({}) | histograms
)


def page(*, errors: str = "too-late", track: str | None = "canary") -> str:
    """Metrics as a server tells them: 7 answers, 3 errors of ours, and what counts as neither."""
    registry = CollectorRegistry()
    requests = Counter("holdfast_requests", "-", ["route", "outcome", "model"], registry=registry)
    for route, outcome, times in (
        ("/v1/predict", "ok", 5),
        ("/holdfast.cdnow.v1.Predictions/Predict", "ok", 1),
        ("/v1/predict/bulk", "partial", 1),
        ("/v1/predict", errors, 3),
        ("/v1/predict", "not-what-the-contract-asks-for", 40),
        ("/readyz", "not-ready", 50),
    ):
        requests.labels(route, outcome, "cdnow:1").inc(times)
    seconds = Histogram("holdfast_request_seconds", "-", ["route"], buckets=(0.1, 1), registry=registry)
    for route in ("/v1/predict", "/holdfast.cdnow.v1.Predictions/Predict", "/v1/predict/bulk"):
        seconds.labels(route).observe(0.5)
    scores = Histogram("holdfast_score", "-", ["rows"], buckets=(0.5,), registry=registry)
    scores.labels("single").observe(0.25)
    scores.labels("bulk").observe(0.75)
    names = ["version", "track"] if track else ["version"]
    Gauge("holdfast_build_info", "-", names, registry=registry).labels(*["1", track][: len(names)]).set(1)
    Gauge("holdfast_model_info", "-", ["model"], registry=registry).labels("cdnow:1").set(1)
    Gauge("holdfast_ready", "-", registry=registry).set(1)
    Gauge("process_start_time_seconds", "-", registry=registry).set(12.5)
    return generate_latest(registry).decode()


def test_a_page_is_read() -> None:
    look = read(page())
    assert (look.track, look.model, look.ready, look.started) == ("canary", "cdnow:1", True, 12.5)
    assert look.counts == Counts(10, 3, {0.1: 0, 1.0: 2, math.inf: 2}, {0.5: 1, math.inf: 1})
    assert read(page(track=None)).track == "stable"
    assert read(page(errors="cancelled")).counts.requests == 7


@pytest.mark.parametrize("text", ["<html>", "up 1\n", "", 'a{b="c} 1\n'])
def test_what_is_no_page_of_a_server_is_told(text: str) -> None:
    with pytest.raises(MetricsError):
        read(text)


def test_routes_and_outcomes_are_those_of_the_objectives() -> None:
    assert ASKED.pattern in RECORDED["job_outcome:holdfast_requests:rate5m"]["expr"]
    expressions = "\n".join(rule["expr"] for rule in rules("recording"))
    assert f'route=~"{SINGLE.pattern}"' in expressions
    told = {frozenset(one.split("|")) for one in re.findall(r'outcome=~"([^"]+)"', expressions)}
    assert told == {OURS, OURS | ANSWERED}


@settings(max_examples=examples(100), deadline=None)
@given(counted, counted)
def test_what_is_added_can_be_taken_away(one: Counts, other: Counts) -> None:
    back = (one + other) - other
    assert (back.requests, back.errors, back.seconds) == (one.requests, one.errors, one.seconds)
    assert one + Counts() == one
    assert one + other == other + one


def test_versions_with_other_bounds_are_added_where_both_have_one() -> None:
    coarse, fine = Counts(seconds={0.1: 1, math.inf: 2}), Counts(seconds={0.05: 1, 0.1: 3, math.inf: 4})
    assert (coarse + fine).seconds == {0.1: 4, math.inf: 6}
