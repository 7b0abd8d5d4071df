"""ServiceMonitors, rules and dashboards: those of deploy/prometheus and deploy/grafana, and names that they expect."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml

from tests.deploy.files import RULES, dashboards
from tests.deploy.helm.chart import SHAPES, Object, one, render
from tests.deploy.helm.kubernetes import named, pods, selected

ON = {"metrics": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}, "dashboards": {"enabled": True}}}
SERVER = re.compile("(?!.*monitor).*holdfast.*")
MONITOR = re.compile(".*holdfast.*monitor.*")
RELEASES = ["h", "holdfast", "shop-holdfast-eu", "a" * 53]


def _groups(*files: str) -> list[dict[str, Any]]:
    return [group for name in files for group in yaml.safe_load((RULES / f"{name}.yaml").read_text())["groups"]]


def _scraped(objects: list[Object], monitor: Object) -> list[Object]:
    """Services that a ServiceMonitor finds."""
    by = monitor["spec"]["selector"]
    return [each for each in objects if each["kind"] == "Service" and selected(by, each["metadata"].get("labels", {}))]


def test_rules_are_all_those_of_deploy_prometheus() -> None:
    (rule,) = (each for each in render("canary", ON) if each["kind"] == "PrometheusRule")
    assert rule["spec"]["groups"] == _groups("recording", "alerts")


def test_where_nothing_watches_the_alert_about_that_is_left_out() -> None:
    def alerts(shape: str) -> set[str]:
        (rule,) = (each for each in render(shape, ON) if each["kind"] == "PrometheusRule")
        return {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}

    assert alerts("canary") - alerts("attributes") == {"HoldfastUnwatched"}
    assert alerts("attributes") == alerts("monitoring-off") > {"HoldfastMonitorSilent"}


def test_alerts_say_where_the_runbook_is() -> None:
    (rule,) = (each for each in render("production") if each["kind"] == "PrometheusRule")
    wanted = copy.deepcopy(_groups("recording", "alerts"))
    for group in wanted:
        for each in group["rules"]:
            if "alert" in each:
                where = each["annotations"]["runbook_url"].removeprefix("docs/runbook.md")
                each["annotations"]["runbook_url"] = f"https://docs.example.com/holdfast/runbook.md{where}"
                assert where == f"#{each['alert'].lower()}"
    assert rule["spec"]["groups"] == wanted
    assert rule["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize("name", RELEASES)
def test_each_servicemonitor_finds_one_service_by_whose_name_rules_find_the_job(name: str) -> None:
    objects = render("canary", ON, name=name)
    monitors = [each for each in objects if each["kind"] == "ServiceMonitor"]
    found = {}
    for each in monitors:
        (service,) = _scraped(objects, each)
        (endpoint,) = each["spec"]["endpoints"]
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        found[each["metadata"]["labels"]["app.kubernetes.io/component"]] = service
    assert found.keys() == {"serving", "monitor"}
    assert SERVER.fullmatch(found["serving"]["metadata"]["name"])
    assert MONITOR.fullmatch(found["monitor"]["metadata"]["name"])


def test_pods_that_are_not_ready_are_scraped_and_tell_their_track() -> None:
    objects = render("canary", ON)
    monitor = one(objects, "ServiceMonitor", "holdfast")
    (service,) = _scraped(objects, monitor)
    assert service["spec"]["publishNotReadyAddresses"], "HoldfastGateRefused is about them"
    servers = [pod for pod in pods(objects) if selected(service["spec"]["selector"], pod.labels)]
    assert {pod.labels["holdfast/track"] for pod in servers} == {"stable", "canary"}
    assert monitor["spec"]["podTargetLabels"] == ["holdfast/track"]
    for pod in servers:
        ports = {port["name"]: port["containerPort"] for port in pod.containers[0]["ports"]}
        assert ports[service["spec"]["ports"][0]["targetPort"]] == service["spec"]["ports"][0]["port"] == 3002


def test_scrapes_end_before_the_next_begins() -> None:
    for seconds in (5, 15, 60):
        over = {"metrics": {"serviceMonitor": {"intervalSeconds": seconds}}}
        for each in render("production", over):
            if each["kind"] == "ServiceMonitor":
                (endpoint,) = each["spec"]["endpoints"]
                assert endpoint["interval"] == f"{seconds}s"
                assert 0 < int(endpoint["scrapeTimeout"].removesuffix("s")) <= seconds


@pytest.mark.parametrize("shape", SHAPES)
def test_containers_and_jobs_are_called_as_rules_expect(shape: str) -> None:
    for pod in pods(render(shape, name="h")):
        assert "holdfast" in pod.owner["metadata"]["name"]
        for container in pod.containers:
            assert container["name"].startswith("holdfast"), named(pod.owner)


def test_dashboards_are_those_of_deploy_grafana() -> None:
    found = {}
    for each in render("minimal", {"metrics": {"dashboards": {"enabled": True, "labels": {"mine": "yes"}}}}):
        if "dashboard" in each["metadata"]["name"]:
            assert each["metadata"]["labels"]["mine"] == "yes"
            ((name, text),) = each["data"].items()
            found[name.removeprefix("holdfast-")] = json.loads(text)
    assert found == dashboards()


def test_without_the_operator_there_is_nothing_of_it() -> None:
    assert not [each for each in render("canary") if "monitoring.coreos.com" in each["apiVersion"]]
