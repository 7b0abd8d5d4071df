"""Dashboards are what their description says; what they and the runbook ask, Prometheus understands."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import DASHBOARDS
from tests.deploy.files import dashboards, panels, queries_of_the_runbook, substituted
from tests.deploy.programs import program


def test_the_files_are_what_their_description_says() -> None:
    described = {f"{name}.json": one for name, one in DASHBOARDS.items()}
    assert dashboards() == json.loads(json.dumps(described)), "run `python -m deploy.grafana`"
    assert [one["uid"] for one in DASHBOARDS.values()] == [f"holdfast-{name}" for name in DASHBOARDS]


def test_promtool_understands_every_query(tmp_path: Path) -> None:
    asked = [substituted(target["expr"]) for _, panel in panels() for target in panel["targets"]]
    asked += [query for _, query in queries_of_the_runbook()]
    made = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    ran = subprocess.run([program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(asked)} rules found" in ran.stdout


@pytest.mark.parametrize("name", dashboards())
def test_panels_have_places_of_their_own_and_say_what_they_show(name: str) -> None:
    one = dashboards()[name]
    taken: dict[tuple[int, int], str] = {}
    for panel in one["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        if panel["type"] == "row":
            assert panel["title"].endswith("?")
        else:
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in one["panels"]}) == len(one["panels"])


@pytest.mark.parametrize("name", dashboards())
def test_choices_are_used_and_links_lead_on(name: str) -> None:
    one: dict[str, Any] = dashboards()[name]
    choices = {choice["name"] for choice in one["templating"]["list"]}
    text = json.dumps([one["panels"], one["links"], one["annotations"], one["templating"]])
    assert {choice for choice in choices if f"${choice}" not in text and f"${{{choice}}}" not in text} == set()
    assert {link["type"] for link in one["links"]} == {"dashboards", "link"}
    assert one["links"][0]["tags"] == one["tags"] == ["holdfast"]
    assert {mark["name"] for mark in one["annotations"]["list"]} == {"Models", "Alarms"}
