"""The monitor's Deployment and Service."""

from __future__ import annotations

from typing import Any

import pytest

from cli.monitor.web import OPEN
from tests.deploy.helm.chart import Object, names, one, render
from tests.deploy.helm.commands import parsed
from tests.deploy.helm.kubernetes import selected

OTHER = "sha256:" + "b" * 64


def _template(objects: list[Object]) -> dict[str, Any]:
    template: dict[str, Any] = one(objects, "Deployment", "holdfast-monitor")["spec"]["template"]
    return template


def _container(objects: list[Object]) -> dict[str, Any]:
    container: dict[str, Any] = _template(objects)["spec"]["containers"][0]
    return container


def test_it_is_served_where_its_service_asks() -> None:
    objects = render("production", {"monitor": {"every": 300, "skewShare": 0.25}})
    container = _container(objects)
    command, told = parsed(container["args"])
    assert command == "monitor serve"
    assert (told["host"], told["every"], told["skew_share"]) == ("0.0.0.0", 300, 0.25)  # noqa: S104
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == ("monitor", told["port"])
    service = one(objects, "Service", "holdfast-monitor")["spec"]
    assert selected(service["selector"], _template(objects)["metadata"]["labels"])
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(3003, "monitor")]


def test_probes_ask_what_needs_no_key() -> None:
    container = _container(render("production"))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[probe]["httpGet"]
        assert (get["path"] in OPEN, get["port"], get.get("scheme", "HTTP")) == (True, "monitor", "HTTP")
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_two_never_run_at_once() -> None:
    spec = one(render("production"), "Deployment", "holdfast-monitor")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_its_page_asks_for_the_same_keys_as_the_service() -> None:
    def keys(over: dict[str, Any]) -> list[str]:
        return [each["value"] for each in _container(render("production", over))["env"] if "API_KEYS" in each["name"]]

    assert keys({}) == ["/etc/holdfast/secrets/api-keys"]
    assert keys({"secrets": {"apiKeys": None, "testKey": None}}) == []


@pytest.mark.parametrize(
    "over",
    [
        {"model": {"tag": "cdnow:2"}},
        {"canary": {"model": {"tag": "cdnow:2"}}},
        {"canary": {"enabled": False}},
        {"settings": {"max_rows": 5}},
        {"jobsImage": {"digest": OTHER}},
    ],
)
def test_it_starts_anew_with_the_models_it_is_to_watch(over: dict[str, Any]) -> None:
    assert _template(render("canary")) != _template(render("canary", over))


def test_another_scale_of_the_servers_leaves_it_alone() -> None:
    assert _template(render("canary")) == _template(render("canary", {"serving": {"replicas": 9}}))


NOWHERE: dict[str, Any] = {"url": "", "secret": None}


@pytest.mark.parametrize("lacking", [{"stores": {store: NOWHERE}} for store in ("predictions", "monitor")])
def test_by_itself_it_is_there_where_all_that_it_needs_is(lacking: dict[str, Any]) -> None:
    of_it = {("Deployment", "holdfast-monitor"), ("Service", "holdfast-monitor"), ("NetworkPolicy", "holdfast-monitor")}

    def there(over: dict[str, Any]) -> set[tuple[str, str]]:
        every = {(each["kind"], each["metadata"]["name"]) for each in render("canary", over)}
        return {each for each in every if "monitor" in each[1]}

    assert there({}) == there({"monitor": {"enabled": True}}) == of_it
    assert there(lacking) == there({"monitor": {"enabled": False}}) == set()


@pytest.mark.parametrize("shape", ["minimal", "attributes", "monitoring-off"])
def test_it_is_left_out_with_all_that_belongs_to_it(shape: str) -> None:
    objects = render(shape, {"metrics": {"serviceMonitor": {"enabled": True}}})
    assert not [each for each in objects if "monitor" in each["metadata"]["name"]]
    assert names(objects, "ServiceMonitor") == {"holdfast"}
