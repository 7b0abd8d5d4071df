"""The servers' Deployments and Services: what they select, what their processes read, how their pods live and end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import settings
from serving.process import GRACE
from tests.deploy.helm.chart import SHAPES, Object, names, one, render
from tests.deploy.helm.kubernetes import pods, selected

DIGEST = "sha256:" + "a" * 64
SECRETS = "/etc/holdfast/secrets/"


def _server(objects: list[Object], name: str = "holdfast") -> dict[str, Any]:
    """The pod that a Deployment makes."""
    template: dict[str, Any] = one(objects, "Deployment", name)["spec"]["template"]
    return template


def _container(objects: list[Object], name: str = "holdfast") -> dict[str, Any]:
    container: dict[str, Any] = _server(objects, name)["spec"]["containers"][0]
    return container


def _environment(objects: list[Object], container: dict[str, Any]) -> dict[str, str]:
    """What a process of that container finds, but for what Kubernetes computes."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {each["name"]: each["value"] for each in container["env"] if "value" in each}


def _read(objects: list[Object], container: dict[str, Any], directory: Path) -> settings.Settings:
    """The settings of that process; each key of a Secret holds a URL that tells it."""
    environment = _environment(objects, container)
    for name, value in environment.items():
        if value.startswith(SECRETS):
            path = directory / value.removeprefix(SECRETS)
            path.write_text(f"postgresql://from-secret/{path.name}")
            environment[name] = str(path)
    return settings.load(environment)


@pytest.mark.parametrize("shape", SHAPES)
def test_services_find_the_servers_and_nobody_else(shape: str) -> None:
    objects = render(shape)
    servers = [pod for pod in pods(objects) if pod.owner["metadata"]["name"] in ("holdfast", "holdfast-canary")]
    others = [pod for pod in pods(objects) if pod not in servers]
    assert servers
    for name in ("holdfast", "holdfast-grpc", "holdfast-metrics"):
        by = one(objects, "Service", name)["spec"]["selector"]
        assert all(selected(by, pod.labels) for pod in servers), name
        assert not any(selected(by, pod.labels) for pod in others), name


@pytest.mark.parametrize("shape", SHAPES)
def test_a_deployment_selects_its_own_pods_alone(shape: str) -> None:
    objects = render(shape)
    for deployment in (each for each in objects if each["kind"] == "Deployment"):
        by = deployment["spec"]["selector"]
        owners = {pod.owner["metadata"]["name"] for pod in pods(objects) if selected(by, pod.labels)}
        assert owners == {deployment["metadata"]["name"]}


def test_selectors_are_those_of_every_shape_and_version() -> None:
    """Kubernetes refuses an upgrade that changes one, and one that a Service changes drops everybody."""
    everything = [render(shape) for shape in SHAPES]
    everything.append(
        render(
            "canary",
            {
                "image": {"digest": DIGEST},
                "commonLabels": {"team": "shop"},
                "serving": {"podLabels": {"tier": "front"}},
            },
            kube="1.29",
            is_upgrade=True,
        )
    )
    for kind in ("Deployment", "Service"):
        seen: dict[str, Any] = {}
        for objects in everything:
            for each in objects:
                if each["kind"] == kind:
                    selector = seen.setdefault(each["metadata"]["name"], each["spec"]["selector"])
                    assert each["spec"]["selector"] == selector, each["metadata"]["name"]


def test_names_are_asked_of_ready_pods_but_metrics_of_all() -> None:
    objects = render("production")
    grpc, metrics = (one(objects, "Service", f"holdfast-{name}")["spec"] for name in ("grpc", "metrics"))
    assert grpc["clusterIP"] == metrics["clusterIP"] == "None"
    assert not grpc.get("publishNotReadyAddresses")
    assert metrics["publishNotReadyAddresses"] is True
    assert one(objects, "Service", "holdfast")["spec"]["sessionAffinity"] == "None"


def test_ports_are_those_of_the_container() -> None:
    for shape in SHAPES:
        objects = render(shape)
        there = {port["name"]: port["containerPort"] for port in _container(objects)["ports"]}
        assert there == {"http": 3000, "grpc": 3001, "metrics": 3002}
        for name in names(objects, "Service") - {"holdfast-monitor"}:
            assert {port["targetPort"] for port in one(objects, "Service", name)["spec"]["ports"]} <= set(there), name


