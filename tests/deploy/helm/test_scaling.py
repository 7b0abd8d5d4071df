"""How many servers there are: nothing but an autoscaler ever says so, and switching between two resets nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy.helm.chart import SHAPES, Object, names, one, render
from tests.deploy.helm.kubernetes import pods, selected

ON = {"serving": {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 9}}}
IN_FLIGHT = {"serving": {"autoscaling": {"inFlight": {"enabled": True, "target": 12, "metric": "in_flight"}}}}
KEDA = {"serving": {"autoscaling": {"enabled": True, "kind": "keda", "inFlight": {"enabled": True}}}}


def _scaler(objects: list[Object]) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "HorizontalPodAutoscaler", "holdfast")["spec"]
    return spec


@pytest.mark.parametrize(
    ("shape", "over"), [*((shape, {}) for shape in SHAPES), ("canary", ON), ("production", KEDA), ("minimal", KEDA)]
)
def test_the_deployment_never_says_a_count(shape: str, over: dict[str, Any]) -> None:
    """Whoever says it at one time and not at another resets it to one; and one autoscaler holds it at any time."""
    objects = render(shape, over)
    deployment = one(objects, "Deployment", "holdfast")
    assert one(render(shape, over, is_upgrade=True), "Deployment", "holdfast") == deployment
    assert "replicas" not in deployment["spec"]
    scalers = [each for each in objects if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert [each["spec"]["scaleTargetRef"] for each in scalers] == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "holdfast"}
    ]


def test_without_scaling_the_bounds_are_equal() -> None:
    spec = _scaler(render("canary"))
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 3)


def test_with_scaling_they_are_those_asked_for() -> None:
    spec = _scaler(render("canary", ON))
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 9)
    [cpu] = spec["metrics"]
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}


def test_requests_in_flight_are_a_metric_of_pods() -> None:
    over = {"serving": {"autoscaling": ON["serving"]["autoscaling"] | IN_FLIGHT["serving"]["autoscaling"]}}
    _, in_flight = _scaler(render("canary", over))["metrics"]
    assert in_flight["pods"] == {
        "metric": {"name": "in_flight"},
        "target": {"type": "AverageValue", "averageValue": "12"},
    }
    assert len(_scaler(render("canary", IN_FLIGHT))["metrics"]) == 1  # nothing is scaled: no adapter is asked


def test_up_is_at_once_and_down_is_slow() -> None:
    over = {"serving": {"autoscaling": {"scaleDownSeconds": 77}}}
    keda = one(render("keda", over), "ScaledObject", "holdfast")["spec"]["advanced"]
    behavior = _scaler(render("production", over))["behavior"]
    assert keda["horizontalPodAutoscalerConfig"]["behavior"] == behavior
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 77


def test_keda_takes_over_in_one_upgrade() -> None:
    """Helm makes the ScaledObject while the other autoscaler is still there: KEDA's webhook is told not to mind, and
    KEDA's own has another name, so that neither's end is the other's."""
    before = one(render("production"), "HorizontalPodAutoscaler", "holdfast")
    assert before["metadata"]["annotations"]["validations.keda.sh/hpa-ownership"] == "false"
    objects = render("keda")
    assert not names(objects, "HorizontalPodAutoscaler")
    advanced = one(objects, "ScaledObject", "holdfast")["spec"]["advanced"]
    assert "name" not in advanced["horizontalPodAutoscalerConfig"]
    assert advanced["restoreToOriginalReplicaCount"] is False


def test_keda_asks_for_the_stable_pods_of_this_release_alone() -> None:
    spec = one(render("keda"), "ScaledObject", "holdfast")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 20)
    prometheus, cpu = spec["triggers"]
    assert prometheus["metadata"]["threshold"] == "12"
    assert prometheus["metadata"]["serverAddress"] == "http://prometheus-operated.monitoring.svc:9090"
    assert cpu == {"type": "cpu", "name": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    query = prometheus["metadata"]["query"]
    asked = re.fullmatch(r'sum\(holdfast_requests_in_flight\{namespace="shop",pod=~"([^"]+)"\}\)', query)
    assert asked, query
    stable, canary, monitor = "holdfast-6d4cf56db6-x2x9q", "holdfast-canary-6d4cf56db6-x2x9q", "holdfast-monitor-1f-x"
    assert re.fullmatch(asked[1], stable)
    assert not re.fullmatch(asked[1], canary)
    assert not re.fullmatch(asked[1], monitor)


@pytest.mark.parametrize("shape", ["canary", "production"])
def test_a_drain_takes_one_server_at_a_time(shape: str) -> None:
    objects = render(shape)
    spec = one(objects, "PodDisruptionBudget", "holdfast")["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert [pod.owner["metadata"]["name"] for pod in pods(objects) if selected(spec["selector"], pod.labels)] == [
        "holdfast"
    ]


def test_a_drain_may_be_left_alone() -> None:
    assert not names(
        render("production", {"serving": {"podDisruptionBudget": {"enabled": False}}}), "PodDisruptionBudget"
    )
