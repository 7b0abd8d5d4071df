"""Whether those who ask are still those whom the model knows, and whether anybody looks."""

from __future__ import annotations

from deploy.grafana.panel import (
    GREEN,
    MODEL,
    NAMESPACE,
    RED,
    SHARE,
    WATCHED,
    YELLOW,
    Panel,
    by,
    dashboard,
    rate,
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
