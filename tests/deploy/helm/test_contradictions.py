"""Values that cannot work together, each told with what is wrong and what to do; and all of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.helm.chart import refused, render

EMPTY: dict[str, Any] = {"url": "", "secret": None}
NOWHERE = {"secret": None, "url": "none:"}
KEDA = {"enabled": True, "kind": "keda"}
CANARY = {"image": {"digest": ""}, "model": {"tag": "", "fingerprint": ""}}

SMALL = {"serving": {"resources": {which: {"memory": "200Mi"} for which in ("requests", "limits")}}}


def _resources(of: str, which: str, **amounts: object) -> dict[str, Any]:
    return {of: {"resources": {which: amounts}}}


WRONG: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("minimal", {"image": {"repository": ""}}, ("image.repository is empty", "holdfast release")),
    ("minimal", {"image": {"digest": ""}}, ("image.tag and image.digest are empty", "give the digest")),
    ("archive", {"jobsImage": {"digest": ""}}, ("jobsImage.tag and jobsImage.digest are empty",)),
    ("monitoring-off", {"stores": {"online": EMPTY}}, ("stores.online is empty", "events is true", "events to false")),
    (
        "monitoring-off",
        {
            "stores": {"events": EMPTY},
            "settings": {"online_read": "on-read"},
            "jobs": {"materialize": {"enabled": False}},
        },
        ("stores.events is empty", "on-read"),
    ),
    ("archive", {"model": {"digest": ""}}, ("model.tag and model.digest", "models push")),
    ("archive", {"stores": {"archive": {"url": "", "claim": ""}}}, ("stores.archive is empty", "model.source")),
    ("archive", {"stores": {"archive": {"claim": ""}}}, ("stores.archive.claim is empty", "file:///archive")),
    ("archive", {"jobsImage": {"repository": ""}}, ("jobsImage.repository is empty", "models pull")),
    (
        "archive",
        {"canary": {"enabled": True, "model": {"tag": "cdnow:20261115-9c8d7e6f"}}},
        ("canary.model.digest is empty",),
    ),
    (
        "canary",
        {"stores": {"predictions": NOWHERE}, "monitor": {"enabled": True}},
        ("stores.predictions is empty", "monitor.enabled"),
    ),
    ("minimal", {"monitor": {"enabled": True}}, ("jobsImage.repository is empty", "monitor.enabled is true")),
    ("canary", {"canary": CANARY}, ("canary.enabled is true", "set canary.image")),
    (
        "canary",
        {"canary": CANARY | {"promote": True, "extraEnv": [{"name": "A", "value": "1"}]}},
        ("canary.promote is true", "nothing to promote"),
    ),
    ("canary", {"canary": {"enabled": False, "promote": True}}, ("canary.promote is true", "image and model")),
    ("archive", {"canary": {"enabled": True}}, ("would run what the stable pods run", "canary.model")),
    (
        "production",
        {"serving": {"autoscaling": {"minReplicas": 20}}},
        ("minReplicas is 20", "maxReplicas, which is 12", "raise maxReplicas"),
    ),
    ("minimal", {"serving": {"autoscaling": KEDA}}, ("inFlight.enabled is false", "hpa")),
    ("keda", {"serving": {"autoscaling": {"keda": {"prometheus": ""}}}}, ("keda.prometheus is empty",)),
    ("minimal", {"serving": {"startupSeconds": 900}}, ("progressDeadlineSeconds is 900", "startupSeconds, 900")),
    ("minimal", {"usecase": "cdnow"}, ("model.tag is telco:20261101-5e6f7a8b", "usecase is cdnow")),
    ("canary", {"canary": {"model": {"tag": "telco:1"}}}, ("canary.model.tag is telco:1", "usecase is cdnow")),
    ("minimal", _resources("serving", "requests", cpu=2), ("serving.resources.requests.cpu is 2", "which is 1:")),
    ("minimal", _resources("serving", "limits", cpu="250m"), ("requests.cpu is 500m", "which is 250m:")),
    ("minimal", _resources("jobs", "limits", memory="1000M"), ("jobs.resources.requests.memory is 1Gi", "is 1000M:")),
    ("minimal", _resources("monitor", "requests", memory="3Gi"), ("monitor.resources.requests.memory is 3Gi",)),
    ("minimal", SMALL, ("serving.resources.limits.memory is 200Mi", "256Mi or more")),
    ("production", {"ingress": {"host": ""}}, ("ingress.host is empty",)),
    ("gateway", {"gateway": {"parentRefs": []}}, ("gateway.parentRefs is empty",)),
    ("gateway", {"gateway": {"hostnames": []}}, ("gateway.hostnames is empty", "older one")),
    ("gateway", {"gateway": {"grpcHostnames": ["scores.example.com"]}}, ("both have scores.example.com",)),
    ("monitoring-off", {"networkPolicy": {"egress": []}}, ("networkPolicy.egress is empty", "stores.online")),
    ("gateway", {"networkPolicy": {"clients": []}}, ("networkPolicy.clients is empty", "gateway.enabled is true")),
    ("minimal", {"serving": {"service": {"type": "LoadBalancer"}}}, ("clients is empty", "type is LoadBalancer")),
]


@pytest.mark.parametrize(("shape", "over", "words"), WRONG, ids=[words[0] for *_, words in WRONG])
def test_values_that_cannot_work_together(shape: str, over: dict[str, Any], words: tuple[str, ...]) -> None:
    message = refused(shape, over)
    assert "values that cannot work together" in message
    assert all(word in message for word in words), message
    assert message.count("\n  ") == 1, "one thing is wrong, and one is told"


def test_all_that_is_wrong_is_told_at_once() -> None:
    over = {"ingress": {"host": ""}, "serving": {"autoscaling": {"minReplicas": 20}}, "image": {"digest": ""}}
    message = refused("production", over)
    for words in ("ingress.host", "minReplicas", "image.digest"):
        assert words in message


def test_a_request_that_is_its_limit_in_another_unit_is_taken() -> None:
    amounts = {"requests": {"cpu": "1500m", "memory": "1024Mi"}, "limits": {"cpu": 1.5, "memory": 1073741824}}
    assert render("minimal", {"serving": {"resources": amounts}})
