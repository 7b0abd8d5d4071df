"""The dashboards, told in Python: `python -m deploy.grafana.dashboards` writes the JSON files of this directory anew.

A row is a question, its panels are the answer. Their uids do not change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.grafana.panel import (
    ASKED,
    GREEN,
    RED,
    WATCHED,
    YELLOW,
    Panel,
    by,
    dashboard,
    quantiles,
    rate,
    stat,
    variable,
)

NAMESPACE = variable("namespace", "holdfast_ready", "Namespace")
USECASE = variable("usecase", 'holdfast_model_info{namespace=~"$namespace"}', "Use case")
JOB = variable("job", 'holdfast_model_info{namespace=~"$namespace", usecase=~"$usecase"}', "Service")
MODEL = variable("model", 'holdfast_monitor_window_rows{namespace=~"$namespace"}', "Model")
SINGLE = ', route=~"/v1/predict|/.+/Predict"'
SHARE: dict[str, Any] = {"axis": (0, 1)}
SERVED = 'job:holdfast_slo_{}{{namespace=~"$namespace", job=~"$job", slo="{}"}}'

FIGURES = (
    ("ROC-AUC", "roc_auc", "How well scores rank.", "none", (None, 1)),
    ("Log loss", "log_loss", "How far probabilities are off; 0 is best.", "none", (0, None)),
    ("Brier score", "brier", "Likewise, squared.", "none", (0, None)),
    ("Calibration error", "ece", "Between what was said and what came.", "percentunit", (0, None)),
    ("Rate of the outcome", "rate", "Of those whose outcome is known.", "percentunit", (0, 1)),
)
"""What outcomes tell: title, metric, what it is, unit, axis."""


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

MODELS = dashboard(
    "model",
    "What serves, what it answers, and whether that is right.",
    {
        "What serves?": (
            by(
                "Servers by model",
                "Two models at once: a rollout is under way.",
                "none",
                'count by (model) (holdfast_model_info{namespace=~"$namespace"} == 1)',
                "model",
            ),
            Panel(
                "Models",
                "Of each server, with the fingerprint of its features.",
                "none",
                (('holdfast_model_info{namespace=~"$namespace"}', ""),),
                kind="table",
            ),
            Panel(
                "Code", "Of each server.", "none", (('holdfast_build_info{namespace=~"$namespace"}', ""),), kind="table"
            ),
        ),
        "What does it answer?": (
            by(
                "Requests by model",
                "Answered or not.",
                "reqps",
                rate("holdfast_requests_total", "model", WATCHED),
                "model",
            ),
            by(
                "Decisions",
                "Share of the rows answered.",
                "percentunit",
                'sum by (decision) (rate(holdfast_predictions_total{namespace=~"$namespace"}[$__rate_interval]))'
                " / ignoring (decision) group_left () "
                'sum(rate(holdfast_predictions_total{namespace=~"$namespace"}[$__rate_interval]))',
                "decision",
                **SHARE,
            ),
            by(
                "Scores and decisions against their reference",
                "Effect in the newest closed window.",
                "none",
                f'holdfast_monitor_effect{{{WATCHED}, column=~"score|decision"}}',
                "column",
            ),
        ),
        "Is it right?": (
            *(
                Panel(
                    title,
                    f"{about} What outcomes tell, with its 95 % interval, and what scores alone promised.",
                    unit,
                    (
                        (f'holdfast_monitor_performance{{{WATCHED}, metric="{metric}"}}', "{{model}} {{bound}}"),
                        *(
                            ((f'holdfast_monitor_expected{{{WATCHED}, metric="{metric}"}}', "{{model}} expected"),)
                            if metric != "ece"  # scores are calibrated by their own measure
                            else ()
                        ),
                    ),
                    axis=axis,
                )
                for title, metric, about, unit, axis in FIGURES
            ),
            by(
                "Outcomes",
                "matched to a prediction, or not.",
                "none",
                'sum by (kind) (increase(holdfast_monitor_outcomes_total{namespace=~"$namespace", '
                'kind=~"matched|unmatched"}[1d]))',
                "kind",
            ),
        ),
        "Does every road give the same?": (
            by(
                "Skew",
                "Share of logged answers whose feature is another one when computed again; must be 0.",
                "percentunit",
                f"holdfast_feature_skew_ratio{{{WATCHED}}} > 0",
                "feature",
                (0, RED),
            ),
            by(
                "Answers computed again",
                "In the last hours.",
                "none",
                f"holdfast_skew_checked_rows{{{WATCHED}}}",
                "model",
            ),
        ),
    },
    [NAMESPACE, MODEL],
)

MONITORING = dashboard(
    "monitoring",
    "Whether those who ask are still those whom the model knows, and whether anybody looks.",
    {
        "Is there an alarm?": (
            Panel(
                "Alarms",
                "Of the newest closed window, by track.",
                "none",
                ((f"max by (model, track) (holdfast_monitor_alarm{{{WATCHED}}})", "{{model}} {{track}}"),),
                kind="state-timeline",
                wide=24,
                words=(("0", "quiet", GREEN), ("1", "alarm", RED)),
            ),
            Panel(
                "Significance",
                "Smallest p of the newest window, adjusted; it alarms below the budget.",
                "none",
                ((f"min by (model, track) (holdfast_monitor_adjusted_p{{{WATCHED}}})", "{{model}} {{track}}"),),
                ((0.001, GREEN),),
                wide=12,
                axis=(None, 1),
                log=True,
            ),
            by(
                "Effect by column",
                "The ten that have moved most.",
                "none",
                f"topk(10, max by (column) (holdfast_monitor_effect{{{WATCHED}}}))",
                "column",
                wide=12,
            ),
        ),
        "Is the data sound?": (
            by(
                "Requests refused by reason",
                "As the monitor counted them.",
                "none",
                'sum by (reason) (increase(holdfast_monitor_rejected_total{namespace=~"$namespace"}[1h]))',
                "reason",
            ),
            by(
                "Refused by the contract",
                "Share of the requests.",
                "percentunit",
                'job:holdfast_requests_refused:ratio_rate5m{namespace=~"$namespace"}',
                "job",
                (0.05, RED),
                **SHARE,
            ),
            by(
                "Rows of unknown customers",
                "Share of those read.",
                "percentunit",
                'sum by (job) (rate(holdfast_online_rows_total{namespace=~"$namespace", outcome="unknown"}'
                '[$__rate_interval])) / sum by (job) (rate(holdfast_online_rows_total{namespace=~"$namespace"}'
                "[$__rate_interval]))",
                "job",
                **SHARE,
            ),
        ),
        "Does anybody look?": (
            by(
                "Since the last pass",
                "A pass a minute is usual.",
                "s",
                'time() - max by (job) (holdfast_monitor_last_pass_timestamp_seconds{namespace=~"$namespace"})',
                "job",
                (3600, RED),
            ),
            by(
                "Age of the newest record read",
                "Grows too while nobody asks.",
                "s",
                'max by (job) (holdfast_monitor_log_behind_seconds{namespace=~"$namespace"})',
                "job",
            ),
            by(
                "Records read",
                "late: of windows that were closed; duplicate: left out.",
                "rowsps",
                rate("holdfast_monitor_records_total", "kind", 'namespace=~"$namespace"'),
                "kind",
            ),
            by(
                "Time of a pass",
                "The last one.",
                "s",
                'max by (job) (holdfast_monitor_pass_seconds{namespace=~"$namespace"})',
                "job",
            ),
            by(
                "Passes that failed",
                "Within an hour.",
                "none",
                'sum by (job) (increase(holdfast_monitor_pass_failures_total{namespace=~"$namespace"}[1h]))',
                "job",
                (2, RED),
            ),
            by(
                "Windows closed",
                "Within a day.",
                "none",
                f"sum by (model) (increase(holdfast_monitor_windows_total{{{WATCHED}}}[1d]))",
                "model",
            ),
            by(
                "Answers in the open window",
                "It closes when it is full.",
                "none",
                f"holdfast_monitor_window_rows{{{WATCHED}}}",
                "model",
            ),
            by(
                "Age of the newest closed window",
                "Of its last answer.",
                "s",
                f"time() - holdfast_monitor_window_end_timestamp_seconds{{{WATCHED}}}",
                "model",
            ),
        ),
        "Do outcomes come, and models when they are asked for?": (
            by(
                "Outcomes told to the servers",
                "By /v1/feedback.",
                "rowsps",
                rate("holdfast_outcomes_total", "kind", 'namespace=~"$namespace"'),
                "kind",
            ),
            by(
                "Outcomes",
                "As the monitor holds them.",
                "none",
                'sum by (kind) (holdfast_monitor_outcomes_total{namespace=~"$namespace"})',
                "kind",
            ),
            Panel(
                "A new model is asked for",
                "Until `holdfast retrain` made one.",
                "none",
                (('max by (usecase) (holdfast_monitor_retrain_asked{namespace=~"$namespace"})', "{{usecase}}"),),
                kind="state-timeline",
                words=(("0", "no", GREEN), ("1", "asked", YELLOW)),
            ),
        ),
    },
    [NAMESPACE, MODEL],
)


def main() -> None:
    """Write them beside this file."""
    for made in (SERVICE, MODELS, MONITORING):
        name = made["uid"].removeprefix("holdfast-")
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
