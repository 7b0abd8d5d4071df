"""Jobs, monitoring and metrics that cannot work are refused: which value, why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.helm.chart import refused, render

NONE: dict[str, Any] = {"secret": None, "url": ""}
ALSO = {"image": f"registry.example.com/shop/holdfast-jobs@sha256:{'b' * 64}", "fingerprint": "1" * 64}


@pytest.mark.parametrize(
    ("shape", "over", "told"),
    [
        ("minimal", {"jobs": {"ingest": {"enabled": True}}}, "jobsImage.repository is empty, but jobs.ingest.enabled"),
        ("gateway", {"jobsImage": {"repository": ""}}, "but canary.judge.enabled is true"),
        ("canary", {"jobs": {"ingest": {"enabled": True}}}, "jobs.ingest.url and jobs.ingest.secret are empty"),
        ("production", {"stores": {"events": NONE}}, "stores.events is empty, but jobs.materialize.enabled is true"),
        ("production", {"stores": {"events": NONE}}, "stores.events is empty, but jobs.ingest.enabled is true"),
        ("production", {"stores": {"registry": NONE}}, "stores.registry is empty, but jobs.retrain.enabled is true"),
        ("production", {"stores": {"archive": NONE}}, "stores.archive is empty, but jobs.retrain.enabled is true"),
        ("production", {"stores": {"monitor": NONE}}, "stores.monitor is empty, and so there is no monitor, but jobs."),
        ("production", {"monitor": {"enabled": False}}, "monitor.enabled is false, but jobs.retrain.whenAsked"),
        ("production", {"jobs": {"score": {"secret": None}}}, "jobs.score.to and jobs.score.secret are empty"),
        ("production", {"jobs": {"score": {"secret": None, "to": "/archive/x"}}}, "stores.archive.claim is empty"),
        ("production", {"stores": {"events": NONE}}, "stores.events is empty, but jobs.score.enabled is true"),
        (
            "canary",
            {"stores": {"monitor": NONE}, "monitor": {"enabled": True}},
            "stores.monitor is empty, but monitor.enabled is true",
        ),
        ("archive", {"stores": {"archive": {"url": "s3://models/shop"}}}, "the claim is mounted at /archive"),
        ("archive", {"stores": {"archive": {"url": ""}}}, "set it to file:///archive"),
        ("canary", {"canary": {"jobsImage": {"digest": ""}}}, "nothing would compute the canary's online rows"),
        ("production", {"jobs": {"materialize": {"also": [ALSO | {"name": "canary"}]}}}, "the name canary"),
        ("production", {"fullnameOverride": "monitoring-holdfast"}, "give fullnameOverride"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(shape: str, over: dict[str, Any], told: str) -> None:
    said = refused(shape, over)
    assert "values that cannot work together" in said
    assert told in said


def test_a_score_needs_to_know_its_model() -> None:
    over: dict[str, Any] = {"model": {"tag": ""}, "stores": {"registry": NONE}, "jobs": {"retrain": {"enabled": False}}}
    assert "model.tag and stores.registry are empty" in refused("production", over)
    assert render("production", over | {"model": {"tag": "cdnow:1"}})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    said = refused("production", {"stores": {"events": NONE, "monitor": NONE}, "monitor": {"enabled": True}})
    for job in ("materialize", "ingest", "retrain", "score"):
        assert f"jobs.{job}.enabled is true" in said
    assert "monitor.enabled is true" in said
