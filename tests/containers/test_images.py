"""What is in the images, what is not, and what they say of themselves."""

from __future__ import annotations

import json
import re

import pytest

from cli.workspace import ROOT, Workspace
from deploy.image import pip
from deploy.image.build import SBOM, Image
from deploy.image.engine import Engine
from model import store
from settings import VERSION
from tests.containers.conftest import told
from tests.containers.container import run

MOST = 330
"""MB that the serving image may be over its base."""
_LOOSE = """
import os, stat
for folder, _, files in os.walk("/opt/holdfast"):
    for path in [folder, *(os.path.join(folder, name) for name in files)]:
        found = os.lstat(path)
        readable = os.access(path, os.R_OK)
        if found.st_uid or not readable or not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o022:
            print(path)
"""
_SEARCH = """
import os, sys
for folder, _, files in os.walk("/opt/holdfast"):
    for name in files:
        text = open(os.path.join(folder, name), "rb").read()
        print(*[os.path.join(folder, name) for word in sys.argv[1:] if word.encode() in text], sep="\\n", end="")
"""


def _normal(name: str) -> str:
    """A package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


BOTH = pytest.mark.parametrize("target", ["serving", "jobs"])


def python(engine: Engine, image: Image, program: str, *words: str) -> list[str]:
    """Lines that a program prints inside."""
    return run(engine, image.name, "-c", program, *words, options=("--entrypoint=python3",)).split()


@BOTH
def test_an_image_says_which_code_and_model_it_is(
    engine: Engine, images: dict[str, Image], cdnow: Workspace, target: str
) -> None:
    config = engine.inspect(images[target].name)["Config"]
    manifest = store.manifest(str(cdnow.champion()))
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"holdfast-{target}"
    assert labels["org.opencontainers.image.version"] == VERSION
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["org.opencontainers.image.revision"])
    assert labels["holdfast.model"] == manifest.tag
    assert labels["holdfast.fingerprint"] == manifest.fingerprint
    assert labels["holdfast.content-digest"] == manifest.content_digest
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert config["Entrypoint"][0] in ("bentoml", "holdfast")


@BOTH
def test_files_belong_to_root_and_everybody_may_read_them_only(
    engine: Engine, images: dict[str, Image], target: str
) -> None:
    assert python(engine, images[target], _LOOSE) == []


@BOTH
def test_nothing_tells_where_packages_came_from(engine: Engine, images: dict[str, Image], target: str) -> None:
    values = pip.configured()
    words = [word for name in ("index-url", "extra-index-url", "find-links") for word in values.get(name, "").split()]
    words.append(str(ROOT / "deploy"))
    history = engine("history", "--no-trunc", images[target].name)
    assert [word for word in words if word in history] == []
    assert python(engine, images[target], _SEARCH, *words) == []


@BOTH
def test_the_list_of_parts_is_that_of_the_lock(engine: Engine, images: dict[str, Image], target: str) -> None:
    parts = json.loads(images[target].sbom.read_text())
    assert parts["bomFormat"] == "CycloneDX"
    found = {(_normal(part["name"]), part["version"]) for part in parts["components"]}
    lock = (ROOT / "requirements" / f"{target}.txt").read_text()
    assert found <= {(_normal(name), pin) for name, pin in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    names = {name for name, _ in found}
    assert {"bentoml", "numpy", "xgboost-cpu"} <= names
    assert ("pandas" in names) == (target == "jobs")
    inside = run(engine, images[target].name, "-c", f"print(open({SBOM!r}).read())", options=("--entrypoint=python3",))
    assert json.loads(inside) == parts


def test_the_serving_image_is_small(images: dict[str, Image]) -> None:
    for target, image in images.items():
        told(f"{target}: {image.megabytes:.0f} MB over its base" + (f" (bar: {MOST})" if target == "serving" else ""))
    assert images["serving"].megabytes <= MOST


def test_nothing_but_tmp_can_be_written(engine: Engine, images: dict[str, Image]) -> None:
    program = "import os; print(*[p for p in ('/', '/opt/holdfast', '/etc', '/tmp') if os.access(p, os.W_OK)])"
    assert python(engine, images["serving"], program) == ["/tmp"]  # noqa: S108  # the container's


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--version",), VERSION),
        (("settings",), "HOLDFAST_USECASE"),
        (("models", "list"), "/opt/holdfast/models (HOLDFAST_MODELS)"),
        (("contract", "proto"), "PredictRequest"),
    ],
    ids=["version", "settings", "models", "contract"],
)
def test_the_command_works_in_the_jobs_image(
    engine: Engine, images: dict[str, Image], words: tuple[str, ...], said: str
) -> None:
    assert said in run(engine, images["jobs"].name, *words)
