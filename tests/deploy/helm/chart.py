"""The chart as helm renders it: what the tests of deploy/helm ask for.

A test names a shape (`production` for ci/production-values.yaml) or gives values of its own, or both: what differs.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cli.workspace import ROOT
from tests.deploy.helm.binary import helm

Values = Mapping[str, Any]
Object = dict[str, Any]
"""A Kubernetes object. Renderings are shared between tests: nobody changes one."""

CHART = ROOT / "deploy" / "helm" / "holdfast"
SHAPES = tuple(sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml")))
"""What is in ci/: the shapes that the chart supports."""


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # yaml is published without types
    """YAML as an API server takes it: a key that comes twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in seen if seen.count(key) > 1}
        assert not twice, f"twice in one mapping: {twice}, {node.start_mark}"
        return dict(super().construct_mapping(node, deep=deep))


def render(
    values: Values | str,
    over: Values | None = None,
    *,
    name: str = "holdfast",
    namespace: str = "shop",
    kube: str = "1.34",
    is_upgrade: bool = False,
    apis: Sequence[str] = (),
) -> list[Object]:
    """The objects of a release, hooks and test among them.

    Args:
        values: a shape's name, or values; over: values that win over them, key by key;
        name, namespace: the release's; kube: the cluster's version; is_upgrade: whether it is there already;
        apis: what the cluster offers beside Kubernetes' own, as `monitoring.coreos.com/v1`.

    Raises:
        AssertionError: with helm's message, where it refuses.
    """
    words = ["--kube-version", kube, *(["--is-upgrade"] if is_upgrade else [])]
    for api in apis:
        words += ["--api-versions", api]
    return _rendered(name, namespace, *_given(values, over), *words)


def text(values: Values | str, over: Values | None = None) -> str:
    """What helm prints of it: rendered anew each time.

    Raises:
        AssertionError: with helm's message, where it refuses.
    """
    ran = _template("holdfast", "shop", *_given(values, over))
    assert not ran.returncode, ran.stderr
    return ran.stdout


def refused(values: Values | str, over: Values | None = None) -> str:
    """helm's message about values that it must not take."""
    ran = _template("holdfast", "shop", *_given(values, over))
    assert ran.returncode, "helm takes these values"
    return ran.stderr


def notes(values: Values | str, over: Values | None = None) -> str:
    """What helm prints at the end of an install.

    Raises:
        AssertionError: with helm's message, where it refuses.
    """
    shape, own = _given(values, over)
    ran = _helm(["install", "holdfast", str(CHART), "--namespace", "shop", "--dry-run=client"], shape, own)
    assert not ran.returncode, ran.stderr
    return ran.stdout.partition("\nNOTES:\n")[2]


def lint(values: Values | str, over: Values | None = None, *, kube: str = "1.34") -> str:
    """`helm lint --strict`, which must be content; what it says.

    Raises:
        AssertionError: with helm's message.
    """
    shape, own = _given(values, over)
    ran = _helm(["lint", str(CHART), "--strict", "--kube-version", kube], shape, own)
    assert not ran.returncode, ran.stdout + ran.stderr
    return ran.stdout


def one(objects: Sequence[Object], kind: str, name: str) -> Object:
    """The object of that kind and name.

    Raises:
        AssertionError: if there is none, or more; tells what there is.
    """
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    there = sorted(f"{each['kind']} {each['metadata']['name']}" for each in objects)
    assert len(found) == 1, f"{len(found)} of {kind} {name}; there are {', '.join(there)}"
    return found[0]


def names(objects: Sequence[Object], kind: str) -> set[str]:
    """Of what there is of a kind."""
    return {each["metadata"]["name"] for each in objects if each["kind"] == kind}


def _given(values: Values | str, over: Values | None) -> tuple[str, str]:
    """A shape, or none, and values as JSON."""
    if isinstance(values, str):
        return values, json.dumps(over or {})
    assert over is None, "values over values: merge them"
    return "", json.dumps(values)


@functools.cache
def _rendered(name: str, namespace: str, shape: str, values: str, *words: str) -> list[Object]:
    ran = _template(name, namespace, shape, values, *words)
    assert not ran.returncode, ran.stderr
    return [each for each in yaml.load_all(ran.stdout, _Loader) if each is not None]


def _template(name: str, namespace: str, shape: str, values: str, *words: str) -> subprocess.CompletedProcess[str]:
    return _helm(["template", name, str(CHART), "--namespace", namespace, *words], shape, values)


def _helm(command: Sequence[str], shape: str, values: str) -> subprocess.CompletedProcess[str]:
    files = ["--values", str(CHART / "ci" / f"{shape}-values.yaml")] if shape else []
    return subprocess.run(
        [helm(), *command, *files, "--values", "-"], input=values, capture_output=True, text=True, check=False
    )
