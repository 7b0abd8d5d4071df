"""`holdfast rollout judge` between real servers: a canary that is as good, and ones that are not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from cli.server import Server, free_port, serve
from cli.workspace import Workspace
from tests.cli.conftest import figures, holdfast

WATCH = ("--seconds", "4", "--minimum", "100")
ANY_TIME = ("--latency", "100")
"""Two servers on one busy machine: which of them waits for the other is chance."""
Body = Callable[[int], dict[str, Any]]


@pytest.fixture(scope="module")
def servers(cdnow: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """A stable server, a canary of the same model, and one whose online store is away."""
    log = tmp_path_factory.mktemp("rollout") / "log"
    canary, away = {"HOLDFAST_TRACK": "canary"}, {"HOLDFAST_ONLINE_URL": f"redis://127.0.0.1:{free_port()}"}
    environ = {"HOLDFAST_USECASE": cdnow.usecase.name}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(serve({**environ, **own}, log=log, ready=name != "away"))
            for name, own in (("stable", {}), ("canary", canary), ("away", canary | away))
        }


def known(number: int) -> dict[str, Any]:
    """A customer who has orders."""
    return {"customer_id": str(1 + number % 5_000)}


def strange(number: int) -> dict[str, Any]:
    """One of whom nothing is known."""
    return {"customer_id": f"nobody-{number}"}


@contextmanager
def asking(*asked: tuple[Server, Body]) -> Iterator[None]:
    """Ask these servers for predictions, one after the other, while the block runs."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            for number in itertools.count():
                for server, body in asked:
                    client.post(f"{server.url}/v1/predict", json=body(number))
                if over.is_set():
                    return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_canary_of_the_same_model_is_good(servers: dict[str, Server]) -> None:
    stable, canary = servers["stable"], servers["canary"]
    with asking((stable, known), (canary, known)):
        told = figures("rollout", "judge", stable.metrics, canary.metrics, *WATCH, *ANY_TIME)
    assert (told["verdict"], told["failed"], told["reasons"]) == ("good", False, [])
    assert [check["verdict"] for check in told["checks"]] == ["good"] * 3
    assert told["canary"]["requests"] > 100
    assert told["canary"]["errors"] == 0
    assert told["canary"]["models"] == told["stable"]["models"]


def test_a_canary_that_answers_nothing_is_bad_at_once(servers: dict[str, Server]) -> None:
    stable, away = servers["stable"], servers["away"]
    with asking((stable, known), (away, known)):
        done = holdfast("rollout", "judge", stable.metrics, away.metrics, "--seconds", "500", code=1)
    assert len(done.stderr.splitlines()) == 1
    assert "100.00%, stable 0.00%" in done.stderr
    assert "errors      bad" in done.stdout


def test_other_scores_are_bad(servers: dict[str, Server]) -> None:
    stable, canary = servers["stable"], servers["canary"]
    with asking((stable, known), (canary, strange)):
        done = holdfast("rollout", "judge", stable.metrics, canary.metrics, "--seconds", "500", *ANY_TIME, code=1)
    assert "scores: distance" in done.stderr
    assert "errors:" not in done.stderr


def test_a_canary_that_nobody_asks_is_what_is_asked_for(servers: dict[str, Server]) -> None:
    both = (servers["stable"].metrics, servers["canary"].metrics)
    done = holdfast("rollout", "judge", *both, "--seconds", "1", code=1)
    assert "0 requests of the canary" in done.stderr
    done = holdfast("rollout", "judge", *both, "--seconds", "1", "--insufficient", "pass")
    assert "too little to judge by, which is to pass" in done.stdout


def test_no_canary_at_all_is_bad_whatever_is_insufficient(servers: dict[str, Server]) -> None:
    places = (servers["stable"].metrics, f"127.0.0.1:{free_port()}")
    done = holdfast("rollout", "judge", *places, "--seconds", "1", "--insufficient", "pass", code=1)
    assert f"no canary answers behind {', '.join(places)}: 1 server seen; {places[1]}: " in done.stderr


def test_a_place_that_is_none_is_told() -> None:
    assert "'holdfast-metrics' is no HOST:PORT" in holdfast("rollout", "judge", "holdfast-metrics", code=1).stderr
