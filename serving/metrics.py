"""What Prometheus reads of this process: module-level metrics whose labels all come from fixed lists.

Served at /metrics. The store's gauges say NaN until it has been asked for the first time.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

READ_SECONDS = Histogram(
    "holdfast_online_read_seconds",
    "Time of one read of the online store, answered or failed; reads that were skipped are not in it.",
    ["how"],  # materialized, on-read
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
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

for outcome in ("known", "unknown", "degraded"):  # there from the start, so that the first increase is seen
    ROWS.labels(outcome)
for reason in ("unreachable", "skipped", "unusable"):
    FAILURES.labels(reason)
for gauge in (UP, AS_OF, AGE):
    gauge.set(float("nan"))
