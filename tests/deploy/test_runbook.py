"""docs/runbook.md has one heading for each alert, and what it tells to run and to ask can be run and asked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import typer

from cli.main import app
from cli.workspace import ROOT
from settings import PREFIX, Settings
from tests.deploy.files import ALERTS, queries_of_the_runbook

TEXT = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def test_every_alert_has_a_heading_in_order_and_every_heading_is_an_alert() -> None:
    assert re.findall(r"^#{2,} (.*)$", TEXT, re.MULTILINE) == list(ALERTS)


def test_links_lead_to_headings() -> None:
    anchors = {heading.lower() for heading in SECTIONS}  # as GitHub makes them: there is nothing but letters in these
    assert all(heading.isalpha() for heading in SECTIONS)
    for name, rule in ALERTS.items():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / path).read_text() == TEXT
        assert anchor == name.lower()
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors


def test_every_heading_says_what_it_means_how_to_look_what_to_do_and_when_it_is_over() -> None:
    for name, section in SECTIONS.items():
        told = re.findall(r"^\*\*(.*?):\*\* \S", section, re.MULTILINE)
        assert told == ["For users", "Look", "Do", "Over"], name
        assert "```promql" in section, name
    assert len(queries_of_the_runbook()) >= len(ALERTS)


def commands() -> Iterator[list[str]]:
    """Every command of ours in the text."""
    for span in re.findall(r"(?:`|```bash\n)(holdfast [^`\n]*)", TEXT):
        yield shlex.split(span, comments=True)[1:]


def test_every_command_is_one() -> None:
    seen = 0
    for words in commands():
        command = typer.main.get_command(app)
        rest = list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]  # a click.Group
        assert not hasattr(command, "commands"), words
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, words
        seen += 1
    assert seen > 20


def test_every_setting_is_one() -> None:
    named = {name.removesuffix("_FILE") for name in re.findall(r"HOLDFAST_[A-Z_]+[A-Z]", TEXT)}
    assert named <= {PREFIX + name.upper() for name in Settings.model_fields}
