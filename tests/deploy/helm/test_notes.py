"""What helm prints at the end: commands to paste, and what to mind."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from cli.workspace import Workspace
from tests.deploy.helm.chart import SHAPES, names, notes, one, render


def _commands(told: str) -> list[list[str]]:
    """The indented lines, as a shell takes them apart."""
    return [shlex.split(line) for line in re.findall(r"^   (\S.*)$", told, re.MULTILINE)]


def _told(shape: str, over: dict[str, Any] | None = None) -> str:
    """The words, however they are broken into lines."""
    return " ".join(notes(shape, over).split())


def test_steps_each_with_a_command_that_the_next_one_may_wait_for() -> None:
    for shape in SHAPES:
        told = notes(shape)
        steps = re.split(r"^\d\. ", told, flags=re.MULTILINE)[1:]
        assert [int(number) for number in re.findall(r"^(\d)\. ", told, re.MULTILINE)] == [*range(1, len(steps) + 1)]
        watch, ask, *tested, back = (_commands(step) for step in steps)
        assert watch[0][:3] == ["kubectl", "rollout", "status"], "nothing answers before"
        assert (ask[0][1], ask[-1][0]) == ("port-forward", "curl")
        assert ask[0][-1] != "&", "what comes next would not wait for it"
        assert "another terminal" in told
        assert all(test[0][:2] == ["helm", "test"] for test in tested)
        assert back[1][:2] == ["helm", "rollback"]
        assert "<no value>" not in told
        assert "%!" not in told


def test_the_commands_are_about_objects_that_there_are() -> None:
    for shape in SHAPES:
        objects = render(shape)
        for command in _commands(notes(shape)):
            if "kubectl" in command[0]:
                assert command[command.index("-n") + 1] == "shop"
            for word in command:
                kind, _, name = word.removeprefix("--from=").partition("/")
                if kind in ("service", "deployment", "cronjob"):
                    assert name in {
                        n.casefold() for n in names(objects, {"cronjob": "CronJob"}.get(kind, kind.title()))
                    }
        test = [command for command in _commands(notes(shape)) if command[:2] == ["helm", "test"]]
        assert bool(test) == bool(names(objects, "Pod")), "helm test, where there is something to run"


def test_the_prediction_is_one_that_the_service_takes() -> None:
    commands = _commands(notes("canary"))
    port = next(command for command in commands if command[1] == "port-forward")
    ask = next(command for command in commands if command[0] == "curl")
    assert ask[2] == "http://localhost:3000/v1/predict"
    service = one(render("canary"), "Service", port[port.index("-n") + 2].partition("/")[2])
    assert port[-1] == f"3000:{service['spec']['ports'][0]['port']}"
    body = json.loads(ask[ask.index("-d") + 1])
    key = Workspace.open("cdnow").usecase.key
    assert body == {key: "1"}
    assert "/docs.json" in notes("minimal"), "of another use case, what the service itself gives as an example"


def test_with_keys_and_a_certificate_the_prediction_has_the_one_and_minds_the_other() -> None:
    told = notes("production")
    assert "kubectl get secret -n shop holdfast-test-key" in told
    assert '{{index .data "key" | base64decode}}' in told
    (ask,) = (command for command in _commands(told) if command[0] == "curl")
    assert ask[1:4] == ["-sSk", "-H", "X-API-Key: $key"]
    assert ask[4].startswith("https://")


def test_what_to_mind() -> None:
    assert "Mind:" not in notes("production")
    everybody, unrecorded, untested, stale, unwatched, unscraped, silent = (
        "Everybody who reaches it may ask",
        "No answer is recorded",
        "nothing to run: jobsImage is empty",
        "Nothing brings tables",
        "Nothing watches what is served: stores.predictions and stores.monitor are empty",
        "Nothing here has it scraped",
        "It brings no alerts",
    )
    every = {everybody, unrecorded, untested, stale, unwatched, unscraped, silent}

    def minded(shape: str, over: dict[str, Any] | None = None) -> set[str]:
        told = _told(shape, over)
        return {words for words in every if words in told}

    assert minded("minimal") == {everybody, unrecorded, untested, unscraped, silent}
    assert minded("attributes") == {everybody, unrecorded, unwatched, unscraped}
    assert minded("canary") == {everybody, unscraped, silent}
    assert minded("keda") == {everybody, silent}
    no_jobs = {"jobsImage": {"repository": ""}}
    assert minded("monitoring-off", no_jobs) == {everybody, unrecorded, untested, stale, unscraped, silent}
    assert unwatched not in minded("monitoring-off"), "that is what was asked for"
    assert "helm test will be refused" in _told("production", {"secrets": {"testKey": None}})
    assert "as long as nobody moves the tag" in _told("canary", {"image": {"digest": "", "tag": "1.0"}})


def test_the_page_of_the_monitor_asks_for_a_key_where_there_are_any() -> None:
    page, password = "the page is on http://localhost:3003", "one of the API keys is its password"
    assert all(words in _told("production") for words in (page, password))
    assert page in _told("canary")
    assert password not in _told("canary")
    assert page not in _told("attributes")


def test_a_canary_is_told_with_what_becomes_of_it() -> None:
    told = _told("gateway")
    for words in (
        "20 % of the gateway's requests",
        "judges it for 120 s",
        "--rollback-on-failure",
        "canary.promote=true",
    ):
        assert words in told
    unwatched = "The canary's answers are recorded and not watched"
    assert unwatched in told
    assert unwatched not in _told("gateway", {"stores": {"archive": {"url": "s3://models/shop"}}})
    assert "judges it" not in _told("gateway", {"canary": {"judge": {"enabled": False}}})
    assert "canary" not in _told("production")
