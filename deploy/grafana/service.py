"""Whether predictions are answered, how fast, and what they stand on."""

from __future__ import annotations

from deploy.grafana.panel import (
    ASKED,
    GREEN,
    NAMESPACE,
    RED,
    SHARE,
    YELLOW,
    Panel,
    by,
    dashboard,
    quantiles,
    rate,
    stat,
    variable,
)

USECASE = variable("usecase", 'holdfast_model_info{namespace=~"$namespace"}', "Use case")
JOB = variable("job", 'holdfast_model_info{namespace=~"$namespace", usecase=~"$usecase"}', "Service")
SINGLE = ', route=~"/v1/predict|/.+/Predict"'
SERVED = 'job:holdfast_slo_{}{{namespace=~"$namespace", job=~"$job", slo="{}"}}'


def burning(slo: str) -> tuple[tuple[str, str], ...]:
    """Burn rates over four windows, of the service that is worst off."""
    return tuple((f"max({SERVED.format(f'burn:ratio_rate{w}', slo)})", w) for w in ("5m", "1h", "6h", "3d"))


SERVICE = dashboard(
    "service",
    "Whether predictions are answered, how fast, and what they stand on.",
    {
        "Is it up?": (
            stat(
                "Servers ready",
                "Whose model the gate let pass.",
                "none",
                f"sum(holdfast_ready{{{ASKED}}})",
                (0, RED),
                (1, GREEN),
            ),
            stat("Servers refused", "Whose model it did not.", "none", f"sum(1 - holdfast_ready{{{ASKED}}})", (1, RED)),
            stat(
                "Answered",
                "Of what could be answered, in an hour.",
                "percentunit",
                f"1 - sum(avg_over_time({SERVED.format('bad:rate5m', 'errors')}[1h]))"
                f" / sum(avg_over_time({SERVED.format('events:rate5m', 'errors')}[1h]))",
                (0, RED),
                (0.99, YELLOW),
                (0.999, GREEN),
            ),
            stat(
                "Within 100 ms",
                "Of the single predictions, in an hour.",
                "percentunit",
                f"1 - sum(avg_over_time({SERVED.format('bad:rate5m', 'latency')}[1h]))"
                f" / sum(avg_over_time({SERVED.format('events:rate5m', 'latency')}[1h]))",
                (0, RED),
                (0.95, YELLOW),
                (0.99, GREEN),
            ),
            stat(
                "Online store",
                "Servers that it answers.",
                "percentunit",
                f"avg(holdfast_online_up{{{ASKED}}} >= 0)",
                (0, RED),
                (0.99, GREEN),
            ),
            stat(
                "Alarms",
                "Alerts that are firing.",
                "none",
                'count(ALERTS{alertname=~"Holdfast.*", alertstate="firing", namespace=~"$namespace"}) or vector(0)',
                (1, RED),
            ),
        ),
        "Does it answer?": (
            by(
                "Requests by outcome",
                "All of them, also what clients did wrong.",
                "reqps",
                rate("holdfast_requests_total", "outcome"),
                "outcome",
            ),
            Panel(
                "Burn rate of errors",
                "1 spends a month's budget in a month; a page from 14.4 on.",
                "none",
                burning("errors"),
                ((1, YELLOW), (14.4, RED)),
            ),
            by(
                "Requests by route",
                "Templates; `other` are paths that are not there.",
                "reqps",
                rate("holdfast_requests_total", "route"),
                "route",
            ),
            by(
                "Requests refused by reason",
                "What clients send that the contract does not take.",
                "reqps",
                rate("holdfast_refused_total", "reason"),
                "reason",
            ),
            by(
                "Requests by client",
                "Names of API keys, where they are asked for.",
                "reqps",
                rate("holdfast_client_requests_total", "client"),
                "client",
            ),
            by(
                "Connections closed by reason",
                "For what their clients did.",
                "cps",
                rate("holdfast_connections_closed_total", "reason"),
                "reason",
            ),
        ),
        "Is it fast?": (
            Panel(
                "Time to answer one prediction",
                "From arrival to answer.",
                "s",
                quantiles("holdfast_request_seconds", SINGLE),
                ((0.1, RED),),
            ),
            Panel(
                "Burn rate of slow answers",
                "Of single predictions that take longer than 100 ms.",
                "none",
                burning("latency"),
                ((1, YELLOW), (14.4, RED)),
            ),
            by(
                "Time of stages, p99",
                "Per request: decode, wait, record, encode; per batch: the others.",
                "s",
                f"histogram_quantile(0.99, sum by (le, stage) (rate(holdfast_stage_seconds_bucket{{{ASKED}}}"
                "[$__rate_interval])))",
                "stage",
            ),
        ),
        "What does it stand on?": (
            Panel(
                "Time of reads of the online store",
                "Answered or failed.",
                "s",
                quantiles("holdfast_online_read_seconds"),
            ),
            by(
                "Reads that failed",
                "skipped: not tried, the store being down.",
                "reqps",
                rate("holdfast_online_failures_total", "reason"),
                "reason",
            ),
            by(
                "Rows read",
                "degraded: answered as for an unknown customer.",
                "rowsps",
                rate("holdfast_online_rows_total", "outcome"),
                "outcome",
            ),
            by(
                "Age of the online rows",
                "The data's clock minus the time they are for.",
                "s",
                f"max by (job) (holdfast_online_age_seconds{{{ASKED}}} >= 0)",
                "job",
                (36 * 3600, RED),
            ),
            by(
                "Failed and degraded",
                "Shares of the reads and of the rows.",
                "percentunit",
                f"max by (job) (job:holdfast_online_failures:ratio_rate5m{{{ASKED}}}"
                f" or job:holdfast_online_degraded:ratio_rate5m{{{ASKED}}})",
                "job",
                (0.01, RED),
                **SHARE,
            ),
        ),
        "Is there room?": (
            by(
                "Work that waits",
                "Seconds of it in front of the model.",
                "s",
                f"instance:holdfast_queue_wait:seconds{{{ASKED}}}",
                "instance",
                (0.5, RED),
            ),
            by(
                "CPU of the limit",
                "Beyond it the kernel makes it wait.",
                "percentunit",
                f"instance:holdfast_cpu_limit:ratio_rate5m{{{ASKED}}}",
                "pod",
                (0.9, RED),
                **SHARE,
            ),
            by(
                "Memory of the limit",
                "At 100 % the kernel kills it.",
                "percentunit",
                f"instance:holdfast_memory_limit:ratio{{{ASKED}}}",
                "pod",
                (0.9, RED),
                **SHARE,
            ),
            by("CPU", "Cores.", "none", f"rate(process_cpu_seconds_total{{{ASKED}}}[$__rate_interval])", "instance"),
            by("Memory", "Resident.", "bytes", f"process_resident_memory_bytes{{{ASKED}}}", "instance"),
            by(
                "Open files of those allowed",
                "Connections are files.",
                "percentunit",
                f"instance:holdfast_files:ratio{{{ASKED}}}",
                "instance",
                (0.8, RED),
                **SHARE,
            ),
            by(
                "Requests in flight",
                "That came and are not answered yet.",
                "none",
                f"sum by (protocol) (holdfast_requests_in_flight{{{ASKED}}})",
                "protocol",
            ),
            Panel("Rows of a batch", "Scored in one go.", "none", quantiles("holdfast_batch_rows")),
            by(
                "Garbage collection",
                "Share of the time.",
                "percentunit",
                f"rate(holdfast_gc_pause_seconds_total{{{ASKED}}}[$__rate_interval])",
                "instance",
            ),
        ),
        "Is what it answers recorded?": (
            by("Predictions recorded", "Into the log.", "rowsps", rate("holdfast_log_records_total", "job"), "job"),
            by(
                "Predictions not recorded",
                "By reason; none is right.",
                "rowsps",
                rate("holdfast_log_dropped_total", "reason"),
                "reason",
            ),
            by(
                "Bytes that wait for PostgreSQL",
                "Beyond HOLDFAST_PREDICTIONS_SPOOL_MB records are dropped.",
                "bytes",
                f"sum by (job) (holdfast_log_spool_bytes{{{ASKED}}})",
                "job",
            ),
        ),
    },
    [NAMESPACE, USECASE, JOB],
)
