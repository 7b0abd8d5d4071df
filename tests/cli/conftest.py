"""The `holdfast` command as a user runs it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.workspace import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, str]:
    """A fresh home: no data, no model."""
    (tmp_path / "bentoml").mkdir()
    return {"HOLDFAST_HOME": str(tmp_path / "var"), "BENTOML_HOME": str(tmp_path / "bentoml")}


def holdfast(*words: str, environ: dict[str, str] | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `holdfast WORDS` and expect that exit code."""
    command = [str(Path(sys.executable).with_name("holdfast")), *words]
    merged = {**os.environ, **(environ or {})}
    done = subprocess.run(command, cwd=ROOT, env=merged, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def figures(*words: str, environ: dict[str, str] | None = None) -> Any:
    """The one JSON object that `holdfast WORDS --json` prints on stdout."""
    return json.loads(holdfast(*words, "--json", environ=environ).stdout)