@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_can_read_its_settings(shape: str, tmp_path: Path) -> None:
    objects = render(shape)
    container = _container(objects)
    loaded = _read(objects, container, tmp_path)
    assert loaded.track == "stable"
    assert loaded.image in container["image"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", str(loaded.home)} <= mounts  # noqa: S108  # a pod's own
    if shape == "production":
        assert (loaded.max_latency_ms, loaded.online_down, loaded.drain_s) == (1_000, "cold-start", 5.0)
        assert loaded.online_url == "postgresql://from-secret/online-url"
        assert loaded.predictions_url == "postgresql://from-secret/predictions-url"
        assert loaded.registry_url == "postgresql://from-secret/registry-url"
        assert loaded.tls_cert
        assert loaded.tls_key
        assert loaded.api_keys
        assert loaded.id_hmac_key
        assert loaded.archive_url == "s3://shop-models/holdfast"
    if shape == "postgresql-redis":
        assert loaded.online_url == "rediss://online.example.com:6380/0"


def test_settings_keep_their_values(tmp_path: Path) -> None:
    """Numbers as YAML reads them: a million is 1e+06 to whoever is not careful."""
    given = {
        "max_body_bytes": 1_000_000,
        "predictions_sample": 0.25,
        "max_batch_size": 256,
        "cors_origins": ["https://a.example", "https://b.example"],
        "access_log": "all",
    }
    objects = render("minimal", {"settings": given, "serving": {"drainSeconds": 2.5}})
    loaded = _read(objects, _container(objects), tmp_path)
    assert {name: getattr(loaded, name) for name in given} == given | {"cors_origins": tuple(given["cors_origins"])}  # type: ignore[arg-type]
    assert loaded.drain_s == 2.5


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_mounted_is_there(shape: str) -> None:
    """Each mount has its volume, each file that a variable names is put there, and no Secret is in a ConfigMap."""
    objects = render(shape)
    for pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes), container["name"]
            mounted = next((m["name"] for m in container["volumeMounts"] if f"{m['mountPath']}/" == SECRETS), None)
            sources = volumes[mounted]["projected"]["sources"] if mounted else []
            files = {item["path"] for source in sources for item in source["secret"]["items"]}
            asked = [value for value in _environment(objects, container).values() if value.startswith(SECRETS)]
            assert {value.removeprefix(SECRETS) for value in asked} <= files, container["name"]


def test_without_a_prediction_log_nothing_is_written_to_the_pods_disk(tmp_path: Path) -> None:
    objects = render("minimal", {"stores": {"predictions": {"url": ""}}})
    assert _read(objects, _container(objects), tmp_path).predictions_url == "none:"


def test_events_are_a_servers_secret_only_where_it_reads_them(tmp_path: Path) -> None:
    objects = render("production")
    assert "HOLDFAST_EVENTS_URL_FILE" not in _environment(objects, _container(objects))
    objects = render("production", {"settings": {"online_read": "on-read"}})
    assert _read(objects, _container(objects), tmp_path).events_url == "postgresql://from-secret/events-url"


@pytest.mark.parametrize(
    ("before", "drain", "deadline"), [(5, 5, 2_000), (0, 0, 1), (30, 2.5, 10_500), (5, 60, 600_000)]
)
def test_a_pod_has_the_time_to_end(before: int, drain: float, deadline: int) -> None:
    over = {"serving": {"preStopSeconds": before, "drainSeconds": drain}, "settings": {"max_latency_ms": deadline}}
    spec = _server(render("minimal", over))["spec"]
    assert spec["terminationGracePeriodSeconds"] > before + drain + deadline / 1_000 + 3 * GRACE
    hook = spec["containers"][0].get("lifecycle")
    assert hook is None if not before else hook["preStop"]["exec"]["command"] == ["sleep", str(before)]


@pytest.mark.parametrize("timeout", [10, 500, 5_000])
def test_probes_wait_for_what_they_ask(timeout: int) -> None:
    """Readiness longer than two waits for the online store; liveness never kills what is only busy."""
    container = _container(render("production", {"settings": {"online_timeout_ms": timeout}}))
    start, ready, live = (container[f"{which}Probe"] for which in ("startup", "readiness", "liveness"))
    assert ready["timeoutSeconds"] > 2 * timeout / 1_000
    assert ready["httpGet"]["path"] == "/readyz"
    assert start["httpGet"]["path"] == live["httpGet"]["path"] == "/livez"
    assert live["periodSeconds"] * live["failureThreshold"] >= 60
    assert live["timeoutSeconds"] >= 10
    assert start["periodSeconds"] * start["failureThreshold"] >= 60


