"""The files of deploy/ as tests read them."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import yaml

from cli.workspace import ROOT

RULES, TESTS, DASHBOARDS = (ROOT / "deploy" / name for name in ("prometheus", "prometheus/tests", "grafana"))


@cache
def rules(name: str) -> list[dict[str, Any]]:
    """All rules of `recording` or `alerts`, in order."""
    return [rule for group in yaml.safe_load((RULES / f"{name}.yaml").read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts")}
RECORDED = {rule["record"]: rule for rule in rules("recording")}


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The committed dashboards, by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Every panel that asks, and marks too, with where it stands."""
    found = []
    for name, one in dashboards().items():
        found += [(f"{name}: {panel['title']}", panel) for panel in one["panels"] if panel["type"] != "row"]
        for mark in one["annotations"]["list"]:
            said = f"{mark['titleFormat']} {mark['textFormat']}"
            found.append((f"{name}: {mark['name']}", {"targets": [{"expr": mark["expr"], "legendFormat": said}]}))
    return found


def variables() -> list[tuple[str, str]]:
    """Every choice that asks Prometheus, with where it stands."""
    return [
        (f"{name}: {choice['name']}", choice["definition"])
        for name, one in dashboards().items()
        for choice in one["templating"]["list"]
        if choice["type"] == "query"
    ]


def substituted(expression: str) -> str:
    """As Grafana sends it."""
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", "5m"))


def queries_of_the_runbook() -> list[tuple[str, str]]:
    """Every query that docs/runbook.md tells to ask, and under which heading."""
    text = (ROOT / "docs" / "runbook.md").read_text()
    return [
        (heading, query.strip())
        for heading, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        for query in re.findall(r"```promql\n(.*?)```", section, re.DOTALL)
    ]
