"""What Kubernetes says of objects: its published schemas, and where the pods are in them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jsonschema_rs import Draft202012Validator, Registry

from tests.deploy.helm.chart import Object
from tests.deploy.helm.custom import SCHEMAS

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")


def problems(each: Object, version: str) -> list[str]:
    """What is wrong with an object, strictly: a field that its schema does not know is a problem too.

    Built-in kinds are held against the schemas that the package kubernetes-validate carries, custom ones against ours.
    """
    found = _validator(each["apiVersion"], each["kind"], version).iter_errors(each)
    return [f"{named(each)}: /{'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]


@functools.cache
def _validator(api: str, kind: str, version: str) -> Draft202012Validator:
    if (api, kind) in SCHEMAS:
        return Draft202012Validator(SCHEMAS[api, kind])
    group, _, of_group = api.rpartition("/")
    name = "-".join([kind.lower(), *([group.partition(".")[0]] if group else []), of_group])
    return Draft202012Validator(_published(version, name), registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Registry:
    definitions = _published(version, "_definitions")
    return Registry([(definitions["$id"], definitions)])


def _published(version: str, name: str) -> Any:
    package = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return json.loads((package / f"v{version}.0-local-strict" / f"{name}.json").read_text())


def named(each: Object) -> str:
    """KIND NAME, for messages."""
    return f"{each['kind']} {each['metadata']['name']}"


@dataclass(frozen=True)
class Pod:
    """A pod, or a template of pods.

    Args:
        owner: the object that it is in; metadata, spec: as Kubernetes has them.
    """

    owner: Object
    metadata: dict[str, Any]
    spec: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.metadata.get("labels", {}))

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Of all kinds."""
        kinds = ("initContainers", "containers", "ephemeralContainers")
        return [container for kind in kinds for container in self.spec.get(kind, [])]


_TEMPLATES = {"CronJob": ("spec", "jobTemplate", "spec", "template"), "Pod": ()}
_WITH_PODS = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet")


def pods(objects: Sequence[Object]) -> Iterator[Pod]:
    """Every pod and every template."""
    for each in objects:
        if each["kind"] in _WITH_PODS:
            found = each
            for key in _TEMPLATES.get(each["kind"], ("spec", "template")):
                found = found[key]
            yield Pod(each, found["metadata"] if found is each else found.get("metadata", {}), found["spec"])


def selected(by: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, or a Service's plain map, selects these labels; an empty one selects all."""
    assert "matchExpressions" not in by, "not needed so far"
    wanted = by.get("matchLabels", by if by and all(isinstance(value, str) for value in by.values()) else {})
    return all(labels.get(name) == value for name, value in wanted.items())


def hooks(each: Object) -> set[str]:
    """The moments at which helm makes an object; empty for those of the release itself."""
    said = each["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return {hook.strip() for hook in said.split(",") if hook.strip()}
