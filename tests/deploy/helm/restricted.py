"""Kubernetes' pod security standard "restricted", control by control.

From https://kubernetes.io/docs/concepts/security/pod-security-standards/, which lists each control with the fields it
restricts and the values it allows; the baseline's controls are part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.deploy.helm.kubernetes import Pod

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
}  # fmt: skip
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}


def violations(pod: Pod) -> list[str]:
    """What of a pod the standard does not allow; empty if it may run in a namespace that enforces it."""
    return [*_of_pod(pod.spec), *(told for container in pod.containers for told in _of_container(container, pod.spec))]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    for shared in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(shared):
            yield f"host namespaces: {shared}"
    for volume in spec.get("volumes", []):
        for kind in set(volume) - {"name"} - _VOLUMES:
            yield f"volume types: {volume['name']} is {kind}"
    security = spec.get("securityContext", {})
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctls: {sysctl['name']}"
    yield from _of_either("pod", security)


def _of_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    name, security = container["name"], container.get("securityContext", {})
    of_pod = spec.get("securityContext", {})
    if security.get("privileged"):
        yield f"privileged: {name}"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"privilege escalation: {name}"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"capabilities: {name} does not drop ALL"
    for added in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capabilities: {name} adds {added}"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"host ports: {name}"
    if security.get("procMount", "Default") != "Default":
        yield f"/proc: {name}"
    if security.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield f"running as non-root: {name}"
    if security.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type") not in (
        "RuntimeDefault",
        "Localhost",
    ):
        yield f"seccomp: {name}"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield from _of_handler(f"{name}'s {probe}", container.get(probe, {}))
    for moment, handler in container.get("lifecycle", {}).items():
        yield from _of_handler(f"{name}'s {moment}", handler)
    yield from _of_either(name, security)


def _of_handler(where: str, handler: dict[str, Any]) -> Iterator[str]:
    for way in ("httpGet", "tcpSocket"):
        if handler.get(way, {}).get("host"):
            yield f"host probes: {where}"


def _of_either(where: str, security: dict[str, Any]) -> Iterator[str]:
    """What pods and containers may both say."""
    if security.get("runAsUser") == 0:
        yield f"running as non-root user: {where}"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield f"HostProcess: {where}"
    if security.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in ("RuntimeDefault", "Localhost"):
        yield f"AppArmor: {where}"
    selinux = security.get("seLinuxOptions", {})
    if selinux.get("type") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"SELinux: {where}"
    if security.get("seccompProfile", {}).get("type") == "Unconfined":
        yield f"seccomp: {where}"
