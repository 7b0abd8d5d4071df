"""The house has floors: a folder imports from floors below it, never from one above or beside it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "settings": 0,
    "features": 1,
    "usecases": 2,
    "model": 3,
    "training": 4,
    "serving": 4,
    "batch": 4,
    "monitoring": 4,
    "service": 5,
    "cli": 5,
}
SERVING_IMAGE_LACKS = (
    "pandas",
    "pyarrow",
    "duckdb",
    "evidently",
    "sklearn",
    "typer",
    "s3fs",
    "rich",
    "matplotlib",
    "training",
    "cli",
)


def modules() -> list[Path]:
    """Every module of the project that stands on a floor."""
    found = [path for name in FLOORS for path in [*ROOT.glob(f"{name}.py"), *(ROOT / name).rglob("*.py")]]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def imported(path: Path) -> set[str]:
    """Top-level names of all imports of a module, wherever in it they stand."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    above = {name for name in imported(path) if name in FLOORS and name != own and FLOORS[name] >= FLOORS[own]}
    allowed = {"cli", "service"} & above if own == "cli" else set()
    assert not above - allowed, f"{path.relative_to(ROOT)} stands on floor {FLOORS[own]} and imports {sorted(above)}"


def test_every_top_level_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "deploy"}
    assert packages <= set(FLOORS)


def test_features_do_not_know_their_users() -> None:
    below = {name for path in (ROOT / "features").rglob("*.py") for name in imported(path)}
    assert not below & {"bentoml", "xgboost", "sklearn", "starlette", "typer", "rich"}


def test_only_the_adapters_know_bentoml() -> None:
    knowing = {str(path.relative_to(ROOT)) for path in modules() if "bentoml" in imported(path)}
    assert knowing == {"model/store.py", "service.py"}


def test_only_one_module_knows_spark_and_one_its_xgboost() -> None:
    knowing = {str(path.relative_to(ROOT)) for path in modules() if "pyspark" in imported(path)}
    assert knowing == {"features/store/spark.py"}
    fitting = {str(path.relative_to(ROOT)) for path in modules() if "xgboost.spark" in path.read_text()}
    assert fitting == {"training/distributed.py"}


def test_only_one_module_knows_evidently() -> None:
    knowing = {str(path.relative_to(ROOT)) for path in modules() if "evidently" in imported(path)}
    assert knowing == {"monitoring/evidently.py"}


def test_what_serves_runs_without_the_packages_that_the_serving_image_lacks() -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {SERVING_IMAGE_LACKS!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import settings
settings.pin_environment()
import usecases, model.store, model.registry, model.archive, serving.core, serving.http, serving.openapi
from features.store import open_online
import pathlib, tempfile
for name in usecases.names():
    usecase = usecases.load(name)
    with tempfile.TemporaryDirectory() as home:
        open_online(None, pathlib.Path(home), usecase.features, name=name).close()
print("served", usecases.names())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cdnow" in done.stdout
