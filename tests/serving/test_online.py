"""What the core answers when its online store is down, slow, empty or back: the policy, the breaker, the metrics."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict
from prometheus_client import REGISTRY

from benchmarks.servers import Server
from cli.workspace import Workspace
from features import clock
from features.store.base import StoreError, Unreachable
from model import store as model_store
from serving.call import Call
from serving.core import Core
from serving.errors import NotReady
from serving.online import Breaker, Skipped
from tests.serving.outages import KINDS, at, empty, filled, frozen, until


@pytest.fixture(scope="module", params=KINDS)
def filled_server(request: pytest.FixtureRequest, cdnow: Workspace) -> Iterator[Server]:
    with filled(request.param, cdnow) as server:
        yield server


@pytest.fixture
def server(filled_server: Server) -> Iterator[Server]:
    """A server that runs when a test begins."""
    yield filled_server
    if filled_server.process is None:
        filled_server.start()


@contextmanager
def core_at(workspace: Workspace, url: str, **changed: object) -> Iterator[Core]:
    """A core that reads the store at `url`."""
    settings = at(workspace, url, **changed).settings
    core = Core(workspace.usecase, model_store.path(str(workspace.champion())), settings, record=False)
    with closing(core.online):
        yield core


async def answer(core: Core, *keys: str) -> dict[str, Any]:
    """The answer of the first of these keys, asked together; only what is new with each request is left out."""
    given = [{core.usecase.key: key} for key in keys or ("1",)]
    told = await core.predict(core.decoder.accept(given), Call.begin("/v1/predict/bulk", "id"))
    return {name: value for name, value in asdict(told.answers[0]).items() if name != "prediction_id"}


def ask(core: Core, *keys: str) -> dict[str, Any]:
    """Likewise, in a loop of its own."""
    return asyncio.run(answer(core, *keys))


def refused(core: Core) -> bool:
    """Whether a prediction is refused."""
    try:
        ask(core)
    except NotReady:
        return True
    return False


def metric(name: str, **labels: str) -> float:
    """A sample's value now."""
    value = REGISTRY.get_sample_value(f"holdfast_online_{name}", labels)
    assert value is not None, name
    return value


def test_refuse_tells_why_and_recovers_by_itself(cdnow: Workspace, server: Server) -> None:
    with core_at(cdnow, server.url) as core:
        before = ask(core)
        assert (before["known"], before["degraded"], metric("up")) == (True, False, 1)
        server.stop()
        with pytest.raises(NotReady) as predicted:
            ask(core)
        with pytest.raises(NotReady) as probed:
            core.ready()
        for told in (predicted, probed):
            assert "out of reach" in str(told.value.problems)
            assert server.url.rpartition("@")[2].split("//")[-1].split("/")[0] not in str(told.value.problems)
        assert metric("up") == 0
        server.start()
        until(lambda: not refused(core))
        assert ask(core) == before
        assert core.ready()["degraded"] is False
        assert metric("up") == 1


def test_cold_start_answers_as_for_an_unknown_key_and_says_so(cdnow: Workspace, server: Server) -> None:
    with core_at(cdnow, server.url, online_down="cold-start") as core:
        before, unknown = ask(core), ask(core, "nobody")
        assert (unknown["known"], unknown["degraded"]) == (False, False)
        server.stop()
        rows = metric("rows_total", outcome="degraded")
        degraded = ask(core)
        assert degraded == {
            **unknown,
            "customer_id": "1",
            "degraded": True,
            "as_of": clock.rfc3339(cdnow.usecase.now(None)),
        }
        assert ask(core, "1", "2")["degraded"] is True
        assert metric("rows_total", outcome="degraded") == rows + 3
        ready = core.ready()
        assert (ready["ready"], ready["degraded"]) == (True, True)
        assert "out of reach" in ready["problems"][0] or "in time" in ready["problems"][0]
        server.start()
        until(lambda: not ask(core)["degraded"])
        assert ask(core) == before
        assert (core.ready()["degraded"], core.ready()["problems"]) == (False, [])


@pytest.mark.parametrize("read", ["materialized", "on-read"])
def test_a_core_that_starts_while_the_store_is_down_answers_when_it_is_there(
    read: str, cdnow: Workspace, server: Server
) -> None:
    server.stop()
    with core_at(cdnow, server.url, online_read=read) as core:
        assert refused(core)
        server.start()
        until(lambda: not refused(core))
        assert ask(core)["known"] is True


@pytest.mark.parametrize("read", ["materialized", "on-read"])
def test_a_store_without_the_rows_is_never_answered_for(read: str, cdnow: Workspace, server: Server) -> None:
    with core_at(cdnow, empty(server), online_down="cold-start", online_read=read) as core:
        failures = metric("failures_total", reason="unusable")
        with pytest.raises(NotReady) as predicted:
            ask(core)
        with pytest.raises(NotReady) as probed:
            core.ready()
        for told in (predicted, probed):
            assert "run `holdfast m" in str(told.value.problems)
        assert metric("failures_total", reason="unusable") == failures + 1
        assert metric("up") == 0


