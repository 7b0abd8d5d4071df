"""What of the chart is made: whether it was made from what is there now, and whether everything is in it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator, meta

from deploy.helm import CHART
from deploy.helm.made import made
from deploy.helm.schema import ELSEWHERE, RULES, schema
from deploy.helm.values import keys
from settings import SECRETS, Settings
from tests.deploy.helm.binary import helm
from tests.deploy.helm.chart import SHAPES


@pytest.mark.parametrize("name", made())
def test_it_is_what_would_be_made_now(name: str) -> None:
    assert (CHART / name).read_text() == made()[name], "run `make chart`"


def test_nothing_else_is_beside_it() -> None:
    assert {f"files/{path.name}" for path in (CHART / "files").iterdir()} == {name for name in made() if "/" in name}


def test_every_value_has_a_sentence() -> None:
    """Its own, or that of the value that it is a part of."""
    told = {key.path for key in keys() if key.told}
    for key in keys():
        parts = key.path.split(".")
        above = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        assert told & above or isinstance(key.default, dict), key.path
        assert not key.told or key.said.endswith((".", ":")), f"{key.path}: {key.said}"


def test_every_rule_is_some_keys() -> None:
    unused = [where for where in RULES if not any(fnmatchcase(key.path, where) for key in keys())]
    assert not unused


def test_it_is_a_schema_and_the_defaults_and_shapes_fit_it() -> None:
    meta.validate(schema())
    validator = Draft202012Validator(schema())
    default: Any = yaml.safe_load((CHART / "values.yaml").read_text())
    validator.validate(default)
    for shape in SHAPES:
        given = yaml.safe_load((CHART / "ci" / f"{shape}-values.yaml").read_text())
        assert not [error.message for error in validator.iter_errors(_over(default, given))], shape


def _over(default: Any, given: Any) -> Any:
    if not isinstance(default, dict) or not isinstance(given, dict):
        return given
    return default | {name: _over(default.get(name), value) for name, value in given.items()}


def _objects(part: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(part, list):
        return [found for each in part for found in _objects(each, path)]
    if not isinstance(part, dict):
        return []
    below = [found for name, each in part.items() for found in _objects(each, f"{path}/{name}")]
    return [(path, part), *below] if "properties" in part and "type" in part else below


def test_no_object_takes_keys_that_it_does_not_know() -> None:
    """Maps of one's own, as labels, take any key but have one form of value."""
    found = _objects(schema())
    assert len(found) > 50
    for path, part in found:
        assert path == "/properties/global" or part.get("additionalProperties") is not None, path
        assert part["additionalProperties"] is not True, path


def test_every_number_has_bounds() -> None:
    def numbers(part: Any, path: str) -> list[str]:
        if isinstance(part, list):
            return [found for each in part for found in numbers(each, path)]
        if not isinstance(part, dict):
            return []
        unbounded = part.get("type") in ("integer", "number", ["number", "string"]) and "minimum" not in part
        own = [path] if unbounded else []
        return own + [found for name, each in part.items() for found in numbers(each, f"{path}/{name}")]

    assert not numbers(schema()["properties"], "")


def test_settings_are_those_that_there_are() -> None:
    known: Any = schema()["properties"]["settings"]["properties"]
    assert set(known) == set(Settings.model_fields)
    assert set(ELSEWHERE) <= set(Settings.model_fields)
    assert set(ELSEWHERE) >= SECRETS
    for name in set(known) - set(ELSEWHERE):
        assert known[name]["description"] == Settings.model_fields[name].description


def test_a_package_has_what_is_needed_and_no_more(tmp_path: Path) -> None:
    subprocess.run([helm(), "package", str(CHART), "--destination", str(tmp_path)], check=True, capture_output=True)
    (packed,) = tmp_path.iterdir()
    with tarfile.open(packed) as tar:
        names = {name.removeprefix("holdfast/") for name in tar.getnames()}
    assert set(made()) | {"Chart.yaml", "values.yaml", "templates/NOTES.txt"} <= names
    assert not [name for name in names if name.startswith("ci/")]
    assert packed.stat().st_size < 500_000  # a release's record holds it, and a Secret takes a megabyte


def test_dashboards_are_json() -> None:
    for name, content in made().items():
        if name.startswith("files/") and name.endswith(".json"):
            assert json.loads(content)["uid"]
