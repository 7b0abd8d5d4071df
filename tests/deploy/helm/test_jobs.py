"""Jobs on a schedule: what each runs, with what, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.retrain import EXIT
from tests.deploy.files import ALERTS
from tests.deploy.helm.chart import CHART, SHAPES, Object, names, one, render
from tests.deploy.helm.commands import containers, parsed
from tests.deploy.helm.kubernetes import named, pods

JOBS = "registry.example.com/shop/holdfast-jobs@"
OTHER = "sha256:" + "b" * 64
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
CRON = {"holdfast-ingest", "holdfast-materialize", "holdfast-materialize-earlier", "holdfast-retrain", "holdfast-score"}


def _job(objects: list[Object], name: str) -> dict[str, Any]:
    """The Job that a CronJob makes."""
    found: dict[str, Any] = one(objects, "CronJob", name)["spec"]["jobTemplate"]["spec"]
    return found


def _args(objects: list[Object], name: str) -> list[str]:
    args: list[str] = _job(objects, name)["template"]["spec"]["containers"][0]["args"]
    return args


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "minimal"])
def test_every_command_is_one_that_holdfast_has(shape: str) -> None:
    found = [parsed(container["args"])[0] for _, container in containers(render(shape))]
    assert "rollout check" in found
    assert ("migrate" in found) == (shape != "attributes"), "it has no store to bring up to date"


def test_a_command_that_holdfast_lacks_is_found() -> None:
    with pytest.raises(Exception, match="--fersh"):
        parsed(["materialize", "--fersh", "36"])


def test_jobs_run_one_at_a_time_and_not_for_ever() -> None:
    objects = render("production")
    assert names(objects, "CronJob") == CRON
    for name in CRON:
        cron = one(objects, "CronJob", name)["spec"]
        about = VALUES["jobs"][name.removeprefix("holdfast-").removesuffix("-earlier")]
        assert (cron["schedule"], cron["timeZone"]) == (about["schedule"], "Etc/UTC")
        assert cron["concurrencyPolicy"] == "Forbid"
        assert cron["startingDeadlineSeconds"] > 10, "the controller looks every ten seconds"
        assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (1, 3)
        job = _job(objects, name)
        assert job["activeDeadlineSeconds"] == about["deadlineSeconds"]
        assert job["template"]["spec"]["restartPolicy"] == "Never"
        assert 1 <= job["backoffLimit"] <= 3


def test_a_drained_node_is_no_failure_and_a_wrong_command_line_is_not_tried_again() -> None:
    for each in render("production"):
        if each["kind"] in ("CronJob", "Job"):
            job = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
            drained, wrong = job["podFailurePolicy"]["rules"]
            assert drained["action"] == "Ignore"
            assert drained["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            assert wrong["action"] == "FailJob"
            assert 2 in wrong["onExitCodes"]["values"]
            assert 1 not in wrong["onExitCodes"]["values"], "what fails may go well at another time"


def test_a_model_that_is_refused_is_neither_tried_again_nor_a_failed_job() -> None:
    """HoldfastJobFailed is about any Job that failed: so the command ends with 0 where the gate refused."""
    assert "kube_job_failed" in ALERTS["HoldfastJobFailed"]["expr"]
    for asked in (True, False):
        objects = render("production", {"jobs": {"retrain": {"whenAsked": asked}}})
        command, told = parsed(_args(objects, "holdfast-retrain"))
        assert (command, told["usecase"], told["scheduled"], told["push"]) == ("retrain", "cdnow", True, True)
        assert (told["when_asked"], told["promote"], told["cooldown"]) == (asked, False, 24)
        final = _job(objects, "holdfast-retrain")["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
        assert {EXIT["refused"], EXIT["busy"]} <= set(final)
    objects = render("production", {"jobs": {"retrain": {"promote": True, "cooldownHours": 0.5}}})
    told = parsed(_args(objects, "holdfast-retrain"))[1]
    assert (told["promote"], told["cooldown"]) == (True, 0.5)


def test_addresses_with_a_password_are_in_files() -> None:
    objects = render("production")
    for name, path, key in (("ingest", "source-url", "source"), ("score", "scores-url", "scores")):
        assert f"@/etc/holdfast/secrets/{path}" in _args(objects, f"holdfast-{name}")
        (volume,) = (
            volume["projected"]["sources"]
            for volume in _job(objects, f"holdfast-{name}")["template"]["spec"]["volumes"]
            if volume["name"] == "secrets"
        )
        there = [(source["secret"]["name"], source["secret"]["items"]) for source in volume]
        assert ("holdfast-stores", [{"key": key, "path": path}]) in there


def test_what_is_no_secret_is_said_as_it_is() -> None:
    url = "postgresql://reader@shop.example.com/shop"
    objects = render("production", {"jobs": {"ingest": {"url": url, "secret": None, "table": ""}}})
    told = parsed(_args(objects, "holdfast-ingest"))[1]
    assert (told["source"], told["table_name"], told["wait"]) == (url, None, 3300)
    objects = render("archive", {"jobs": {"score": {"enabled": True, "to": "/archive/scores"}}})
    told = parsed(_args(objects, "holdfast-score"))[1]
    assert (told["out_directory"], told["to"]) == (Path("/archive/scores"), None)


def test_the_model_that_scores_is_the_one_that_is_served() -> None:
    def model(**over: Any) -> Any:
        return parsed(_args(render("production", over), "holdfast-score"))[1]["model"]

    assert model() == "cdnow:20261101-1a2b3c4d"
    assert model(model={"tag": ""}) is None, "then the champion's"
    canary = {"enabled": True, "promote": True, "image": {"digest": OTHER}, "model": {"tag": "cdnow:2"}}
    assert model(canary=canary) == "cdnow:2"


def test_only_what_needs_models_has_the_archive() -> None:
    archive = {"url": "file:///archive", "claim": "models", "credentials": "keys"}
    objects = render("production", {"stores": {"archive": archive}})
    had = set()
    for pod in pods(objects):
        volumes = {volume["name"] for volume in pod.spec["volumes"]}
        variables = {each.get("secretRef", {}).get("name") for c in pod.containers for each in c.get("envFrom", [])}
        assert ("archive" in volumes) == ("keys" in variables), named(pod.owner)
        if "archive" in volumes:
            had.add(pod.owner["metadata"]["name"])
    assert had == {"holdfast-monitor", "holdfast-retrain", "holdfast-score"}


def test_jobs_and_the_monitor_run_where_they_may() -> None:
    tolerations = [{"key": "jobs", "operator": "Exists", "effect": "NoSchedule"}]
    objects = render("production", {"jobs": {"nodeSelector": {"pool": "jobs"}, "tolerations": tolerations}})
    for pod in pods(objects):
        here = pod.labels["app.kubernetes.io/component"] != "serving"
        assert (pod.spec.get("nodeSelector") == {"pool": "jobs"}) == here, named(pod.owner)
        assert (pod.spec.get("tolerations") == tolerations) == here, named(pod.owner)


def kept_up(objects: list[Object]) -> dict[str, str]:
    """Which image keeps up which rows: digests by the CronJob's own part of the name."""
    found = {}
    for name in names(objects, "CronJob"):
        if name.startswith("holdfast-materialize"):
            image = _job(objects, name)["template"]["spec"]["containers"][0]["image"]
            found[name.removeprefix("holdfast-materialize").removeprefix("-")] = image.removeprefix(JOBS)
    return found


