"""Who reaches whom, by the network policies of a release, as Kubernetes reads them: what no policy allows is denied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy.helm.chart import SHAPES, Object, names, one, render
from tests.deploy.helm.kubernetes import hooks, pods, selected

HTTP, GRPC, METRICS, MONITOR, POSTGRESQL, DNS = 3000, 3001, 3002, 3003, 5432, 53
STORE = {"networkPolicy": {"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "store"}}}]}]}}


@dataclass(frozen=True)
class Peer:
    """A pod: its labels, and its namespace's name."""

    labels: tuple[tuple[str, str], ...]
    namespace: str = "shop"

    @classmethod
    def of(cls, labels: dict[str, str], namespace: str = "shop") -> Peer:
        return cls(tuple(labels.items()), namespace)


def _component(objects: list[Object], component: str) -> Peer:
    """A pod of the release, with the labels that the chart gives it."""
    found = next(pod for pod in pods(objects) if pod.labels["app.kubernetes.io/component"] == component)
    return Peer.of(found.labels)


STRANGER = Peer.of({"app": "shop-front"})
FAR = Peer.of({"app": "prometheus"}, "monitoring")
DATABASE = Peer.of({"app": "postgresql"}, "databases")


def _policies(objects: list[Object]) -> Iterator[dict[str, Any]]:
    """Those that are there while nothing is upgraded."""
    for each in objects:
        if each["kind"] == "NetworkPolicy" and not hooks(each):
            yield each["spec"]


def _of(peer: dict[str, Any], pod: Peer) -> bool:
    """Whether a policy's peer means that pod; policies are of the namespace `shop`."""
    namespace = {"kubernetes.io/metadata.name": pod.namespace}
    there = selected(peer["namespaceSelector"], namespace) if "namespaceSelector" in peer else pod.namespace == "shop"
    return "ipBlock" not in peer and there and selected(peer.get("podSelector", {}), dict(pod.labels))


def _allowed(objects: list[Object], way: str, pod: Peer, other: Peer, port: int) -> bool:
    """Whether `pod` may be asked by `other` (Ingress, `from`), or ask it (Egress, `to`), at that TCP port."""
    if pod.namespace != "shop":
        return True
    mine = [
        each
        for each in _policies(objects)
        if way in each["policyTypes"] and selected(each["podSelector"], dict(pod.labels))
    ]
    whom = {"Ingress": "from", "Egress": "to"}[way]
    rules = [rule for each in mine for rule in each.get(way.lower(), [])]
    return not mine or any(
        ("ports" not in rule or any(p["port"] == port and p.get("protocol", "TCP") == "TCP" for p in rule["ports"]))
        and (whom not in rule or any(_of(peer, other) for peer in rule[whom]))
        for rule in rules
    )


def _reaches(objects: list[Object], a: Peer, b: Peer, port: int) -> bool:
    return _allowed(objects, "Egress", a, b, port) and _allowed(objects, "Ingress", b, a, port)


def test_pods_of_the_namespace_may_ask_and_everybody_may_watch() -> None:
    objects = render("canary")
    server, monitor = _component(objects, "serving"), _component(objects, "monitor")
    assert _reaches(objects, STRANGER, server, HTTP)
    assert _reaches(objects, STRANGER, server, GRPC)
    assert _reaches(objects, FAR, server, METRICS)
    assert _reaches(objects, FAR, monitor, MONITOR)
    assert not _reaches(objects, FAR, server, HTTP)
    assert not _reaches(objects, FAR, server, GRPC)
    assert not _reaches(objects, FAR, monitor, HTTP)


