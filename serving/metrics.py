"""What Prometheus reads of this process: module-level metrics whose labels all come from fixed lists.

Served at /metrics and on a port of its own. The store's gauges say NaN until it has been asked for the first time.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.errors import ERRORS

if TYPE_CHECKING:
    from serving.recorder import Recorder

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside each counter would double what is scraped

FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
REQUEST = tuple(ms / 1000 for ms in (0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500))
REQUEST += (0.75, 1, 2, 5)
"""Bounds of a request's time: closer together, so that a canary that is half as slow again can be told from it."""
TWENTIETHS = np.arange(1, 20) / 20
"""Bounds of twenty equal buckets of probabilities."""
OUTCOMES = ("ok", "partial", "cancelled", *(error.outcome() for error in ERRORS))
STAGES = ("decode", "wait", "read", "features", "compute", "explain", "record", "encode")
OTHER = "other"
"""Route of a request to a path that is not there."""

REQUESTS = Counter(
    "holdfast_requests",
    "Requests answered, by route template or gRPC method, by outcome (ok, partial, cancelled or the kind of problem) "
    "and by the model that was served.",
    ["route", "outcome", "model"],
)
CLIENTS = Counter(
    "holdfast_client_requests",
    "The same by the name of the API key; there where keys are asked for.",
    ["client", "outcome"],
)
KEYS_STALE = Gauge("holdfast_keys_stale", "1 while the file of API keys cannot be used, and the former keys hold.")
CERTIFICATE_STALE = Gauge(
    "holdfast_certificate_stale", "1 while a renewed certificate cannot be used, and the former one is shown."
)
SECONDS = Histogram("holdfast_request_seconds", "From a request's arrival to its answer.", ["route"], buckets=REQUEST)
PREDICTIONS = Counter("holdfast_predictions", "Rows answered, by decision.", ["decision"])
STAGE = Histogram(
    "holdfast_stage_seconds",
    "Time of a stage: decode (bytes to accepted rows), wait (for a batch to begin), record (the prediction log) and "
    "encode per request; read (the online store), features, compute (the model) and explain per batch.",
    ["stage"],
    buckets=FAST,
)
IN_FLIGHT = Gauge("holdfast_requests_in_flight", "Requests that came and are not answered yet.", ["protocol"])
CONNECTIONS = Gauge("holdfast_connections", "Open HTTP connections.")
CLOSED = Counter(
    "holdfast_connections_closed",
    "HTTP connections that were closed for what their clients did: malformed (no HTTP), head (too large), slow, silent "
    "(not a byte), untaken (answers), full (longest idle of too many).",
    ["reason"],
)
QUEUE = Gauge("holdfast_queue_rows", "Rows that wait for a batch.")
BATCH_ROWS = Histogram(
    "holdfast_batch_rows", "Rows scored in one go.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
)
BUILD = Gauge("holdfast_build_info", "1; what serves, as labels.", ["version", "python", "bentoml", "image", "track"])
MODEL = Gauge("holdfast_model_info", "1; the model that is served, as labels.", ["usecase", "model", "fingerprint"])
READY = Gauge("holdfast_ready", "Whether the gate let the model pass: 1 or 0.")
COLLECTIONS = Counter("holdfast_gc_pause_seconds", "Time that Python's garbage collector took.")

READ_SECONDS = Histogram(
    "holdfast_online_read_seconds",
    "Time of one read of the online store, answered or failed; reads that were skipped are not in it.",
    ["how"],  # materialized, on-read
    buckets=FAST,
)
ROWS = Counter(
    "holdfast_online_rows",
    "Rows read: known, unknown (no event of the key), degraded (answered as unknown, the store being out of reach).",
    ["outcome"],
)
FAILURES = Counter(
    "holdfast_online_failures",
    "Reads without an answer: unreachable (tried), skipped (not tried, the store being down), unusable (it lacks the "
    "rows).",
    ["reason"],
)
UP = Gauge("holdfast_online_up", "Whether the online store answered when it was last asked: 1 or 0.")
AS_OF = Gauge("holdfast_online_as_of_timestamp_seconds", "What time the materialized rows are for, when last seen.")
AGE = Gauge("holdfast_online_age_seconds", "The data's clock minus the time the materialized rows are for.")
SAMPLED_OUT = Counter(
    "holdfast_log_sampled_out", "Predictions that were answered and not recorded, their customers not being sampled."
)
OUTCOMES_TOLD = Counter(
    "holdfast_outcomes",
    "Outcomes that clients sent: accepted (they are in the log), refused (not what the contract asks for), unrecorded "
    "(the log could not take them).",
    ["kind"],
)

REFUSED = Counter(
    "holdfast_refused",
    "Rows refused for what they say, by field of the contract (`field NAME`, `field other`), and whole requests by the "
    "kind of problem.",
    ["reason"],
)


