"""docs/postgresql.md is so: its blocks run in their order against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.servers import Server, postgresql, programs
from cli.server import free_ports
from cli.workspace import ROOT

TEXT = (ROOT / "docs" / "postgresql.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, as the page makes a shop and users in it."""
    with postgresql() as running:
        yield running


def test_the_page_runs_as_it_stands(tmp_path: Path, server: Server) -> None:
    (tmp_path / "my_usecases").mkdir()
    (tmp_path / "my_usecases" / "shop.py").write_text(blocks("python")[0])
    (tmp_path / "shop.sql").write_text(blocks("sql")[0])
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / "bentoml").mkdir()
    place = urlsplit(server.url)
    script = "\n".join(blocks("bash")).replace("PGHOST=localhost PGPORT=5432", f"PGHOST=127.0.0.1 PGPORT={place.port}")
    script = script.replace("PGUSER=postgres", f"PGUSER={place.username}")
    script = script.replace("--no-stay", f"--no-stay --port {free_ports(3)[0]}")
    environ = {
        **os.environ,
        "PATH": f"{programs()}:{os.environ['PATH']}",
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "HOLDFAST_HOME": str(tmp_path / "var"),
    }
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
    assert "1 new" in done.stdout
    assert '"known": true' in done.stdout
    for password in ("change%20me", "change me"):
        assert password not in done.stdout + done.stderr
