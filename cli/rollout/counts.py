"""What servers have counted, as their metrics tell it, and what was counted between two looks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from settings import HoldfastError

ASKED = re.compile(
    r"/v1/(predict|predict/bulk|explain|feedback)|/v2/models/.+/infer|/.+/(Predict|PredictBulk|Feedback|ModelInfer)"
)
"""Routes by which something is asked of the model, and of those the ones that are a single prediction; and of the
outcomes what is an answer and what an error of ours: as deploy/prometheus/recording.yaml has them."""
SINGLE = re.compile(r"/v1/predict|/.+/Predict")
ANSWERED = frozenset({"ok", "partial"})
OURS = frozenset({"cannot-be-scored", "overloaded", "not-ready", "not-recorded", "too-late"})

Buckets = Mapping[float, float]
"""A histogram: how many values were at most so large, by bound; infinity is one of them. Empty: nothing is known."""


class MetricsError(HoldfastError, ValueError):
    """What an address tells is no metrics of a Holdfast server."""


@dataclass(frozen=True)
class Counts:
    """What servers of one version counted.

    Attributes:
        requests: that asked something of the model, and were answered or failed by us. errors: that we failed.
        seconds: times of single predictions. scores: probabilities of single predictions.
    """

    requests: float = 0
    errors: float = 0
    seconds: Buckets = field(default_factory=dict)
    scores: Buckets = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        seconds, scores = _joined(self.seconds, other.seconds, 1), _joined(self.scores, other.scores, 1)
        return Counts(self.requests + other.requests, self.errors + other.errors, seconds, scores)

    def __sub__(self, earlier: Counts) -> Counts:
        seconds, scores = _joined(self.seconds, earlier.seconds, -1), _joined(self.scores, earlier.scores, -1)
        return Counts(self.requests - earlier.requests, self.errors - earlier.errors, seconds, scores)


@dataclass(frozen=True)
class Look:
    """One look at a server: its track (stable or canary), its model ("" if the gate refused it), whether it is ready,
    when it started (Unix seconds; NaN if it does not tell) and what it has counted since then."""

    track: str
    model: str
    ready: bool
    started: float
    counts: Counts


def read(text: str) -> Look:
    """What a server's metrics tell.

    Raises:
        MetricsError: if it is no metrics, or those of something else.
    """
    try:
        found = list(_samples(text))
    except (ValueError, KeyError, IndexError) as error:  # whatever the parser stumbles over
        raise MetricsError(f"no metrics in Prometheus' format: {error}") from None
    build = next((labels for name, labels, _ in found if name == "holdfast_build_info"), None)
    if build is None:
        raise MetricsError("no holdfast_build_info among the metrics: is it the metrics port of a Holdfast server?")
    requests = errors = 0.0
    seconds, scores = dict[float, float](), dict[float, float]()
    plain = {name: value for name, labels, value in found if not labels}
    for name, labels, value in found:
        if name == "holdfast_requests_total" and ASKED.fullmatch(labels["route"]):
            requests += value * (labels["outcome"] in ANSWERED | OURS)
            errors += value * (labels["outcome"] in OURS)
        elif name == "holdfast_request_seconds_bucket" and SINGLE.fullmatch(labels["route"]):
            bound = float(labels["le"])
            seconds[bound] = seconds.get(bound, 0) + value
        elif name == "holdfast_score_bucket" and labels["rows"] == "single":
            scores[float(labels["le"])] = value
    return Look(
        build.get("track", "stable"),
        next((labels["model"] for name, labels, _ in found if name == "holdfast_model_info"), ""),
        plain.get("holdfast_ready", 0) == 1,
        plain.get("process_start_time_seconds", math.nan),
        Counts(requests, errors, seconds, scores),
    )


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def _joined(one: Buckets, other: Buckets, sign: int) -> dict[float, float]:
    """The sum, or the difference, at the bounds that both have: versions may have other ones."""
    if not other:
        return dict(one)
    if not one:
        return {bound: sign * count for bound, count in other.items()}
    return {bound: one[bound] + sign * other[bound] for bound in sorted(one.keys() & other.keys())}