class _Scores(Collector):
    """A histogram that takes the probabilities of a request at once: one after the other would take a microsecond each.

    Requests of one row are apart: the rows of another one are of a kind, and would be taken for a shift of all scores.
    Only the loop's thread counts.
    """

    def __init__(self) -> None:
        self._counted = {asked: [0] * (len(TWENTIETHS) + 1) for asked in ("single", "bulk")}
        self._sums = dict.fromkeys(self._counted, 0.0)
        self._bounds = TWENTIETHS.tolist()

    def one(self, probability: float) -> None:
        """Count a request of one row."""
        self._counted["single"][bisect_left(self._bounds, probability)] += 1
        self._sums["single"] += probability

    def many(self, probability: np.ndarray[Any, Any]) -> None:
        """Count float64 probabilities, n."""
        found = np.bincount(np.searchsorted(TWENTIETHS, probability), minlength=len(TWENTIETHS) + 1).tolist()
        self._counted["bulk"] = [before + more for before, more in zip(self._counted["bulk"], found, strict=True)]
        self._sums["bulk"] += float(probability.sum())

    def describe(self) -> Iterator[Metric]:
        """The family without samples."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """The family."""
        family = self._family()
        for asked, counted in self._counted.items():
            told = zip([*map(str, self._bounds), "+Inf"], accumulate(counted), strict=True)
            family.add_metric([asked], list(told), self._sums[asked])
        yield family

    @staticmethod
    def _family() -> HistogramMetricFamily:
        return HistogramMetricFamily(
            "holdfast_score",
            "Probabilities answered, by requests of one row (single) and of more (bulk).",
            labels=["rows"],
        )


SCORES = _Scores()
REGISTRY.register(SCORES)

stage = {name: STAGE.labels(name).observe for name in STAGES}
"""Observers of each stage, in seconds."""
outcomes = {kind: OUTCOMES_TOLD.labels(kind).inc for kind in ("accepted", "refused", "unrecorded")}
"""Counters of outcomes, by kind."""

for outcome in ("known", "unknown", "degraded"):  # there from the start, so that the first increase is seen
    ROWS.labels(outcome)
for reason in ("unreachable", "skipped", "unusable"):
    FAILURES.labels(reason)
for reason in ("malformed", "head", "slow", "silent", "untaken", "full"):
    CLOSED.labels(reason)
for gauge in (UP, AS_OF, AGE):
    gauge.set(float("nan"))


@cache
def _requests(route: str, outcome: str, model: str) -> Counter:
    return REQUESTS.labels(route, outcome, model)


@cache
def _clients(client: str, outcome: str) -> Counter:
    return CLIENTS.labels(client, outcome)


@cache
def _seconds(route: str) -> Histogram:
    return SECONDS.labels(route)


def answered(route: str, outcome: str, model: str, seconds: float, client: str = "") -> None:
    """Count one request; `route` is a template or `OTHER` and `client` a key's name, never what a client wrote."""
    _requests(route, outcome, model).inc()
    if client:
        _clients(client, outcome).inc()
    _seconds(route).observe(seconds)


class Batches:
    """What the runner tells of its batches."""

    @staticmethod
    def batch(rows: int, seconds: float) -> None:  # noqa: ARG004  # the stages of a batch are timed apart
        """One batch was computed."""
        BATCH_ROWS.observe(rows)

    waited = staticmethod(stage["wait"])
    """How long one item waited for its batch, in seconds."""


def watch_collections() -> None:
    """Let the gauge tell the time that garbage collections take."""
    began = [0.0]

    def tell(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            began[0] = time.perf_counter()
        else:
            COLLECTIONS.inc(time.perf_counter() - began[0])

    gc.callbacks.append(tell)


class _Log(Collector):
    """What the prediction log says of itself, asked when Prometheus asks."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def collect(self) -> Iterator[Metric]:
        """The four families."""
        own = self.recorder
        yield CounterMetricFamily("holdfast_log_records", "Predictions written to the log.", value=own.written)
        dropped = CounterMetricFamily(
            "holdfast_log_dropped", "Predictions that were answered and not recorded, by reason.", labels=["reason"]
        )
        for reason, count in own.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped
        yield CounterMetricFamily(
            "holdfast_log_shipped", "Predictions that PostgreSQL has committed.", value=own.shipped
        )
        yield GaugeMetricFamily("holdfast_log_spool_bytes", "Bytes that wait to be shipped.", value=own.waiting)


def watch_log(recorder: Recorder) -> Callable[[], None]:
    """Tell of this recorder from now on, until what is returned is called."""
    told = _Log(recorder)
    REGISTRY.register(told)
    return lambda: REGISTRY.unregister(told)
