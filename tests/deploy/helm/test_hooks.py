"""What runs around an install, an upgrade and a rollback: in which order, with what, and what stays of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.helm.chart import SHAPES, Object, names, one, render
from tests.deploy.helm.commands import parsed
from tests.deploy.helm.kubernetes import hooks, named, pods, selected

BEFORE = {"pre-install", "pre-upgrade"}
TELCO = {"usecase": "telco", "events": False, "model": {"tag": "telco:1"}}
WITH_JOBS = [shape for shape in SHAPES if shape != "minimal"]
CANARY = "sha256:a4768163257d9f60da9270ee6f58387f979ce3a50c3a4662c1d86a43c66660b9"


def _weight(each: Object) -> int:
    return int(each["metadata"]["annotations"]["helm.sh/hook-weight"])


def _container(each: Object) -> dict[str, Any]:
    (pod,) = pods([each])
    (container,) = pod.containers
    return container


def test_tables_are_there_before_rows_and_rows_before_servers() -> None:
    objects = render("canary")
    assert {name: hooks(one(objects, "Job", name)) for name in names(objects, "Job")} == {
        "holdfast-migrate": BEFORE,
        "holdfast-migrate-canary": BEFORE,
        "holdfast-materialize-now": {*BEFORE, "pre-rollback"},
        "holdfast-materialize-canary-now": {*BEFORE, "pre-rollback"},
        "holdfast-judge": {"post-install", "post-upgrade"},
    }
    order = sorted((each for each in objects if hooks(each) & BEFORE), key=_weight)
    assert [named(each) for each in order if each["kind"] == "Job"] == [
        "Job holdfast-migrate",
        "Job holdfast-migrate-canary",
        "Job holdfast-materialize-now",
        "Job holdfast-materialize-canary-now",
    ]
    assert order[0]["kind"] == "NetworkPolicy", "without it none of them could connect, once policies are there"
    after = [each for each in objects if hooks(each) & {"post-install", "post-upgrade"}]
    assert max(after, key=_weight)["metadata"]["name"] == "holdfast-judge"


@pytest.mark.parametrize("shape", WITH_JOBS)
def test_hooks_need_nothing_of_the_release(shape: str) -> None:
    """At an install nothing of it is there when they run, and at an upgrade what is there is the former one's."""
    objects = render(shape)
    own = {each["metadata"]["name"] for each in objects if not hooks(each)}
    settings = one(objects, "ConfigMap", "holdfast-settings")["data"]
    for pod in pods([each for each in objects if hooks(each) & BEFORE]):
        assert "serviceAccountName" not in pod.spec
        assert pod.spec["automountServiceAccountToken"] is False
        (container,) = pod.containers
        assert not any("configMapRef" in each for each in container.get("envFrom", []))
        sources = [each for volume in pod.spec["volumes"] for each in volume.get("projected", {}).get("sources", [])]
        assert {source["secret"]["name"] for source in sources}.isdisjoint(own)
        assert all(volume.keys() <= {"name", "emptyDir", "projected"} for volume in pod.spec["volumes"])
        told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        assert settings.items() <= told.items(), "the same settings, said in another place"


