"""What the README says is so: its worked example runs as pasted; its commands, settings and tasks are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import usecases
from cli.main import app
from cli.workspace import ROOT
from serving.decode import Decoder
from serving.schema import Schema
from settings import PREFIX, Settings

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_worked_example_runs_as_pasted(tmp_path: Path) -> None:
    module = next(block for block in blocks("python") if "USECASE = " in block)
    data = next(block for block in blocks("python") if "visits.csv" in block and "USECASE" not in block)
    shell = next(block for block in blocks("bash") if "make_data.py" in block)
    (tmp_path / "my_usecases").mkdir()
    (tmp_path / "my_usecases" / "gym.py").write_text(module)
    (tmp_path / "make_data.py").write_text(data)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / "bentoml").mkdir()
    environ = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "HOLDFAST_HOME": str(tmp_path / "var")}
    script = shell.replace("--no-stay", "--no-stay --port 3996")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differing bits" in done.stdout
    assert '"member_id": "m0"' in done.stdout
    assert '"attributes": {"plan": "' in done.stdout


def test_requests_of_the_worked_example_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "gym.py").write_text(next(block for block in blocks("python") if "USECASE = " in block))
    decoder = Decoder(Schema(usecases.load("gym", tmp_path)), max_rows=10)
    one, rows, columns = (line.encode() for line in blocks("json")[0].splitlines())
    assert decoder.one(one).keys == ["m1"]
    assert decoder.many(rows) == decoder.many(columns)


def test_the_runner_reads_as_it_is_shown() -> None:
    program = next(block for block in blocks("python") if "ModelRunner" in block)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == program.partition("range(5))))  # ")[2].splitlines()[0], done.stderr


def test_every_setting_is_in_the_table_with_its_sentence() -> None:
    told = dict(re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) \|", TEXT, re.MULTILINE))
    assert told == {PREFIX + name.upper(): field.description for name, field in Settings.model_fields.items()}


def test_every_command_is_in_the_table() -> None:
    group = typer.main.get_command(app)
    told = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `holdfast"))
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a click.Group
        assert f"holdfast {name}" in told
        for inner in getattr(command, "commands", {}):
            assert f"`holdfast {name} {inner}" in told or f"`{inner}" in told


@pytest.mark.parametrize("task", sorted(set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join([*blocks("bash"), TEXT])))))
def test_every_task_is_one(task: str) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert task in known or f"`make` {task}" in TEXT


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
