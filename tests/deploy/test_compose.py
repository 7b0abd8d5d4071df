"""deploy/compose is whole: what it names is there, every container may do little, and `setup` keeps secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli.main import app
from cli.workspace import ROOT
from serving.keys import Keys
from settings import PREFIX, Settings, load
from tests.deploy.files import RULES, rules
from tests.deploy.programs import program

HERE = ROOT / "deploy" / "compose"
OURS = {"migrate", "ingest", "materialize", "hourly", "serving", "monitor", "jobs"}
"""Services whose images are ours."""


def interpolated(text: str, environ: dict[str, str]) -> str:
    """What Compose makes of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, operator, rest = match[1], match[2], match[3]
        found = environ.get(name, "")
        if found or operator is None:
            return found
        assert operator == ":-", f"{name} {rest}"
        return rest

    return re.sub(r"\$\$|\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def environ() -> dict[str, str]:
    """What example.env says, with a tag."""
    lines = [line for line in (HERE / "example.env").read_text().splitlines() if line and not line.startswith("#")]
    return {**dict(line.split("=", 1) for line in lines), "TAG": "1.2.3-abcdef"}


@cache
def composed() -> dict[str, Any]:
    """compose.yaml, as Compose reads it beside the .env that `setup` makes."""
    found: dict[str, Any] = yaml.safe_load(interpolated((HERE / "compose.yaml").read_text(), environ()))
    return found


SERVICES: dict[str, dict[str, Any]] = composed()["services"]


@cache
def commands() -> dict[str, Any]:
    """The command line as a tree."""
    tree: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    return tree


def mounts(service: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Source, target, and whether it is read-only, of each of a service's volumes."""
    found = []
    for one in service.get("volumes", []):
        if isinstance(one, str):
            source, target, *options = one.split(":")
            found.append((source, target, options == ["ro"]))
        else:
            found.append((one["source"], one["target"], one["read_only"]))
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]
    assert any(one.startswith("/tmp:size=") for one in service["tmpfs"])  # noqa: S108  # the container's
    assert service["networks"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices", "env_file"} & set(service)
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_exact(name: str) -> None:
    repository, _, tag = SERVICES[name]["image"].rpartition(":")
    if name in OURS:
        kind = "serving" if name == "serving" else "jobs"
        assert (repository, tag) == (f"holdfast-{kind}", environ()["TAG"])
    else:
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag) or re.fullmatch(r"\d+\.\d+(\.\d+)?-bookworm", tag), tag
        assert repository.startswith("docker.io/")


def test_nothing_starts_without_a_tag() -> None:
    text = (HERE / "compose.yaml").read_text()
    images = re.findall(r"image: (.*holdfast-.*)", text)
    assert len(images) == 2
    for image in images:
        with pytest.raises(AssertionError, match="TAG"):
            interpolated(image, {})


def test_what_stays_up_is_watched_and_what_ends_is_waited_for() -> None:
    ending = {"migrate", "ingest", "materialize"}
    for name, service in SERVICES.items():
        if name in ending | {"jobs"}:
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped"
            assert "healthcheck" in service or name == "hourly"
            assert "stop_grace_period" in service or name == "hourly"
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ending else "service_healthy"
            assert how == {"condition": wanted}


def test_secrets_are_files() -> None:
    declared = {name: one["file"] for name, one in composed()["secrets"].items()}
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(declared)
    assert all(file == f"./secrets/{name}" for name, file in declared.items())
    for name, service in SERVICES.items():
        variables = service.get("environment", {})
        for variable, value in variables.items():
            if re.search("PASSWORD|SECRET|KEY|_URL", variable) and value:
                assert variable.endswith("_FILE"), f"{name}: {variable}"
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"
    assert "://" not in re.sub(r"http://(127\.0\.0\.1|prometheus):", "", (HERE / "compose.yaml").read_text())


@pytest.mark.parametrize("name", sorted(OURS))
def test_variables_are_settings(name: str) -> None:
    variables = SERVICES[name]["environment"]
    ours = {one.removesuffix("_FILE").removeprefix(PREFIX).lower() for one in variables if one.startswith(PREFIX)}
    assert ours <= set(Settings.model_fields)
    plain = {one: value for one, value in variables.items() if one.startswith(PREFIX) and not one.endswith("_FILE")}
    assert load(plain).usecase == "cdnow"
    # what a container writes outlives it
    assert variables["HOLDFAST_HOME"] in [target for _, target, _ in mounts(SERVICES[name])]


@pytest.mark.parametrize("name", sorted(OURS - {"serving", "jobs", "hourly"}))
def test_commands_are_the_command_lines(name: str) -> None:
    words = [word for word in SERVICES[name]["command"] if not word.startswith("/")]
    command = commands()[words[0]]
    if hasattr(command, "commands"):
        command = command.commands[words[1]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_hourly_command_is_one() -> None:
    *shell, script = SERVICES["hourly"]["entrypoint"]
    assert shell == ["/bin/sh", "-c"]
    found = re.fullmatch(r'while sleep "\$EVERY"; do holdfast (\w+); done', script)
    assert found is not None
    assert found[1] in commands()
    assert int(SERVICES["hourly"]["environment"]["EVERY"]) > 0
    assert SERVICES["hourly"]["init"] is True  # a shell that is process 1 does not end at SIGTERM


def test_ports_are_those_of_the_service_and_open_once() -> None:
    published = [port.split(":") for service in SERVICES.values() for port in service.get("ports", [])]
    assert len({port for _, port, _ in published}) == len(published)
    inside = [port for _, _, port in (one.split(":") for one in SERVICES["serving"]["ports"])]
    assert inside == ["3000", str(Settings().grpc_port)]
    assert set(environ()) == set(re.findall(r"\$\{(\w+)", (HERE / "compose.yaml").read_text()))


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for source, _, read_only in mounts(service):
            if source.startswith("."):
                assert read_only, f"{name}: {source}"
                assert (HERE / source).exists() or source == environ()["DATA"], source
            else:
                assert source in composed()["volumes"]


def test_only_who_asks_the_stores_reaches_them() -> None:
    assert composed()["networks"]["stores"] == {"internal": True}
    for name, service in SERVICES.items():
        inside = name in OURS or name in ("postgres", "redis")
        assert ("stores" in service["networks"]) == inside, name
        assert "ports" not in service or "outside" in service["networks"], name  # an internal network opens none
    assert not {"outside"} & {one for name in ("postgres", "redis") for one in SERVICES[name]["networks"]}


def test_prometheus_reads_what_is_mounted(tmp_path: Path) -> None:
    for source, target, _ in mounts(SERVICES["prometheus"]):
        if source.startswith("."):
            copy = tmp_path / Path(target).relative_to("/etc/prometheus")
            shutil.copy(HERE / source, copy)
    (file,) = (word for word in SERVICES["prometheus"]["command"] if word.startswith("--config.file="))
    ran = subprocess.run(
        [program("promtool"), "check", "config", tmp_path / Path(file).name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = [int(number) for number in re.findall(r"SUCCESS: (\d+) rules found", ran.stdout)]
    assert sorted(checked) == sorted(len(rules(name)) for name in ("recording", "alerts"))
    assert mounts(SERVICES["prometheus"])[1][0] == os.path.relpath(RULES / "recording.yaml", HERE)


def test_prometheus_asks_the_services_by_the_names_that_the_rules_expect() -> None:
    jobs = {one["job_name"]: one for one in yaml.safe_load((HERE / "prometheus.yaml").read_text())["scrape_configs"]}
    assert {"holdfast", "holdfast-monitor"} <= set(jobs)
    (servers,) = jobs["holdfast"]["dns_sd_configs"]
    assert (servers["names"], servers["port"]) == (["serving"], Settings().metrics_port)
    ((monitor,),) = (one["targets"] for one in jobs["holdfast-monitor"]["static_configs"])
    assert monitor == "monitor:3003"
    assert {"serving", "monitor"} <= set(SERVICES)
    asked = [json.dumps(one) for one in jobs.values()]
    assert all("namespace" in one for one in asked)
    for name in ("serving", "monitor"):
        assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    (provider,) = yaml.safe_load((HERE / "grafana" / "dashboards.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((HERE / "grafana" / "datasources.yaml").read_text())["datasources"]
    inside = {target: (HERE / place).resolve() for place, target, _ in mounts(SERVICES["grafana"]) if "." in place[:1]}
    shown = inside[provider["options"]["path"]]
    assert len(list(shown.glob("*.json"))) == 3
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (inside[str(home.parent)] / home.name).exists()
    assert inside["/etc/grafana/provisioning/dashboards/holdfast.yaml"] == HERE / "grafana" / "dashboards.yaml"
    assert inside["/etc/grafana/provisioning/datasources/holdfast.yaml"] == HERE / "grafana" / "datasources.yaml"
    # the dashboards take the default one of the kind that they choose from
    choices = [one["templating"]["list"][0] for one in map(json.loads, (p.read_text() for p in shown.glob("*.json")))]
    assert {(one["name"], one["query"]) for one in choices} == {("datasource", source["type"])}
    assert source["isDefault"] is True
    assert source["url"] == "http://prometheus:9090"


def test_setup_makes_secrets_once_and_changes_the_tag(tmp_path: Path) -> None:
    for name in ("setup", "example.env"):
        shutil.copy(HERE / name, tmp_path)

    def setup(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tmp_path / "setup", *words], capture_output=True, text=True, check=False)

    assert [setup().returncode, setup("latest").returncode] == [2, 2]
    assert not (tmp_path / "secrets").exists()
    first = setup("1.0-aaa")
    assert first.returncode == 0, first.stderr
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(composed()["secrets"])
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert len({re.findall(r"[0-9a-f]{48}", text)[0] for text in made.values()}) == 4
    assert not any(secret.strip() in first.stdout for secret in made.values())

    (tmp_path / ".env").write_text((tmp_path / ".env").read_text().replace("HTTP_PORT=3000", "HTTP_PORT=3010"))
    assert setup("1.1-bbb").returncode == 0
    lines = (tmp_path / ".env").read_text().splitlines()
    assert [line for line in lines if line.startswith(("TAG=", "HTTP_PORT="))] == ["TAG=1.1-bbb", "HTTP_PORT=3010"]
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made

    settings = load(
        {
            "HOLDFAST_API_KEYS_FILE": str(tmp_path / "secrets" / "api-keys"),
            "HOLDFAST_ONLINE_URL_FILE": str(tmp_path / "secrets" / "redis-url"),
            "HOLDFAST_EVENTS_URL_FILE": str(tmp_path / "secrets" / "postgres-url"),
        }
    )
    name, _, key = made["api-keys"].strip().partition("=")
    assert Keys(settings).client({b"x-api-key": key.encode()}) == name
    assert settings.online_url == f"redis://:{made['redis-conf'].split()[1]}@redis:6379/0"
    assert settings.events_url == f"postgresql://holdfast:{made['postgres-password'].strip()}@postgres:5432/holdfast"
