"""docs/protocol.md is so: its programs run as they stand, but for the ports, with stock clients beside us."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.contenders import environment
from cli.server import Server, serve
from cli.workspace import ROOT, Workspace

TEXT = (ROOT / "docs" / "protocol.md").read_text()
SAID = "none of the 1 rows was accepted; row 0, customer_id: String should have at least 1 character"
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def server(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of cdnow."""
    with serve({"HOLDFAST_USECASE": cdnow.usecase.name}, log=tmp_path_factory.mktemp("serve") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def right(server: Server) -> list[str]:
    """What /v1 says of two customers, as the programs print it."""
    asked = {"rows": [{"customer_id": key} for key in ("1", "2")]}
    told = httpx.post(f"{server.url}/v1/predict/bulk", json=asked).json()["predictions"]
    return [f"{one['customer_id']} {one['decision']} {one['probability']!r}" for one in told]


def run(number: int, server: Server, directory: Path) -> str:
    """What a block prints."""
    language, text = BLOCKS[number]
    text = text.replace("localhost:3000", server.url.removeprefix("http://")).replace("localhost:3001", server.grpc)
    program = ["bash", "-euo", "pipefail"]
    if language == "python":
        program = [str(environment("clients", ROOT / "var" / "tests", ROOT / "tests" / "peers") / "python")]
    file = directory / "program"
    file.write_text(text)
    done = subprocess.run([*program, str(file)], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_there_are_three_programs() -> None:
    assert [language for language, _ in BLOCKS] == ["bash", "python", "python"]


def test_curl(server: Server, right: list[str], tmp_path: Path) -> None:
    metadata, answer, problem = map(json.loads, run(0, server, tmp_path).splitlines())
    assert [one["name"] for one in metadata["inputs"]] == ["customer_id"]
    told: dict[str, list[Any]] = {one["name"]: one["data"] for one in answer["outputs"]}
    rows = zip(("1", "2"), told["decision"], told["probability"], strict=True)
    assert [f"{key} {decision} {probability!r}" for key, decision, probability in rows] == right
    assert problem["status"] == 404
    assert problem["error"] == problem["detail"]


def test_tritons_clients(server: Server, right: list[str], tmp_path: Path) -> None:
    *rows, problem = run(1, server, tmp_path).splitlines()
    assert rows == right * 2
    assert problem == f"422 {SAID}"


def test_kserves_client(server: Server, right: list[str], tmp_path: Path) -> None:
    *rows, problem = run(2, server, tmp_path).splitlines()
    assert rows == right
    assert problem.startswith(f"{SAID}, '422")
