"""What is taken out of an environment before it becomes part of an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.workspace import ROOT


@pytest.mark.parametrize("image", ["serving", "jobs"])
def test_tests_and_sources_go_and_what_runs_stays_compiled(image: str, tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    stays = ["some/__init__.py", "some/data.json", "some.dist-info/METADATA", "some.dist-info/licenses/LICENSE"]
    goes = [
        "some/tests/__init__.py", "some/tests/deep/tests/x.py", "some/core.pyx", "some/core.pyi", "some/core.c",
        "some/include/core.h", "some.dist-info/RECORD",
    ]  # fmt: skip
    (goes if image == "serving" else stays).append("scipy/stats/LICENSE")
    for name in [*stays, *goes]:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    subprocess.run([sys.executable, str(ROOT / "deploy" / "image" / "slim.py"), str(tmp_path), image], check=True)
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert left == {*stays, "some/__pycache__/__init__.cpython-311.pyc"}