@pytest.mark.parametrize("shape", WITH_JOBS)
def test_a_hook_that_failed_stays_for_its_log_and_not_for_ever(shape: str) -> None:
    objects = render(shape, {"jobs": {"ttlSeconds": 1_000_000}})
    assert names(objects, "Pod")
    assert bool(names(objects, "Job")) == (shape != "attributes"), "it has no store to bring up to date"
    for each in objects:
        if each["kind"] in ("Job", "Pod"):
            assert each["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
            assert "hook-failed" in each["metadata"]["annotations"]["helm.sh/hook-output-log-policy"]
        if each["kind"] == "Job":
            assert each["spec"]["ttlSecondsAfterFinished"] == 1_000_000
            assert each["spec"]["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("shape", WITH_JOBS)
def test_policies_let_hooks_and_tests_connect(shape: str) -> None:
    objects = render(shape)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    for pod in pods([each for each in objects if hooks(each)]):
        mine = [each for each in policies if selected(each["spec"]["podSelector"], pod.labels)]
        before = {hook for hook in hooks(pod.owner) if hook.startswith("pre-")}
        for hook in before:
            assert any(hook in hooks(each) and each["spec"]["egress"] for each in mine), (named(pod.owner), hook)
        if not before:
            assert any(not hooks(each) and "holdfast-jobs" in each["metadata"]["name"] for each in mine)


def test_before_a_rollback_rows_are_looked_at_and_computed_only_if_they_are_old() -> None:
    objects = render("canary")
    command, told = parsed(_container(one(objects, "Job", "holdfast-materialize-now"))["args"])
    assert (command, told["fresh"], told["wait"], told["full"]) == ("materialize", 36, 3300, False)
    canary = _container(one(objects, "Job", "holdfast-materialize-canary-now"))
    assert canary["image"].endswith(CANARY)
    always = render("canary", {"jobs": {"materialize": {"freshHours": 0, "deadlineSeconds": 600}}})
    told = parsed(_container(one(always, "Job", "holdfast-materialize-now"))["args"])[1]
    assert (told["fresh"], told["wait"]) == (0, 600)


@pytest.mark.parametrize(
    ("shape", "over", "wanted"),
    [
        ("minimal", {}, set()),
        ("production", {}, {"migrate", "materialize-now"}),
        ("production", {"jobs": {"migrate": {"enabled": False}, "materialize": {"enabled": False}}}, set()),
        ("production", TELCO, {"migrate"}),
        ("gateway", {}, {"migrate", "materialize-now", "judge"}),
        ("gateway", {"canary": {"judge": {"enabled": False}}}, {"migrate", "materialize-now"}),
        ("gateway", {"canary": {"promote": True}}, {"migrate", "materialize-now"}),
        ("canary", {"canary": {"promote": True}}, {"migrate", "materialize-now"}),
    ],
)
def test_hooks_are_those_that_have_something_to_do(shape: str, over: dict[str, Any], wanted: set[str]) -> None:
    found = {name.removeprefix("holdfast-") for name in names(render(shape, over), "Job")}
    assert found == wanted


def test_without_a_store_there_is_nothing_to_migrate() -> None:
    jobs = {"repository": "registry.example.com/shop/holdfast-jobs", "digest": CANARY}
    objects = render("minimal", {"jobsImage": jobs, "monitor": {"enabled": False}})
    assert names(objects, "Job") == set()
    assert names(objects, "Pod") == {"holdfast-test"}


def test_a_promoted_version_brings_its_own_jobs_image() -> None:
    objects = render("canary", {"canary": {"promote": True}})
    for name in ("holdfast-migrate", "holdfast-materialize-now"):
        assert _container(one(objects, "Job", name))["image"].endswith(CANARY)


def test_the_judge_is_told_what_a_canary_may_be_worse_by_and_tries_once() -> None:
    judge = {"seconds": 600, "minimum": 1_000_000, "insufficient": "pass", "errors": 0, "latency": 2, "scores": 0.25}
    each = one(render("canary", {"canary": {"judge": judge}}), "Job", "holdfast-judge")
    command, told = parsed(_container(each)["args"])
    assert command == "rollout judge"
    assert {name: told[name] for name in judge} == judge
    assert told["places"] == ["holdfast-metrics:3002"]
    assert each["spec"]["backoffLimit"] == 0
    assert each["spec"]["activeDeadlineSeconds"] > 600
    assert not any(volume["name"] == "secrets" for volume in each["spec"]["template"]["spec"]["volumes"])


def test_helm_test_asks_each_version_by_itself() -> None:
    objects = render("canary")
    for track, model in (("stable", "cdnow:20261101-1a2b3c4d"), ("canary", "cdnow:20261115-9c8d7e6f")):
        pod = one(objects, "Pod", "holdfast-test" + ("-canary" if track == "canary" else ""))
        assert hooks(pod) == {"test"}
        command, told = parsed(_container(pod)["args"])
        assert command == "rollout check"
        assert (told["url"], told["grpc"], told["model"]) == (
            f"http://holdfast-{track}:3000", f"holdfast-{track}:3001", model
        )  # fmt: skip
        assert one(objects, "Service", f"holdfast-{track}")["spec"]["selector"]["holdfast/track"] == track


def test_helm_test_has_a_key_of_its_own_and_the_servers_certificate() -> None:
    objects = render("production", {"serving": {"service": {"port": 443}}})
    pod = one(objects, "Pod", "holdfast-test")
    told = parsed(_container(pod)["args"])[1]
    assert told["url"] == "https://holdfast:443"
    assert str(told["key_file"]) == "/etc/holdfast/secrets/test-key"
    assert str(told["cacert"]) == "/etc/holdfast/secrets/tls.crt"
    (sources,) = (v["projected"]["sources"] for v in pod["spec"]["volumes"] if v["name"] == "secrets")
    assert [(each["secret"]["name"], each["secret"]["items"]) for each in sources] == [
        ("holdfast-test-key", [{"key": "key", "path": "test-key"}]),
        ("holdfast-tls", [{"key": "tls.crt", "path": "tls.crt"}]),
    ], "neither the private key nor anybody else's"
