"""What objects name: other objects, their keys and ports. What the chart does not make, the values must name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

import settings
from tests.deploy.helm.chart import CHART, SHAPES, Object, names, one, render
from tests.deploy.helm.kubernetes import Pod, hooks, named, pods, selected

TLS = ("tls.crt", "tls.key")


def _given(shape: str) -> Any:
    return yaml.safe_load((CHART / "ci" / f"{shape}-values.yaml").read_text())


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _keys(value: Any) -> Iterator[tuple[str, str]]:
    """Every `{name: ..., key: ...}`."""
    if isinstance(value, dict):
        if set(value) == {"name", "key"}:
            yield value["name"], value["key"]
        for each in value.values():
            yield from _keys(each)


def _secrets(pod: Pod) -> Iterator[tuple[str, str | None]]:
    """Name and key of each Secret that a pod needs; no key where it needs all of them."""
    for volume in pod.spec.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            if "secret" in source:
                yield from ((source["secret"]["name"], item["key"]) for item in source["secret"]["items"])
        if "secret" in volume:
            yield volume["secret"]["secretName"], None
    for container in pod.containers:
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                yield source["secretRef"]["name"], None
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"]
    for secret in pod.spec.get("imagePullSecrets", []):
        yield secret["name"], None


def _configmaps(pod: Pod) -> Iterator[str]:
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield volume["configMap"]["name"]
        for source in volume.get("projected", {}).get("sources", []):
            if "configMap" in source:
                yield source["configMap"]["name"]
    for container in pod.containers:
        yield from (
            source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
        )
        for variable in container.get("env", []):
            if "configMapKeyRef" in variable.get("valueFrom", {}):
                yield variable["valueFrom"]["configMapKeyRef"]["name"]


@pytest.mark.parametrize("shape", SHAPES)
def test_secrets_are_those_of_the_values(shape: str) -> None:
    given = _given(shape)
    keys, strings = set(_keys(given)), set(_strings(given))
    for pod in pods(render(shape)):
        for name, key in _secrets(pod):
            if key in (None, *TLS):
                assert name in strings, (named(pod.owner), name)
            else:
                assert (name, key) in keys, (named(pod.owner), name, key)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pod_finds_what_it_needs_when_it_starts(shape: str) -> None:
    """What helm makes before everything else finds nothing but what is there without the release."""
    objects = render(shape)
    for pod in pods(objects):
        early = any(hook.startswith("pre-") for hook in hooks(pod.owner))
        weight = int(pod.owner["metadata"].get("annotations", {}).get("helm.sh/hook-weight", 0))
        there = [
            each
            for each in objects
            if (
                int(each["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) < weight
                and hooks(pod.owner) <= hooks(each)
                if early and hooks(each)
                else not early and not hooks(each)
            )
        ]
        assert set(_configmaps(pod)) <= names(there, "ConfigMap"), named(pod.owner)
        assert pod.spec.get("serviceAccountName", "default") in names(there, "ServiceAccount") | {"default"}, named(
            pod.owner
        )
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod.spec.get("volumes", [])
            if "persistentVolumeClaim" in volume
        }
        assert claims <= set(_strings(_given(shape))), named(pod.owner)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_pod_mounts_is_what_it_has(shape: str) -> None:
    for pod in pods(render(shape)):
        has = {volume["name"] for volume in pod.spec.get("volumes", [])}
        assert {mount["name"] for container in pod.containers for mount in container["volumeMounts"]} == has, named(
            pod.owner
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_every_service_has_pods_with_its_ports(shape: str) -> None:
    objects = render(shape)
    for service in (each for each in objects if each["kind"] == "Service"):
        behind = [pod for pod in pods(objects) if selected(service["spec"]["selector"], pod.labels)]
        assert behind, named(service)
        for pod in behind:
            ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, named(service)


@pytest.mark.parametrize("shape", SHAPES)
def test_probes_ask_at_ports_that_are_there(shape: str) -> None:
    for pod in pods(render(shape)):
        for container in pod.containers:
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in ports, (named(pod.owner), probe)


def _service_port(objects: Sequence[Object], name: str, port: int | str) -> None:
    ports = one(objects, "Service", name)["spec"]["ports"]
    assert port in [each["port"] for each in ports] + [each["name"] for each in ports], (name, port)


@pytest.mark.parametrize("shape", SHAPES)
def test_routes_and_ingresses_lead_to_services(shape: str) -> None:
    objects = render(shape)
    for each in objects:
        if each["kind"] == "Ingress":
            for rule in each["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    service = path["backend"]["service"]
                    (port,) = service["port"].values()
                    _service_port(objects, service["name"], port)
        if each["kind"].endswith("Route") and "pre-upgrade" not in hooks(each):
            backends = [backend for rule in each["spec"]["rules"] for backend in rule["backendRefs"]]
            assert backends, named(each)
            for backend in backends:
                _service_port(objects, backend["name"], backend["port"])


@pytest.mark.parametrize("shape", SHAPES)
def test_commands_name_services_that_are_there(shape: str) -> None:
    objects = render(shape)
    for pod in pods(objects):
        for container in pod.containers:
            words = [*container.get("command", []), *container.get("args", [])]
            found = re.findall(r"\b(holdfast[a-z0-9-]*)(?:\.shop(?:\.svc)?)?:(\d+)\b", " ".join(words))
            assert found or words[:1] != ["rollout"], words
            for name, port in found:
                _service_port(objects, name, int(port))


@pytest.mark.parametrize("shape", SHAPES)
def test_scaling_disruption_and_scrapes_find_their_pods(shape: str) -> None:
    objects = render(shape)
    for each in objects:
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = each["spec"]["scaleTargetRef"]
            one(objects, target["kind"], target["name"])
        if each["kind"] == "PodDisruptionBudget":
            assert any(selected(each["spec"]["selector"], pod.labels) for pod in pods(objects)), named(each)
        if each["kind"] == "ServiceMonitor":
            services = [
                other
                for other in objects
                if other["kind"] == "Service" and selected(each["spec"]["selector"], other["metadata"]["labels"])
            ]
            assert services, named(each)
            for service in services:
                ports = {port["name"] for port in service["spec"]["ports"]}
                assert {endpoint["port"] for endpoint in each["spec"]["endpoints"]} <= ports, named(each)


@pytest.mark.parametrize("shape", SHAPES)
def test_network_policies_cover_every_pod(shape: str) -> None:
    objects = render(shape)
    policies = [each["spec"] for each in objects if each["kind"] == "NetworkPolicy"]
    for pod in pods(objects):
        over = [policy for policy in policies if selected(policy["podSelector"], pod.labels)]
        assert {"Ingress", "Egress"} == {kind for policy in over for kind in policy["policyTypes"]}, named(pod.owner)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_is_in_no_configmap_and_no_variable(shape: str) -> None:
    """Neither one of the settings that are secret, nor an address with a password."""
    objects = render(shape)
    secret = {f"{settings.PREFIX}{name.upper()}" for name in settings.SECRETS}
    maps = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    variables = [
        {variable["name"]: variable.get("value", "")}
        for pod in pods(objects)
        for container in pod.containers
        for variable in container["env"]
    ]
    for found in maps + variables:
        assert not secret & set(found)
        for value in found.values():
            assert settings.redacted(value) == value
    assert not names(objects, "Secret")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_variable_is_a_setting(shape: str) -> None:
    """A misspelt one would be left alone without a word."""
    objects = render(shape)
    known = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    found = {
        variable["name"] for pod in pods(objects) for container in pod.containers for variable in container["env"]
    } | {name for each in objects if each["kind"] == "ConfigMap" for name in each["data"]}
    assert {name for name in found if name.startswith(settings.PREFIX)} <= known
