"""`holdfast explain`: the service's own answer and reasons at that time, told to people and to programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cli.server import serve
from features import clock
from features.clock import DAY
from features.store.base import Spine
from settings import HoldfastError
from tests.cli.conftest import holdfast
from tests.cli.studio import NOBODY, START, Studio, member, said, told

NOW = 200.6
"""Fourteen hours after what the rows are as of."""


@dataclass(frozen=True)
class Open:
    """A studio with a server."""

    studio: Studio
    first: str
    client: httpx.Client

    @property
    def environ(self) -> dict[str, str]:
        """In which commands find it."""
        return self.studio.environ(NOW)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """A studio with two models, the second of which is served."""
    studio = Studio(tmp_path_factory.mktemp("studio") / "home")
    studio.home.mkdir()
    studio.visits((0, 180), 180)
    studio.members(180.5)
    first = studio.train(180.5)
    studio.visits((180, NOW), NOW)
    studio.train(NOW)
    log = tmp_path_factory.mktemp("serve") / "studio.log"
    with serve(studio.environ(NOW), log=log) as server, httpx.Client(base_url=server.url) as client:
        yield Open(studio, first, client)


def request_of(opened: Open, key: str) -> dict[str, Any]:
    """What a client sends who knows the member's record."""
    workspace = opened.studio.at(NOW)
    fields = workspace.events.records(Spine.at([key], workspace.now))
    own = {name: fields[name][0].item() for name in workspace.usecase.features.fields}
    plain = {name: None if value in ("",) or value != value else value for name, value in own.items()}
    if plain["since"] is not None:
        plain["since"] = int(plain["since"])
    return {"member_id": key, "attributes": plain}


@pytest.mark.parametrize("key", ["m1", "m0", "m15", "m42"])
def test_it_is_the_services_own_answer_and_its_reasons_to_the_last_bit(opened: Open, key: str) -> None:
    answer = opened.client.post("/v1/explain", json={**request_of(opened, key), "top": 4}).json()
    assert "explanation" in answer, json.dumps(answer)
    found = told("explain", key, "--top", "4", environ=opened.environ)
    assert repr(found["explanation"]) == repr(answer["explanation"])
    alike = ("member_id", "probability", "decision", "threshold", "model", "fingerprint", "as_of", "known")
    assert {name: found[name] for name in alike} == {name: answer[name] for name in alike}
    assert found["as_of"] != found["request_time"] == clock.rfc3339(START + int(NOW * DAY))


@pytest.mark.parametrize("number", [6, 15, 999])
def test_attributes_may_be_given_and_an_unknown_key_is_said(opened: Open, number: int) -> None:
    row = member(number)
    answer = opened.client.post("/v1/explain", json=row).json()
    given = ("explain", row["member_id"], "--attributes", json.dumps(row["attributes"]))
    found = told(*given, environ=opened.environ)
    assert repr(found["explanation"]) == repr(answer["explanation"])
    assert (found["known"], found["probability"]) == (answer["known"], answer["probability"])
    assert found["known"] == (row["member_id"] != NOBODY)
    assert ("known: false" in said(*given, environ=opened.environ).stdout) != found["known"]


def test_people_read_a_sum_with_money_and_times_as_they_write_them(opened: Open) -> None:
    words = holdfast("explain", "m1", "--top", "13", environ=opened.environ).stdout
    why = told("explain", "m1", "--top", "13", environ=opened.environ)["explanation"]
    value = {one["feature"]: one["value"] for one in why["contributions"]}
    shown = {line.split()[0]: line.split()[1:] for line in words.splitlines()[4:]}
    assert shown["fee"][0] == f"{value['fee'] / 100:.2f}"
    assert shown["last_at"][0] == clock.rfc3339(value["last_at"])
    assert shown["student"][0] == "false"
    assert shown["rating"][0] == f"{value['rating']:.6g}"
    adds = [float(line.split()[-1]) for line in words.splitlines()[4:]]
    assert len(adds) == 13 + 3
    assert sum(adds[:-1]) == pytest.approx(adds[-1], abs=1e-5)
    exact = why["base"] + sum(one["contribution"] for one in why["contributions"]) + why["rest"]
    assert exact == pytest.approx(why["margin"], abs=1e-9)
    assert re.search(r"^probability 0\.\d+: (stay|churn) \(threshold 0\.25\)$", words, re.MULTILINE)


def test_at_a_time_of_the_past_it_knows_what_was_known_then(opened: Open) -> None:
    at = clock.rfc3339(START + int(180.6 * DAY))
    then = told("explain", "m1", "--at", at, "--model", opened.first, environ=opened.environ)
    assert (then["model"], then["request_time"]) == (opened.first, at)
    assert then["as_of"] == clock.rfc3339(START + 180 * DAY)
    same = opened.studio.at(180.6)
    found = same.events.aggregate(Spine.at(["m1"], START + 180 * DAY))
    value = {one["feature"]: one["value"] for one in _all(opened, "m1", at)["contributions"]}
    assert {name: value[name] for name in ("visits", "paid")} == {
        name: found.aggregates[name][0].item() for name in ("visits", "paid")
    }
    now = _all(opened, "m1", clock.rfc3339(START + int(NOW * DAY)))
    assert {one["feature"]: one["value"] for one in now["contributions"]}["visits"] >= value["visits"]
    read = {**opened.environ, "HOLDFAST_ONLINE_READ": "on-read"}
    assert told("explain", "m1", "--at", at, environ=read)["as_of"] == at
    assert np.isfinite(then["probability"])


def _all(opened: Open, key: str, at: str) -> Any:
    return told("explain", key, "--at", at, "--top", "100", environ=opened.environ)["explanation"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("m1", "--attributes", "{"), "--attributes is no JSON"),
        (("m1", "--attributes", '{"age": -1}'), "attributes.age: Input should be greater than or equal to 0"),
        (("m1", "--attributes", '{"age": -1}'), "attributes.student: Field required"),
        ((NOBODY,), f'no record of "{NOBODY}" was known at 2025-07-20T14:24:00Z'),
        ((NOBODY,), "--attributes JSON"),
        (("m1", "--at", "noon"), "'noon' is no time"),
        (("m1", "--model", "studio"), "names no version"),
        (("m1", "--model", "studio:none"), "no model studio:none in the store"),
    ],
)
def test_what_a_user_can_mend_is_told(opened: Open, words: tuple[str, ...], expected: str) -> None:
    done = said("explain", *words, environ=opened.environ, code=1)
    assert isinstance(done.exception, HoldfastError)
    assert expected in str(done.exception)


def test_a_use_case_without_a_champion_says_so(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    environ = {**studio.environ(NOW), "HOLDFAST_USECASE": "telco"}
    done = said("explain", "1", "--model", "telco@nobody", environ=environ, code=1)
    assert "telco@nobody" in str(done.exception)