def test_probes_speak_what_the_server_speaks() -> None:
    for shape, scheme in (("production", "HTTPS"), ("minimal", "HTTP")):
        container = _container(render(shape))
        assert {container[f"{which}Probe"]["httpGet"]["scheme"] for which in ("startup", "readiness", "liveness")} == {
            scheme
        }


def test_servers_of_a_lost_node_start_elsewhere_soon() -> None:
    own = {"key": "pool", "operator": "Equal", "value": "models", "effect": "NoSchedule"}
    serving = {"nodeLossSeconds": 20, "tolerations": [own]}
    tolerations = one(render("minimal", {"serving": serving}), "Deployment", "holdfast")["spec"]["template"]["spec"][
        "tolerations"
    ]
    lost = {each["key"]: each for each in tolerations if each.get("tolerationSeconds") == 20}
    assert set(lost) == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    assert {each["effect"] for each in lost.values()} == {"NoExecute"}
    assert own in tolerations


def test_an_upgrade_takes_no_pod_away_before_another_is_there() -> None:
    for name in ("holdfast", "holdfast-canary"):
        spec = one(render("canary"), "Deployment", name)["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "100%"}
        assert spec["progressDeadlineSeconds"] == 900  # longer than helm waits, or it calls the way back failed
        spread = spec["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}
        for each in spread:
            assert selected(each["labelSelector"], spec["template"]["metadata"]["labels"])


def test_pods_are_replaced_when_their_settings_change_and_not_for_less() -> None:
    pod = _server(render("production"))
    assert _server(render("production", {"settings": {"max_latency_ms": 900}})) != pod
    assert _server(render("production", {"stores": {"archive": {"url": "s3://other/place"}}})) != pod
    less = {
        "serving": {"replicas": 7, "autoscaling": {"maxReplicas": 40}},
        "metrics": {"dashboards": {"enabled": False}},
        "ingress": {"enabled": False},
    }
    assert _server(render("production", less)) == pod


def test_a_pod_tells_its_model() -> None:
    told = _server(render("archive"))["metadata"]["annotations"]
    assert told["holdfast/model"] == "cdnow:20261101-1a2b3c4d"
    assert told["holdfast/fingerprint"].startswith("91771539")


def test_threads_are_those_of_the_limit() -> None:
    for pod in pods(render("production")):
        for container in pod.containers:
            threads = next(each for each in container["env"] if each["name"] == "OMP_NUM_THREADS")
            assert threads["valueFrom"]["resourceFieldRef"] == {"resource": "limits.cpu", "divisor": "1"}


def test_an_archive_is_pulled_and_verified_before_the_server_starts(tmp_path: Path) -> None:
    objects = render("archive")
    spec = _server(objects)["spec"]
    [puller], [server] = spec["initContainers"], spec["containers"]
    digest = "73f95cf180a19624e4be9a711fd53a90dadfffa410cc9cd2ba1999454a5b99b8"
    assert puller["args"] == ["models", "pull", f"cdnow:20261101-1a2b3c4d@sha256:{digest}"]
    assert puller["image"].startswith("registry.example.com/shop/holdfast-jobs@sha256:")
    homes = {_environment(objects, each)["BENTOML_HOME"] for each in (puller, server)}
    assert homes == {"/models"}
    for each in (puller, server):
        assert {"name": "models", "mountPath": "/models"} in each["volumeMounts"]
    assert {"name": "archive", "mountPath": "/archive"} in puller["volumeMounts"]
    assert _read(objects, server, tmp_path).model == "cdnow:20261101-1a2b3c4d"
    assert _read(objects, puller, tmp_path).archive_url == "file:///archive"


def test_a_model_in_the_image_needs_nothing_beside_it(tmp_path: Path) -> None:
    objects = render("production")
    assert "initContainers" not in _server(objects)["spec"]
    assert _read(objects, _container(objects), tmp_path).model is None


def test_the_account_of_the_pods_has_no_token() -> None:
    objects = render("production")
    assert one(objects, "ServiceAccount", "holdfast")["automountServiceAccountToken"] is False
    for pod in pods(objects):
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
    own = render("production", {"serviceAccount": {"create": False, "name": "shop"}})
    assert not names(own, "ServiceAccount")
    assert _server(own)["spec"]["serviceAccountName"] == "shop"


def test_an_ingress_leads_to_both_tracks() -> None:
    rule = one(render("production"), "Ingress", "holdfast")["spec"]["rules"][0]
    assert rule["host"] == "scores.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "holdfast", "port": {"name": "http"}}
