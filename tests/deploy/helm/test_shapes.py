"""Every shape of ci/: what must hold of all objects, whatever component they are of."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml

from deploy.helm.values import keys
from tests.deploy.helm.chart import CHART, SHAPES, Object, lint, render, text
from tests.deploy.helm.kubernetes import VERSIONS, hooks, named, pods, problems

LONGEST = "a" * 53
"""helm takes no longer name of a release."""

WANTED = {
    "minimal",
    "attributes",
    "production",
    "archive",
    "canary",
    "keda",
    "gateway",
    "postgresql-redis",
    "monitoring-off",
}


def test_every_shape_is_there() -> None:
    assert set(SHAPES) == WANTED


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_finds_nothing_to_warn_of(shape: str) -> None:
    told = lint(shape)
    assert "[WARNING]" not in told
    assert "[ERROR]" not in told


def test_without_values_helm_finds_nothing_either() -> None:
    """Refusals do not end `helm lint`, which tells them beside what it finds: what they are about has to render."""
    assert "[ERROR]" not in lint({})


@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_is_one_of_its_kind(version: str) -> None:
    """By the schemas of that version of Kubernetes, whichever of them helm was told."""
    told = (VERSIONS[0], VERSIONS[-1])
    everything = (each for kube in told for shape in SHAPES for each in render(shape, kube=kube))
    distinct = {json.dumps(each, sort_keys=True): each for each in everything}
    wrong = [problem for each in distinct.values() for problem in problems(each, version)]
    assert not wrong, "\n".join(wrong)
    assert len(distinct) > 50


def test_a_field_that_is_none_of_its_kind_is_found() -> None:
    """The proof that the schemas are strict."""
    for each in copy.deepcopy([*render("production"), *render("gateway"), *render("keda")]):
        for where in (each, each["metadata"], each.get("spec")):
            if where:
                where["holdfastTypo"] = 1
                assert problems(each, VERSIONS[-1]), named(each)
                del where["holdfastTypo"]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_renders_the_same_twice(shape: str) -> None:
    """Else each upgrade would replace every pod, and GitOps would never be at rest."""
    assert text(shape) == text(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_object_comes_twice(shape: str) -> None:
    """Hooks of different moments may share a name: the later one replaces the earlier."""
    seen: dict[tuple[str, str], list[Object]] = {}
    for each in render(shape):
        seen.setdefault((each["kind"], each["metadata"]["name"]), []).append(each)
    for objects in seen.values():
        moments = [hooks(each) for each in objects]
        assert len(objects) == 1 or all(moments), named(objects[0])
        assert sum(map(len, moments)) == len(set[str]().union(*moments)), named(objects[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_object_has_the_labels(shape: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())
    wanted = {
        "app.kubernetes.io/name": "holdfast",
        "app.kubernetes.io/instance": "shop-scores",
        "app.kubernetes.io/version": version["appVersion"],
        "app.kubernetes.io/part-of": "holdfast",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": f"holdfast-{version['version']}",
        "cost-centre": "scores",
    }
    objects = render(shape, {"commonLabels": {"cost-centre": "scores"}}, name="shop-scores")
    for each in objects:
        assert wanted.items() <= each["metadata"]["labels"].items(), named(each)
        assert each["metadata"].get("namespace", "shop") == "shop", named(each)
    for pod in pods(objects):
        assert pod.labels["app.kubernetes.io/instance"] == "shop-scores", named(pod.owner)
        assert pod.labels["app.kubernetes.io/component"] in ("serving", "monitor", "job"), named(pod.owner)


@pytest.mark.parametrize("name", [LONGEST, "h", "holdfast", f"{'b' * 44}-holdfast"])
@pytest.mark.parametrize("shape", ["production", "canary", "gateway"])
def test_names_are_short_enough_and_tell_what_they_are(shape: str, name: str) -> None:
    """63 for a Service and a label; 52 for a CronJob, whose Jobs have eleven more: as Kubernetes says of them."""
    for each in render(shape, name=name):
        own = each["metadata"]["name"]
        assert len(own) <= (52 if each["kind"] == "CronJob" else 63), named(each)
        assert re.fullmatch("[a-z]([a-z0-9-]*[a-z0-9])?", own), named(each)
        assert "holdfast" in own, named(each)
        for value in each["metadata"]["labels"].values():
            assert re.fullmatch("([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", value), named(each)


@pytest.mark.parametrize("shape", SHAPES)
def test_two_releases_in_one_namespace_share_nothing(shape: str) -> None:
    one, other = (
        {(each["kind"], each["metadata"]["name"]) for each in render(shape, name=name)} for name in ("shop", "scores")
    )
    assert not one & other


@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_exact(shape: str) -> None:
    for pod in pods(render(shape)):
        for container in pod.containers:
            assert re.fullmatch(
                r"registry\.example\.com/shop/holdfast-(serving|jobs)@sha256:[0-9a-f]{64}", container["image"]
            )
            assert container["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_container_is_bounded(shape: str) -> None:
    for pod in pods(render(shape)):
        for container in pod.containers:
            for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
                assert set(amounts) == {"cpu", "memory", "ephemeral-storage"}, (named(pod.owner), container["name"])
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], (named(pod.owner), volume["name"])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_job_ends(shape: str) -> None:
    """A deadline, a number of tries, and an end of what is left of it."""
    for each in render(shape):
        job: dict[str, Any] | None = {"Job": each, "CronJob": each.get("spec", {}).get("jobTemplate")}.get(each["kind"])
        if job is not None:
            spec = job["spec"]
            assert spec["activeDeadlineSeconds"] > 0, named(each)
            assert spec["backoffLimit"] >= 0, named(each)
            assert spec["template"]["spec"]["restartPolicy"] in ("Never", "OnFailure"), named(each)
        if each["kind"] == "CronJob":
            assert each["spec"]["concurrencyPolicy"] == "Forbid", named(each)
            assert {"successfulJobsHistoryLimit", "failedJobsHistoryLimit", "startingDeadlineSeconds"} <= set(
                each["spec"]
            )


@pytest.mark.parametrize("shape", SHAPES)
def test_null_is_as_if_it_were_not_given(shape: str) -> None:
    """It is how one takes a value back that another file gave; templates must not stumble over what is not there."""
    given: Any = yaml.safe_load((CHART / "ci" / f"{shape}-values.yaml").read_text())
    over: dict[str, Any] = {}
    for key in keys():
        *above, last = key.path.split(".")
        if key.default in ("", [], {}) and not _has(given, key.path):
            into = over
            for part in above:
                into = into.setdefault(part, {})
            into[last] = None
    assert over
    assert render(shape, over) == render(shape)


def test_a_number_in_quotes_is_that_number() -> None:
    """helm's `--set` makes 0.02 a string."""

    def numbers(of: type) -> dict[str, Any]:
        judge = {"errors": of(0.02), "latency": of(1.25), "scores": of(0.5)}
        jobs = {"materialize": {"freshHours": of(0.5)}, "retrain": {"cooldownHours": of(1.5)}}
        return {
            "serving": {"drainSeconds": of(5.5)},
            "canary": {"enabled": True, "image": {"tag": "2", "digest": ""}, "judge": judge},
            "jobs": jobs,
            "monitor": {"skewShare": of(0.25)},
            "settings": {"predictions_sample": of(0.5)},
        }

    assert render("production", numbers(str)) == render("production", numbers(float))


def _has(given: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(given, dict) or part not in given:
            return False
        given = given[part]
    return True
