"""Every pod may run in a namespace that enforces the pod security standard "restricted"; and a little more."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.deploy.helm.chart import SHAPES, render
from tests.deploy.helm.kubernetes import Pod, named, pods
from tests.deploy.helm.restricted import violations


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pod_is_allowed(shape: str) -> None:
    found = list(pods(render(shape)))
    assert found
    told = [f"{named(pod.owner)}: {violation}" for pod in found for violation in violations(pod)]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pod_has_a_read_only_root_and_no_token(shape: str) -> None:
    for pod in pods(render(shape)):
        assert pod.spec["automountServiceAccountToken"] is False, named(pod.owner)
        assert pod.spec["enableServiceLinks"] is False, named(pod.owner)
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, (named(pod.owner), container["name"])
            written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert "/tmp" in written, (named(pod.owner), container["name"])  # noqa: S108  # a pod's own


def test_a_cluster_may_choose_the_user() -> None:
    """OpenShift gives each namespace its users; a pod that names one is refused there."""
    chosen = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    for pod in pods(render("production", chosen)):
        assert not set(chosen["podSecurityContext"]) & set(pod.spec["securityContext"]), named(pod.owner)
        assert not violations(pod)


CONTAINER = ("containers", 0)
BROKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("host namespaces", ("hostNetwork",), True),
    ("host namespaces", ("hostPID",), True),
    ("host namespaces", ("hostIPC",), True),
    ("volume types", ("volumes",), [{"name": "node", "hostPath": {"path": "/"}}]),
    ("sysctls", ("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
    ("HostProcess", ("securityContext", "windowsOptions"), {"hostProcess": True}),
    ("AppArmor", ("securityContext", "appArmorProfile"), {"type": "Unconfined"}),
    ("SELinux", ("securityContext", "seLinuxOptions"), {"type": "spc_t"}),
    ("SELinux", (*CONTAINER, "securityContext", "seLinuxOptions"), {"user": "system_u"}),
    ("seccomp", ("securityContext", "seccompProfile"), {}),
    ("seccomp", (*CONTAINER, "securityContext", "seccompProfile"), {"type": "Unconfined"}),
    ("running as non-root", ("securityContext", "runAsNonRoot"), None),
    ("running as non-root", (*CONTAINER, "securityContext", "runAsNonRoot"), False),
    ("running as non-root user", ("securityContext", "runAsUser"), 0),
    ("running as non-root user", (*CONTAINER, "securityContext", "runAsUser"), 0),
    ("privileged", (*CONTAINER, "securityContext", "privileged"), True),
    ("privilege escalation", (*CONTAINER, "securityContext", "allowPrivilegeEscalation"), None),
    ("capabilities", (*CONTAINER, "securityContext", "capabilities"), {}),
    ("capabilities", (*CONTAINER, "securityContext", "capabilities", "add"), ["SYS_ADMIN"]),
    ("host ports", (*CONTAINER, "ports"), [{"containerPort": 3000, "hostPort": 3000}]),
    ("host probes", (*CONTAINER, "readinessProbe", "httpGet", "host"), "203.0.113.1"),
    ("/proc", (*CONTAINER, "securityContext", "procMount"), "Unmasked"),
]


@pytest.mark.parametrize(("control", "path", "value"), BROKEN)
def test_each_control_is_looked_at(control: str, path: tuple[str | int, ...], value: Any) -> None:
    good = next(pod for pod in pods(render("minimal")) if pod.owner["kind"] == "Deployment")
    spec: Any = copy.deepcopy(good.spec)
    where = spec
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    told = violations(Pod(good.owner, good.metadata, spec))
    assert [violation for violation in told if violation.startswith(f"{control}: ")], told
