"""The histogram of scores: what prometheus_client's own would count, one by one."""

from __future__ import annotations

import httpx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from serving import metrics
from tests.effort import examples

EDGES = [float(edge) for edge in metrics.TWENTIETHS]
probabilities = st.one_of(st.floats(0, 1), st.sampled_from([0.0, *EDGES, 1.0]))


def told(family: Metric, **labels: str) -> dict[str, float]:
    """Its buckets and its count, with those labels."""
    return {
        sample.labels.get("le", "count"): sample.value
        for sample in family.samples
        if not sample.name.endswith("_sum") and labels.items() <= sample.labels.items()
    }


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(probabilities, max_size=50), st.lists(st.lists(probabilities, max_size=50), max_size=4))
def test_it_counts_as_one_that_counts_one_by_one(alone: list[float], together: list[list[float]]) -> None:
    ours = metrics._Scores()
    theirs = Histogram("score", "The same.", ["rows"], buckets=EDGES, registry=CollectorRegistry())
    for asked in ("single", "bulk"):
        theirs.labels(asked)
    for probability in alone:
        ours.one(probability)
        theirs.labels("single").observe(probability)
    for rows in together:
        ours.many(np.array(rows, dtype=np.float64))
        for probability in rows:
            theirs.labels("bulk").observe(probability)
    (found,), (expected,) = ours.collect(), theirs.collect()
    for asked in ("single", "bulk"):
        assert told(found, rows=asked) == told(expected, rows=asked)
    sums = [sample.value for sample in found.samples if sample.name.endswith("_sum")]
    assert np.allclose(sums, [sum(alone), sum(map(sum, together))])


def test_every_answer_is_counted_once(cdnow_http: httpx.Client) -> None:
    before = counted(cdnow_http)
    for path in ("/v1/predict", "/v1/predict", "/v1/explain"):
        cdnow_http.post(path, json={"customer_id": "1"}).raise_for_status()
    rows = [{"customer_id": str(number)} for number in range(1, 8)]
    cdnow_http.post("/v1/predict/bulk", json={"rows": rows}).raise_for_status()
    after = counted(cdnow_http)
    assert {asked: after[asked] - before[asked] for asked in after} == {"single": 3, "bulk": 7}


def counted(client: httpx.Client) -> dict[str, float]:
    """Scores that were told so far."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    (family,) = (one for one in families if one.name == "holdfast_score")
    return {asked: told(family, rows=asked)["count"] for asked in ("single", "bulk")}