def test_many_requests_through_an_outage_get_right_answers_or_none(cdnow: Workspace, server: Server) -> None:
    keys = [str(number) for number in range(1, 9)]
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}

    async def traffic(core: Core) -> None:
        over = asyncio.Event()

        async def client(key: str) -> None:
            while not over.is_set():
                with suppress(NotReady):
                    found[key].append(await answer(core, key))

        clients = [asyncio.create_task(client(key)) for key in keys]
        before = metric("rows_total", outcome="known")
        await asyncio.to_thread(until, lambda: metric("rows_total", outcome="known") > before + 50)
        await asyncio.to_thread(server.restart)
        after = metric("rows_total", outcome="known")
        await asyncio.to_thread(until, lambda: metric("rows_total", outcome="known") > after + 50)
        over.set()
        await asyncio.gather(*clients)

    with core_at(cdnow, server.url) as core:
        asyncio.run(traffic(core))
        for key, answers in found.items():
            right = ask(core, key)
            assert answers
            assert all(one == right for one in answers)


@pytest.mark.parametrize("read", ["materialized", "on-read"])
def test_a_server_that_freezes_in_the_middle_costs_a_time_out_and_no_more(
    read: str, cdnow: Workspace, server: Server
) -> None:
    with core_at(cdnow, server.url, online_timeout_ms=200, online_read=read) as core, ThreadPoolExecutor(1) as thread:
        before = ask(core)
        with frozen(server):
            assert thread.submit(refused, core).result(30)
            assert metric("up") == 0
        until(lambda: not refused(core))
        assert ask(core) == before


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_server_that_never_answers_costs_a_few_time_outs_and_not_one_per_request(
    scheme: str, cdnow: Workspace
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0"
        with core_at(cdnow, url, online_down="cold-start", online_timeout_ms=50) as core:
            tried, skipped = (metric("failures_total", reason=reason) for reason in ("unreachable", "skipped"))
            assert all(ask(core)["degraded"] for _ in range(50))
            tried = metric("failures_total", reason="unreachable") - tried
            assert 3 <= tried < 25
            assert metric("failures_total", reason="skipped") - skipped == 50 - tried


def test_reads_are_counted_and_timed_and_their_age_is_told(cdnow: Workspace) -> None:
    now = cdnow.as_of + 2 * clock.DAY
    changed = {"now": clock.rfc3339(now), "online_url": None}
    settings = cdnow.settings.model_validate({**cdnow.settings.model_dump(), **changed})
    core = Core(cdnow.usecase, model_store.path(str(cdnow.champion())), settings, record=False)
    with closing(core.online):
        names = [("read_seconds_count", {"how": "materialized"})]
        names += [("rows_total", {"outcome": outcome}) for outcome in ("known", "unknown", "degraded")]
        before = [metric(name, **labels) for name, labels in names]
        ask(core, "1", "2", "nobody")
        after = [metric(name, **labels) for name, labels in names]
        assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 1, 0]
        assert metric("as_of_timestamp_seconds") == cdnow.as_of / clock.SECOND
        assert metric("age_seconds") == 2 * clock.DAY / clock.SECOND


def test_a_file_that_is_not_there_is_refused_and_one_that_cannot_be_opened_is_down(
    cdnow: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "online.sqlite"
    with core_at(cdnow, f"sqlite://{path}", online_down="cold-start") as core:
        with pytest.raises(NotReady) as told:
            ask(core)
        assert "holdfast materialize" in str(told.value.problems)
        path.mkdir()
        assert ask(core)["degraded"] is True
        path.rmdir()
        path.write_text("no database " * 100)
        with pytest.raises(NotReady, match="cannot answer"):
            ask(core)
        shutil.copy(cdnow.home / "online.sqlite", path)
        assert (ask(core)["known"], ask(core)["degraded"]) == (True, False)


def test_a_use_case_without_events_has_no_store_that_could_be_down(telco: Workspace) -> None:
    with core_at(telco, "redis://127.0.0.1:1/0") as core:
        assert not core.online.waits
        assert core.ready()["degraded"] is False


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail() -> None:
    raise Unreachable("no route")


def refuse() -> None:
    raise StoreError("no rows")


def test_the_breaker_skips_after_failures_in_a_row_and_tries_once_per_pause() -> None:
    time = Clock()
    breaker = Breaker(failures=3, pause=1, clock=time)
    tried: list[float] = []

    def down() -> None:
        tried.append(time.now)
        fail()

    for now in (0.0, 0.0, 0.0, 0.0, 0.9, 1.0, 1.0, 1.9, 2.0, 2.0):
        time.now = now
        with pytest.raises(Unreachable, match="no route"):
            breaker.call(down)
    assert tried == [0.0, 0.0, 0.0, 1.0, 2.0]
    time.now = 3.0
    assert breaker.call(lambda: "back") == "back"
    assert breaker.call(lambda: "still") == "still"


def test_nobody_else_tries_while_one_does() -> None:
    time = Clock()
    breaker = Breaker(failures=1, pause=1, clock=time)
    with pytest.raises(Unreachable):
        breaker.call(fail)
    time.now = 1.0
    with pytest.raises(Skipped):
        breaker.call(lambda: breaker.call(lambda: "beside"))
    with pytest.raises(Skipped):
        breaker.call(lambda: "one failed attempt later")


@pytest.mark.parametrize("between", [lambda: None, refuse])
def test_an_answer_of_any_kind_begins_the_count_anew(between: Callable[[], None]) -> None:
    breaker = Breaker(failures=2, pause=1, clock=Clock())
    for _ in range(5):
        with pytest.raises(Unreachable, match=r"^no route$"):
            breaker.call(fail)
        with suppress(StoreError):
            breaker.call(between)
