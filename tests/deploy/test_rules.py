"""Rules of Prometheus: promtool accepts them, and its tests show each alert firing, and quiet beside what alarms it."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.files import ALERTS, RECORDED, RULES, TESTS, rules
from tests.deploy.programs import program
from tests.deploy.queries import read

FILES = sorted(TESTS.glob("*.yaml"))


def promtool(*words: str) -> None:
    """Run it where the tests' files are."""
    ran = subprocess.run([program("promtool"), *words], cwd=TESTS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", "--lint-fatal", *(str(path) for path in sorted(RULES.glob("[ar]*.yaml"))))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_alerts_fire_and_are_quiet_where_they_should(path: Any) -> None:
    promtool("test", "rules", path.name)


def test_every_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    fired, quiet = set(), set()
    for path in FILES:
        for test in yaml.safe_load(path.read_text())["tests"]:
            given = {series["series"].partition("{")[0] for series in test["input_series"]}
            for check in test["alert_rule_test"]:
                name = check["alertname"]
                if check["exp_alerts"]:
                    fired.add(name)
                elif given & asked(ALERTS[name]["expr"]):  # silence of what was not there shows nothing
                    quiet.add(name)
    assert fired == set(ALERTS)
    assert quiet == set(ALERTS)


def asked(expression: str) -> set[str]:
    """Metrics that an expression stands on, those of its recording rules among them."""
    found: set[str] = set()
    for name in read(expression).metrics:
        found |= {name} | set().union(*(asked(r["expr"]) for r in rules("recording") if r["record"] == name))
    return found


def test_no_group_is_named_twice() -> None:
    names = [group["name"] for path in RULES.glob("[ar]*.yaml") for group in yaml.safe_load(path.read_text())["groups"]]
    assert len(names) == len(set(names))  # one PrometheusRule holds them all
    for path in FILES:
        assert set(yaml.safe_load(path.read_text())["group_eval_order"]) == set(names), path.name


def test_every_alert_says_how_bad_what_and_where_to_read_on() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert "$value" in rule["annotations"]["description"], name
        assert "$value" not in rule["annotations"]["summary"], name  # it names the notification, which must not change


def test_what_is_recorded_is_used() -> None:
    dashboards = "".join(path.read_text() for path in (RULES.parent / "grafana").glob("*.json"))
    used = "\n".join([dashboards, *(rule["expr"] for rule in [*rules("alerts"), *rules("recording")])])
    assert [name for name in RECORDED if not re.search(rf"{name}(?![\w:])", used)] == []
