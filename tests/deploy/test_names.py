"""What rules and dashboards ask for is there: each metric, label and value is one that somebody exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from cli.workspace import ROOT
from tests.deploy.files import ALERTS, RECORDED, panels, queries_of_the_runbook, rules, substituted, variables
from tests.deploy.queries import read

TARGET = {"namespace", "pod", "job", "instance", "holdfast_track"}
"""Labels that Prometheus gives to all that it scrapes."""
POD = TARGET | {"container"}
OTHERS: dict[str, set[str]] = {
    "up": TARGET,
    "ALERTS": TARGET | {"alertname", "alertstate", "model"},
    # of kube-state-metrics 2
    "kube_pod_container_resource_limits": POD | {"resource"},
    "kube_pod_container_status_restarts_total": POD,
    "kube_job_created": TARGET | {"job_name"},
    "kube_job_failed": TARGET | {"job_name", "condition"},
    "kube_job_owner": TARGET | {"job_name", "owner_kind", "owner_name"},
    "kube_cronjob_created": TARGET | {"cronjob"},
    "kube_cronjob_next_schedule_time": TARGET | {"cronjob"},
    "kube_cronjob_spec_suspend": TARGET | {"cronjob"},
    "kube_cronjob_status_last_schedule_time": TARGET | {"cronjob"},
    "kube_cronjob_status_last_successful_time": TARGET | {"cronjob"},
}
"""Metrics that are not ours, with the labels that are asked for."""
ROUTES = (
    "/v1/predict",
    "/v1/predict/bulk",
    "/v1/explain",
    "/v1/feedback",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
    "/inference.GRPCInferenceService/ModelInfer",
    *(f"/holdfast.cdnow.v1.Predictions/{name}" for name in ("Predict", "PredictBulk", "Feedback")),
)
"""What is asked of a model: an event of the objective of errors."""


@cache
def exported() -> dict[str, dict[str, set[str]]]:
    """Labels, and what is known of their values, of each metric of ours."""
    command = [sys.executable, "-m", "tests.deploy.exported"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: {label: set(known) for label, known in labels.items()} for name, labels in found.items()}


@cache
def labels(metric: str) -> set[str]:
    """Labels that a metric may have."""
    if metric in RECORDED:
        recorded = [rule for rule in rules("recording") if rule["record"] == metric]
        return set().union(*(result(rule["expr"]) | set(rule.get("labels", {})) for rule in recorded))
    if metric in OTHERS:
        return OTHERS[metric]
    assert metric in exported(), f"nobody exports {metric}"
    return set(exported()[metric]) | TARGET


def result(expression: str) -> set[str]:
    """Labels that an expression's result may have."""
    return set().union(*(labels(name) for name in read(expression).metrics))


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    for name, rule in [*ALERTS.items(), *((rule["record"], rule) for rule in rules("recording"))]:
        yield name, rule["expr"]
    for where, panel in panels():
        for target in panel["targets"]:
            yield where, substituted(target["expr"])
    yield from queries_of_the_runbook()


def test_every_metric_and_label_is_exported() -> None:
    for where, expression in expressions():
        query = read(expression)
        assert query.metrics or expression.startswith("vector("), where
        for metric, label, _, _ in query.matchers:
            assert label in labels(metric), f"{where}: {metric} has no label {label}"
        assert query.labels <= result(expression), where


def test_every_value_that_is_asked_for_can_be_there() -> None:
    seen = 0
    for where, expression in expressions():
        for metric, label, operator, value in read(expression).matchers:
            known = exported().get(metric, {}).get(label, set())
            if metric == "job_outcome:holdfast_requests:rate5m" and label == "outcome":
                known = exported()["holdfast_requests_total"]["outcome"]
            if not known or label in ("model", "usecase", "feature"):
                continue
            for one in value.split("|") if "~" in operator else [value]:
                assert one in known, f"{where}: {metric} never has {label}={one!r}"
                seen += 1
    assert seen > 20


def test_legends_and_texts_name_labels_that_are_there() -> None:
    for where, panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert named <= result(substituted(target["expr"])), where
    for name, rule in ALERTS.items():
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= result(rule["expr"]), name


def test_choices_of_the_dashboards_are_labels() -> None:
    for where, query in variables():
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert found is not None, where
        (metric,) = read(substituted(found[1])).metrics
        assert found[2] in labels(metric), where


def test_routes_of_the_objectives_are_those_of_the_service() -> None:
    rule = RECORDED["job_outcome:holdfast_requests:rate5m"]
    ((_, _, _, pattern),) = read(rule["expr"]).matchers
    assert all(re.fullmatch(pattern, route) for route in ROUTES)
    others = ("/", "/livez", "/readyz", "/metrics", "/docs.json", "/v1/models", "/v2", "/v2/health/ready", "other")
    assert not any(re.fullmatch(pattern, route) for route in others)
    seconds = {
        m[3] for r in rules("recording") for m in read(r["expr"]).matchers if m[0].startswith("holdfast_request_s")
    }
    (single,) = (one for one in seconds if "predict" in one)
    assert [route for route in ROUTES if re.fullmatch(single, route)] == [ROUTES[0], ROUTES[7]]
