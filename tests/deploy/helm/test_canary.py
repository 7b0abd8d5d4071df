"""Two versions side by side: what the canary runs, what it leaves alone, how it is promoted and how it goes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.helm.chart import Object, names, notes, one, render
from tests.deploy.helm.kubernetes import hooks, pods, selected

STABLE = (
    "registry.example.com/shop/holdfast-serving@sha256:1129ae7f7a73d4517322bb54e34f2c3c9f90217f0f9f8f1851b2dddebdd40c70"
)
CANARY = (
    "registry.example.com/shop/holdfast-serving@sha256:6d6fb91139a9cffaca79f5979511534fae57f027778841837326d8001e9b7c48"
)
HEX = "d" * 64


def _template(objects: list[Object], name: str) -> dict[str, Any]:
    template: dict[str, Any] = one(objects, "Deployment", name)["spec"]["template"]
    return template


def _image(objects: list[Object], name: str) -> str:
    return str(_template(objects, name)["spec"]["containers"][0]["image"])


def _variables(objects: list[Object], name: str) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in _template(objects, name)["spec"]["containers"][0]["env"]}


def test_a_canary_runs_beside_the_stable_pods() -> None:
    objects = render("canary")
    assert (_image(objects, "holdfast"), _image(objects, "holdfast-canary")) == (STABLE, CANARY)
    assert one(objects, "Deployment", "holdfast-canary")["spec"]["replicas"] == 1
    for name, track in (("holdfast", "stable"), ("holdfast-canary", "canary")):
        assert _variables(objects, name)["HOLDFAST_TRACK"] == track
        assert _template(objects, name)["metadata"]["labels"]["holdfast/track"] == track
    assert _variables(objects, "holdfast-canary")["HOLDFAST_IMAGE"] == CANARY.split("@")[1]
    told = _template(objects, "holdfast-canary")["metadata"]["annotations"]
    assert told["holdfast/model"] == "cdnow:20261115-9c8d7e6f"


@pytest.mark.parametrize("shape", ["canary", "gateway"])
def test_a_canary_comes_and_goes_without_touching_the_stable_pods(shape: str) -> None:
    without, beside = render(shape, {"canary": {"enabled": False}}), render(shape)
    kept = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "ConfigMap", "HTTPRoute")
    for each in without:
        if each["kind"] in kept and not hooks(each) and each["metadata"]["name"] != "holdfast-monitor":
            assert one(beside, each["kind"], each["metadata"]["name"]) == each
    assert not names(without, "Deployment") & {"holdfast-canary"}
    assert "holdfast-canary" not in names(without, "Service")


def test_nothing_but_services_and_policies_selects_both() -> None:
    objects = render("canary")
    [canary] = [pod for pod in pods(objects) if pod.owner["metadata"]["name"] == "holdfast-canary"]
    for kind in ("PodDisruptionBudget", "Deployment"):
        selector = one(objects, kind, "holdfast")["spec"]["selector"]
        assert not selected(selector, canary.labels)
    for name, found in (("holdfast-stable", ["holdfast"]), ("holdfast-canary", ["holdfast-canary"])):
        by = one(objects, "Service", name)["spec"]["selector"]
        assert [pod.owner["metadata"]["name"] for pod in pods(objects) if selected(by, pod.labels)] == found


def test_what_the_canary_does_not_say_is_as_the_stable_one() -> None:
    plain = {"image": {"digest": ""}, "jobsImage": {"digest": ""}, "model": {"tag": "", "fingerprint": ""}}
    other = render("canary", {"canary": plain | {"extraEnv": [{"name": "HOLDFAST_MAX_LATENCY_MS", "value": "1"}]}})
    assert _image(other, "holdfast-canary") == STABLE
    told = _template(other, "holdfast-canary")["metadata"]["annotations"]
    assert told["holdfast/model"] == "cdnow:20261101-1a2b3c4d"
    assert _variables(other, "holdfast-canary")["HOLDFAST_MAX_LATENCY_MS"] == "1"
    assert "HOLDFAST_MAX_LATENCY_MS" not in _variables(other, "holdfast")


def test_a_tag_of_the_canary_is_not_outdone_by_the_stable_digest() -> None:
    objects = render("canary", {"canary": {"image": {"digest": "", "tag": "2"}, "model": {"tag": ""}}})
    assert _image(objects, "holdfast-canary") == "registry.example.com/shop/holdfast-serving:2"
    assert _variables(objects, "holdfast-canary")["HOLDFAST_IMAGE"] == "registry.example.com/shop/holdfast-serving:2"
    told = _template(objects, "holdfast-canary")["metadata"]["annotations"]
    assert "holdfast/model" not in told  # another image has another model, and which one was not said


def test_variables_of_the_canary_win_over_those_of_all_servers() -> None:
    """Twice the same name would be refused by a server-side apply."""
    given = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]
    over = {"serving": {"extraEnv": given}, "canary": {"extraEnv": [{"name": "B", "value": "2"}]}}
    objects = render("canary", over)
    env = _template(objects, "holdfast-canary")["spec"]["containers"][0]["env"]
    assert [(each["name"], each.get("value")) for each in env if each["name"] in ("A", "B")] == [("A", "1"), ("B", "2")]
    assert _variables(objects, "holdfast")["B"] == "1"


def test_a_canary_may_be_another_model_of_the_archive() -> None:
    over = {"canary": {"enabled": True, "model": {"tag": "cdnow:20261115-9c8d7e6f", "digest": HEX}}}
    objects = render("archive", over)
    pulled = {
        name: _template(objects, name)["spec"]["initContainers"][0]["args"][-1]
        for name in ("holdfast", "holdfast-canary")
    }
    assert pulled["holdfast"].startswith("cdnow:20261101-1a2b3c4d@sha256:73f9")
    assert pulled["holdfast-canary"] == f"cdnow:20261115-9c8d7e6f@sha256:{HEX}"
    assert _variables(objects, "holdfast-canary")["HOLDFAST_MODEL"] == "cdnow:20261115-9c8d7e6f"
    assert _image(objects, "holdfast-canary") == _image(objects, "holdfast")


@pytest.mark.parametrize("shape", ["canary", "gateway"])
def test_promoted_the_stable_pods_roll_while_the_canary_serves(shape: str) -> None:
    objects = render(shape, {"canary": {"promote": True}})
    assert _image(objects, "holdfast") == _image(objects, "holdfast-canary") == CANARY
    assert one(objects, "Deployment", "holdfast-canary") == one(render(shape), "Deployment", "holdfast-canary")


@pytest.mark.parametrize("shape", ["canary", "gateway"])
def test_after_a_promotion_the_canary_goes_without_another_rollout(shape: str) -> None:
    """With the values that helm tells then, the pods that serve are those that serve already."""
    over = {"canary": {"promote": True}}
    promoted = render(shape, over)
    told = re.findall(r"^   ((?:image|jobsImage|model|canary): \{.*\})$", notes(shape, over), re.MULTILINE)
    after = render(shape, yaml.safe_load("\n".join(told)))
    assert one(after, "Deployment", "holdfast") == one(promoted, "Deployment", "holdfast")
    assert one(after, "Job", "holdfast-materialize-now") == one(promoted, "Job", "holdfast-materialize-now")
    assert "holdfast-canary" not in names(after, "Deployment")


def test_a_promoted_model_of_the_archive_is_what_stable_pods_pull() -> None:
    model = {"tag": "cdnow:20261115-9c8d7e6f", "digest": HEX}
    promoted = render("archive", {"canary": {"enabled": True, "promote": True, "model": model}})
    after = render("archive", {"model": model})
    assert one(promoted, "Deployment", "holdfast") == one(after, "Deployment", "holdfast")
