"""Routes of the Gateway API: where requests go before, while and after a canary is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import usecases
from serving.proto import Protocol
from tests.deploy.helm.chart import Object, names, one, render
from tests.deploy.helm.kubernetes import hooks

WITHOUT = {"canary": {"enabled": False}}


def _routes(objects: Iterable[Object], kind: str, moments: set[str] | None = None) -> list[Object]:
    """Of the release itself, or the hooks of these moments."""
    return [
        each for each in objects if each["kind"] == kind and (hooks(each) & moments if moments else not hooks(each))
    ]


def _longest(routes: list[Object], path: str) -> dict[str, int]:
    """Shares by Service, where the longest prefix wins, as the Gateway API has it; ties would be the older route's."""
    matches: dict[int, list[dict[str, Any]]] = {}
    for route in routes:
        for rule in route["spec"]["rules"]:
            for match in rule["matches"]:
                prefix = match["path"]["value"]
                assert match["path"]["type"] == "PathPrefix"
                if path.startswith(f"{prefix.rstrip('/')}/"):
                    matches.setdefault(len(prefix), []).append(rule)
    [rule] = matches[max(matches)]
    return {each["name"]: each.get("weight", 1) for each in rule["backendRefs"]}


def test_without_a_canary_all_is_the_stable_pods() -> None:
    objects = render("gateway", WITHOUT)
    routes = _routes(objects, "HTTPRoute")
    for path in ("/v1/predict", "/v2/models/cdnow/infer", "/docs.json", "/"):
        assert _longest(routes, path) == {"holdfast-stable": 1}
    [grpc] = _routes(objects, "GRPCRoute")
    assert grpc["spec"]["rules"] == [{"backendRefs": [{"name": "holdfast-stable", "port": 3001}]}]
    assert not _routes(objects, "HTTPRoute", {"post-upgrade"})


def test_a_canary_gets_its_weight_of_what_is_asked_of_models() -> None:
    objects = render("gateway")
    routes = _routes(objects, "HTTPRoute") + _routes(objects, "HTTPRoute", {"post-upgrade"})
    for path in ("/v1/predict", "/v1/predict/bulk", "/v2/models/cdnow/infer"):
        assert _longest(routes, path) == {"holdfast-stable": 80, "holdfast-canary": 20}
    assert _longest(routes, "/docs.json") == {"holdfast-stable": 1}
    [grpc] = _routes(objects, "GRPCRoute", {"post-upgrade"})
    [rule] = grpc["spec"]["rules"]
    assert {each["name"]: each["weight"] for each in rule["backendRefs"]} == {
        "holdfast-stable": 80,
        "holdfast-canary": 20,
    }


def test_the_services_of_grpc_are_those_that_servers_have() -> None:
    [route] = _routes(render("gateway"), "GRPCRoute", {"post-upgrade"})
    routed = [match["method"]["service"] for match in route["spec"]["rules"][0]["matches"]]
    assert routed == [Protocol(usecases.load("cdnow")).service, "inference.GRPCInferenceService"]


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_a_share_is_given_to_pods_that_are_ready_and_taken_before_they_change(kind: str) -> None:
    """Helm makes the canary's routes once everything is ready, and before it judges; it deletes them before an upgrade
    or a rollback begins, whether there is a canary afterwards or not, and at the end."""
    objects = render("gateway")
    [given] = _routes(objects, kind, {"post-upgrade"})
    assert hooks(given) == {"post-install", "post-upgrade", "post-rollback"}
    assert given["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    weight = int(given["metadata"]["annotations"]["helm.sh/hook-weight"])
    judge = one(objects, "Job", "holdfast-judge")["metadata"]["annotations"]
    assert weight < int(judge["helm.sh/hook-weight"])
    for over in ({}, WITHOUT, {"canary": {"promote": True}}):
        objects = render("gateway", over)
        [taken] = _routes(objects, kind, {"pre-upgrade"})
        assert taken["metadata"]["name"] == given["metadata"]["name"] == "holdfast-canary"
        assert hooks(taken) == {"pre-upgrade", "pre-rollback", "pre-delete"}
        assert taken["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert taken["spec"] == {}  # attached to no gateway: nobody is sent to it
        first = min(
            int(each["metadata"]["annotations"].get("helm.sh/hook-weight", "0"))
            for each in objects
            if hooks(each) & hooks(taken) and each is not taken and each["metadata"]["name"] != "holdfast-canary"
        )
        assert int(taken["metadata"]["annotations"]["helm.sh/hook-weight"]) < first


def test_a_promoted_canary_has_no_share() -> None:
    objects = render("gateway", {"canary": {"promote": True}})
    assert not _routes(objects, "HTTPRoute", {"post-upgrade"})
    assert _longest(_routes(objects, "HTTPRoute"), "/v1/predict") == {"holdfast-stable": 1}


@pytest.mark.parametrize("over", [{}, {"serving": {"service": {"port": 80}}}, WITHOUT])
def test_routes_lead_to_ports_of_services_that_are_there(over: dict[str, Any]) -> None:
    objects = render("gateway", over)
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route in (each for each in objects if each["kind"] == kind and each["spec"]):
            assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
            for backend in (each for rule in route["spec"]["rules"] for each in rule["backendRefs"]):
                ports = one(objects, "Service", backend["name"])["spec"]["ports"]
                wanted = "http" if kind == "HTTPRoute" else "grpc"
                assert backend["port"] in [port["port"] for port in ports if port["name"] == wanted]


def test_two_kinds_of_route_have_two_names() -> None:
    """For one name a listener takes the older of the two only."""
    objects = render("gateway")
    http, grpc = (set(one(_routes(objects, k), k, "holdfast")["spec"]["hostnames"]) for k in ("HTTPRoute", "GRPCRoute"))
    assert http == {"scores.example.com"}
    assert grpc == {"grpc.scores.example.com"}
    assert not names(render("gateway", {"gateway": {"grpcHostnames": []}}), "GRPCRoute")


def test_a_gateway_may_take_every_name() -> None:
    objects = render("gateway", {"gateway": {"hostnames": [], "grpcHostnames": []}})
    for route in (each for each in objects if each["kind"] == "HTTPRoute"):
        assert "hostnames" not in route["spec"]


def test_grpc_is_told_to_gateways_where_it_is_not_encrypted() -> None:
    def protocol(over: dict[str, Any]) -> Any:
        ports = one(render("gateway", over), "Service", "holdfast-stable")["spec"]["ports"]
        return next(port for port in ports if port["name"] == "grpc").get("appProtocol")

    assert protocol({}) == "kubernetes.io/h2c"
    assert protocol({"secrets": {"tls": "holdfast-tls"}}) is None