def test_with_names_only_those_may() -> None:
    objects = render("production")
    server, monitor = _component(objects, "serving"), _component(objects, "monitor")
    shop, controller = Peer.of({"app.kubernetes.io/part-of": "shop"}), Peer.of({"app": "nginx"}, "ingress-nginx")
    assert _reaches(objects, shop, server, HTTP)
    assert _reaches(objects, controller, server, HTTP)
    assert not _reaches(objects, STRANGER, server, HTTP)
    assert not _reaches(objects, STRANGER, server, METRICS)
    assert not _reaches(objects, controller, server, METRICS)
    assert _reaches(objects, FAR, server, METRICS)
    assert _reaches(objects, FAR, monitor, MONITOR)
    assert not _reaches(objects, Peer.of({}, "elsewhere"), monitor, MONITOR)


@pytest.mark.parametrize("shape", ["production", "canary", "gateway"])
def test_jobs_reach_the_servers_whoever_else_may(shape: str) -> None:
    """`helm test`, and the judge of a canary, which reads each pod's metrics."""
    objects = render(shape)
    job = _component(objects, "job")
    for server in (pod for pod in pods(objects) if pod.labels["app.kubernetes.io/component"] == "serving"):
        for port in (HTTP, GRPC, METRICS):
            assert _reaches(objects, job, Peer.of(server.labels), port)


@pytest.mark.parametrize("component", ["serving", "job", "monitor"])
def test_everybody_reaches_the_stores_and_names_and_nothing_else(component: str) -> None:
    objects = render("production")
    pod = _component(objects, component)
    assert _reaches(objects, pod, DATABASE, POSTGRESQL)
    assert _reaches(objects, pod, Peer.of({"k8s-app": "kube-dns"}, "kube-system"), DNS)
    assert not _reaches(objects, pod, DATABASE, 22)
    assert not _reaches(objects, pod, FAR, 9090)
    assert not _reaches(objects, pod, STRANGER, HTTP)


def test_servers_and_monitor_do_not_reach_each_other() -> None:
    objects = render("production")
    server, monitor, job = (_component(objects, which) for which in ("serving", "monitor", "job"))
    for a, b, port in ((server, monitor, MONITOR), (monitor, server, HTTP), (server, job, HTTP)):
        assert not _reaches(objects, a, b, port)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_pod_of_the_release_is_left_out(shape: str) -> None:
    objects = render(shape)
    default = one(objects, "NetworkPolicy", "holdfast-default")["spec"]
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    for pod in pods(objects):
        assert selected(default["podSelector"], pod.labels), pod.owner["metadata"]["name"]


def test_hooks_reach_the_stores_of_the_values_they_come_with() -> None:
    """They run before the other policies are there, or brought up to date."""
    objects = render("production", STORE)
    before, after = (one(objects, "NetworkPolicy", f"holdfast-{which}") for which in ("hooks", "jobs"))
    names = one(objects, "NetworkPolicy", "holdfast-default")["spec"]["egress"]
    assert before["spec"] == {**after["spec"], "egress": [*names, *after["spec"]["egress"]]}
    assert hooks(before) == {"pre-install", "pre-upgrade", "pre-rollback"}
    earliest = [
        int(each["metadata"]["annotations"].get("helm.sh/hook-weight", "0"))
        for each in objects
        if hooks(each) & hooks(before) and each["kind"] == "Job"
    ]
    assert earliest
    assert int(before["metadata"]["annotations"]["helm.sh/hook-weight"]) < min(earliest)
    running = [pod for pod in pods(objects) if hooks(pod.owner) & hooks(before)]
    assert running
    for pod in running:
        assert selected(before["spec"]["podSelector"], pod.labels)


def test_policies_may_be_left_to_others() -> None:
    assert not names(render("production", {"networkPolicy": {"enabled": False}}), "NetworkPolicy")


def test_there_is_no_policy_for_what_is_not_there() -> None:
    assert names(render("minimal"), "NetworkPolicy") == {"holdfast-default", "holdfast-serving"}
    assert names(render("monitoring-off"), "NetworkPolicy") == {
        "holdfast-default", "holdfast-serving", "holdfast-jobs", "holdfast-hooks"
    }  # fmt: skip
