"""What serves, what it answers, and whether that is right."""

from __future__ import annotations

from deploy.grafana.panel import (
    MODEL,
    NAMESPACE,
    RED,
    SHARE,
    WATCHED,
    Panel,
    by,
    dashboard,
    rate,
)

FIGURES = (
    ("ROC-AUC", "roc_auc", "How well scores rank.", "none", (None, 1)),
    ("Log loss", "log_loss", "How far probabilities are off; 0 is best.", "none", (0, None)),
    ("Brier score", "brier", "Likewise, squared.", "none", (0, None)),
    ("Calibration error", "ece", "Between what was said and what came.", "percentunit", (0, None)),
    ("Rate of the outcome", "rate", "Of those whose outcome is known.", "percentunit", (0, 1)),
)
"""What outcomes tell: title, metric, what it is, unit, axis."""

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