STABLE = "sha256:aabef8a6fcb87e165acad6602412a6f1d99295df7a061d678b21ed8d014553d6"
TRIED = "sha256:a4768163257d9f60da9270ee6f58387f979ce3a50c3a4662c1d86a43c66660b9"


@pytest.mark.parametrize(
    ("shape", "over", "wanted"),
    [
        ("minimal", {}, {}),
        ("monitoring-off", {}, {"": STABLE}),
        ("monitoring-off", {"jobs": {"materialize": {"enabled": False}}}, {}),
        ("production", {}, {"": STABLE, "earlier": TRIED}),
        ("production", {"jobs": {"materialize": {"also": [{"name": "same", "image": JOBS + OTHER, "fingerprint":
            "9177153968bee8f4d7e2a13cb3c57da50cbb3c438ffa79f271fcdaa642e32fad"}]}}}, {"": STABLE}),
        ("canary", {}, {"": STABLE, "canary": TRIED}),
        ("canary", {"canary": {"promote": True}}, {"": TRIED, "former": STABLE}),
        ("canary", {"canary": {"model": {"fingerprint": ""}, "jobsImage": {"digest": ""}}}, {"": STABLE}),
        ("canary", {"canary": {"model": {"fingerprint": ""}}}, {"": STABLE, "canary": TRIED}),
        ("gateway", {}, {"": STABLE}),
        ("production", {"events": False, "jobs": {"ingest": {"table": ""}}}, {}),
    ],
)  # fmt: skip
def test_rows_are_kept_up_of_all_that_is_live_or_can_be_gone_back_to(
    shape: str, over: dict[str, Any], wanted: dict[str, str]
) -> None:
    assert kept_up(render(shape, over)) == wanted


def test_materializations_wait_for_each_other_as_long_as_they_may_run() -> None:
    objects = render("canary", {"jobs": {"materialize": {"deadlineSeconds": 1_200_000}}})
    for name in ("holdfast-materialize", "holdfast-materialize-canary"):
        command, told = parsed(_args(objects, name))
        assert (command, told["wait"], told["fresh"], told["full"]) == ("materialize", 1_200_000, None, False)


def test_a_name_of_a_cronjob_is_cut_and_stays_its_own() -> None:
    also = [{"name": f"release-{number}", "image": JOBS + OTHER, "fingerprint": f"{number}" * 64} for number in (1, 2)]
    found = names(render("production", {"jobs": {"materialize": {"also": also}}}, name="a" * 53), "CronJob")
    assert len(found) == 6
    assert all(len(name) <= 52 and "holdfast" in name for name in found)
