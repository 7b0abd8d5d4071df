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


def test_three_steps_each_with_a_command() -> None:
    for shape in SHAPES:
        told = notes(shape)
        assert re.findall(r"^(\d)\. ", told, re.MULTILINE) == ["1", "2", "3"]
        commands = [command[0] for command in _commands(told)]
        assert {"kubectl", "curl", "helm"} <= set(commands)
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
    assert port[-2] == f"3000:{service['spec']['ports'][0]['port']}"
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
    everybody, unrecorded, nothing = (
        "Everybody who reaches it may ask",
        "No answer is recorded",
        "Nothing brings tables",
    )
    told = _told("minimal")
    assert all(words in told for words in (everybody, unrecorded, nothing))
    told = _told("canary")
    assert everybody in told
    assert unrecorded not in told
    assert nothing not in told
    assert "helm test will be refused" in _told("production", {"secrets": {"testKey": None}})
    assert "as long as nobody moves the tag" in _told("canary", {"image": {"digest": "", "tag": "1.0"}})


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
