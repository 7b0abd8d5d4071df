"""What a dashboard of Grafana is made of: panels in rows, choices, marks and links. For Grafana 10 and later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED = "green", "yellow", "red"
ASKED = 'namespace=~"$namespace", job=~"$job"'
WATCHED = 'namespace=~"$namespace", model=~"$model"'
JSON = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        queries: expression and legend of each. unit: one of Grafana's. steps: from which value on it is which colour.
        kind: timeseries, stat, state-timeline or table. wide: columns of 24. axis: least and largest value, None: any.
    """

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    steps: tuple[tuple[float, str], ...] = ()
    kind: str = "timeseries"
    wide: int = 8
    axis: tuple[float | None, float | None] = (0, None)
    log: bool = False
    words: tuple[tuple[str, str, str], ...] = ()
    """Value, what is shown for it, and its colour."""

    def json(self, number: int, x: int, y: int) -> JSON:
        """As Grafana has it."""
        steps = [{"value": None, "color": GREEN if self.steps else "blue"}]
        low, high = self.axis
        defaults: JSON = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": [*steps, *({"value": v, "color": c} for v, c in self.steps)]},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "custom": {},
        }
        defaults |= {name: value for name, value in (("min", low), ("max", high)) if value is not None}
        if self.kind == "timeseries":
            lines = "line" if self.steps else "off"
            scale = {"type": "log", "log": 10} if self.log else {"type": "linear"}
            defaults["custom"] = {
                "thresholdsStyle": {"mode": lines},
                "scaleDistribution": scale,
                "showPoints": "never",
                "fillOpacity": 5,
            }
        if self.words:
            said = {value: {"text": text, "color": colour} for value, text, colour in self.words}
            defaults["mappings"] = [{"type": "value", "options": said}]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.wide, "h": 4 if self.kind == "stat" else 8},
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": SOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                    "instant": self.kind in ("stat", "table"),
                    "range": self.kind not in ("stat", "table"),
                    "format": "table" if self.kind == "table" else "time_series",
                }
                for index, (expression, legend) in enumerate(self.queries)
            ],
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": OPTIONS[self.kind],
        }


OPTIONS: dict[str, JSON] = {
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto", "colorMode": "value"},
    "state-timeline": {"legend": {"displayMode": "list", "placement": "bottom"}, "showValue": "never"},
    "table": {"showHeader": True},
}


def stat(title: str, about: str, unit: str, query: str, *steps: tuple[float, str], **more: Any) -> Panel:
    """One figure of now."""
    return Panel(title, about, unit, ((query, ""),), steps, "stat", 4, **more)


def by(title: str, about: str, unit: str, query: str, label: str, *steps: tuple[float, str], **more: Any) -> Panel:
    """One line for each value of a label."""
    return Panel(title, about, unit, ((query, f"{{{{{label}}}}}"),), steps, **more)


def quantiles(metric: str, by_: str = "") -> tuple[tuple[str, str], ...]:
    """p50, p90 and p99 of a histogram of the servers."""
    return tuple(
        (
            f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{ASKED}{by_}}}[$__rate_interval])))",
            f"p{q * 100:.0f}",
        )
        for q in (0.5, 0.9, 0.99)
    )


def rate(metric: str, label: str, matchers: str = ASKED) -> str:
    """Events a second by a label."""
    return f"sum by ({label}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def variable(name: str, query: str, label: str) -> JSON:
    """One choice, of the values of a label; all of them at first, also of what has no such label."""
    asked = f"label_values({query}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": asked, "refId": name},
        "definition": asked,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def annotation(name: str, query: str, title: str, text: str, colour: str) -> JSON:
    """Marks at the times at which a query has a result."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": query,
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
    }


def dashboard(name: str, about: str, rows: dict[str, tuple[Panel, ...]], variables: list[JSON]) -> JSON:
    """A dashboard whose rows are questions."""
    panels: list[JSON] = []
    y = 0
    for question, row in rows.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": question,
                "gridPos": place,
                "collapsed": False,
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for panel in row:
            if x + panel.wide > 24:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, tallest = x + panel.wide, max(tallest, panels[-1]["gridPos"]["h"])
        y += tallest
    serving = 'holdfast_model_info{namespace=~"$namespace"}'
    return {
        "uid": f"holdfast-{name}",
        "title": f"Holdfast: {name}",
        "description": about,
        "tags": ["holdfast"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h" if name == "service" else "now-7d", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                *variables,
                {
                    "name": "runbook",
                    "label": "Runbook",
                    "description": "Address of docs/runbook.md where you read it.",
                    "type": "textbox",
                    "query": "docs/runbook.md",
                },
            ]
        },
        "annotations": {
            "list": [
                annotation(
                    "Models",
                    f"group by (model) ({serving}) unless on (model) group by (model) ({serving} offset 5m)",
                    "{{model}}",
                    "serves since now",
                    "blue",
                ),
                annotation(
                    "Alarms",
                    'ALERTS{alertname=~"Holdfast.*", alertstate="firing", namespace=~"$namespace"}',
                    "{{alertname}}",
                    "{{job}} {{model}}",
                    RED,
                ),
            ]
        },
        "links": [
            {
                "title": "Holdfast",
                "type": "dashboards",
                "tags": ["holdfast"],
                "asDropdown": False,
                "keepTime": True,
                "includeVars": True,
            },
            {"title": "Runbook", "type": "link", "url": "${runbook}", "icon": "doc", "targetBlank": True},
        ],
        "panels": panels,
    }


NAMESPACE = variable("namespace", "holdfast_ready", "Namespace")
MODEL = variable("model", 'holdfast_monitor_window_rows{namespace=~"$namespace"}', "Model")
SHARE: dict[str, Any] = {"axis": (0, 1)}
