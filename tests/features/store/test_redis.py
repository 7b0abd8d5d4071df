"""Redis's own: rows with their own time, generations, a lease that can be lost, and a server that drops keys."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis as driver
from redis.crc import key_slot

from benchmarks.servers import Server
from cli.workspace import ROOT
from features.store import open_online
from features.store.base import Materialized, Rows, StoreError, Unreachable
from features.store.redis import RedisStore
from tests.features.store.places import Place
from tests.features.store.test_online import COUNT, T, columns, part, totals
from tests.features.toys import Row


@pytest.fixture
def at(redis: Server, tmp_path: Path) -> Place:
    """A place in Redis."""
    return Place("redis", tmp_path, redis)


@pytest.fixture
def store(at: Place) -> Iterator[RedisStore]:
    """A store there."""
    with closing(at.open(COUNT)) as opened:
        assert isinstance(opened, RedisStore)
        yield opened


@pytest.fixture
def client(redis: Server) -> Iterator[Any]:
    """Somebody else at the same server."""
    with closing(driver.Redis.from_url(redis.url, decode_responses=True)) as opened:
        yield opened


def broken(total: int) -> Iterator[Rows]:
    """A part, and then a failure."""
    yield part(["1"], total)
    raise RuntimeError("the event store went away")


def test_after_an_interrupted_run_to_later_nobody_is_told_an_earlier_time(store: RedisStore) -> None:
    store.materialize([part(["1", "2"], 7)], T, 1, full=True)
    with pytest.raises(RuntimeError):
        store.materialize(broken(8), T + 9, 2, full=False)
    assert store.as_of() == Materialized(T, 1, 2, begun=T + 9)
    assert totals(store, ["1", "2"]) == [(T + 9, 8, True), (T, 7, True)]
    assert (store.read(["2"]).batch, store.read(["1", "2"]).batch) == (1, None)
    with pytest.raises(RuntimeError):
        store.materialize(broken(9), T + 10, 2, full=False)
    assert store.as_of().begun == T + 10
    store.materialize([part(["1", "2"], 5)], T + 1, 2, full=True)
    assert store.as_of() == Materialized(T + 1, 2, 2)
    assert totals(store, ["1", "2"]) == [(T + 1, 5, True), (T + 1, 5, True)]


def test_generations_that_nobody_reads_are_removed(at: Place, store: RedisStore, client: Any) -> None:
    def generations() -> int:
        return len(client.keys(f"holdfast:{{{at.name}}}:rows:*"))

    for moment in (T, T + 1):
        store.materialize([part(["1"], 7)], moment, 1, full=True)
        assert generations() == 1
    for _ in range(2):
        with pytest.raises(RuntimeError):
            store.materialize(broken(8), T + 2, 1, full=True)
        assert generations() == 2  # the one that is read, and the one just begun
    store.materialize([part(["2"], 8)], T + 2, 1, full=False)
    assert (generations(), totals(store, ["1", "2"])) == (1, [(T + 2, 7, True), (T + 2, 8, True)])
    store.drop(COUNT.fingerprint)
    assert client.keys(f"holdfast:{{{at.name}}}:*") == []


def test_events_of_a_batch_that_is_half_there_are_in_no_answer(at: Place, store: RedisStore, client: Any) -> None:
    store.load(1, columns([Row("e", "1", T - 9, 0, 5)]))
    store.load(2, columns([Row("f", "1", T - 8, 0, 6)]))
    client.zrem(f"holdfast:{{{at.name}}}:batches", 2)  # as a writer leaves it that is killed before its last word
    assert store.compute(["1"], T).aggregates["total"].tolist() == [5]
    store.load(2, columns([Row("f", "1", T - 8, 0, 6)]))
    assert store.compute(["1"], T).aggregates["total"].tolist() == [11]


def test_a_clear_that_is_interrupted_leaves_no_event_for_later(at: Place, store: RedisStore, client: Any) -> None:
    store.load(1, columns([Row("e", "1", T - 9, 0, 5)]))
    client.delete(f"holdfast:{{{at.name}}}:batches", f"holdfast:{{{at.name}}}:materialized")
    store.load(1, columns([Row("f", "2", T - 9, 0, 5)]))
    assert store.compute(["1", "2"], T).known.tolist() == [False, True]


@pytest.mark.parametrize("full", [True, False])
def test_a_writer_whose_lease_was_lost_changes_nothing_more(
    at: Place, store: RedisStore, client: Any, full: bool
) -> None:
    store.materialize([part(["1", "2"], 7)], T, 1, full=True)
    other = at.open(COUNT)

    def parts() -> Iterator[Rows]:
        yield part(["1"], 8)
        client.delete(f"holdfast:{{{at.name}}}:lock")  # it slept, and its lease ran out
        other.materialize([part(["1", "2"], 9)], T + 5, 2, full=True)
        yield part(["2"], 8)

    with pytest.raises(StoreError, match="the right to write was lost"):
        store.materialize(parts(), T + 1, 2, full=full)
    assert store.as_of() == Materialized(T + 5, 2, 2)
    assert totals(store, ["1", "2"]) == [(T + 5, 9, True), (T + 5, 9, True)]
    other.close()


def test_a_lease_is_renewed_while_a_part_takes_long(
    at: Place, store: RedisStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.store.redis._LEASE", 0.3)
    lock = f"holdfast:{{{at.name}}}:lock"
    with store.exclusive():
        before, deadline = client.pttl(lock), time.monotonic() + 20
        while not client.pttl(lock) > before:  # only a renewal makes it longer
            assert client.exists(lock)
            assert time.monotonic() < deadline
            before = client.pttl(lock)
    assert not client.exists(lock)


def test_rows_that_the_server_dropped_are_missed_and_made_again(at: Place, store: RedisStore, client: Any) -> None:
    store.materialize([part(["1", "2"], 7)], T, 1, full=True)
    (rows,) = client.keys(f"holdfast:{{{at.name}}}:rows:*")
    client.delete(rows)
    for call in (store.as_of, lambda: store.read(["1"])):
        with pytest.raises(StoreError, match=r"0 of 2 rows.*noeviction.*materialize --full"):
            call()
    store.materialize([part(["1", "2"], 7)], T, 1, full=True)
    assert totals(store, ["1"]) == [(T, 7, True)]


def test_a_server_that_drops_keys_unasked_is_not_written_to(store: RedisStore, client: Any) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreError, match=r"allkeys-lru.*noeviction"), store.exclusive():
            pass
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_stands_still_is_told_in_time(at: Place, store: RedisStore) -> None:
    store.materialize([part(["1"], 7)], T, 1, full=True)
    with closing(open_online(at.url, at.home, COUNT, name=at.name, timeout=0.2)) as hasty:
        server = at.server and at.server.process
        assert server
        server.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="HOLDFAST_ONLINE_TIMEOUT_MS"):
                hasty.read(["1"])
        finally:
            server.send_signal(signal.SIGCONT)
        assert totals(hasty, ["1"]) == [(T, 7, True)]


def test_every_key_is_in_one_slot_of_a_cluster(at: Place, store: RedisStore, client: Any) -> None:
    store.load(1, columns([Row("e", "{1}", T - 9, 0, 5)]))
    with store.exclusive():
        store.materialize([part(["{1}"], 7)], T, 1, full=True)
        keys = client.keys(f"*{{{at.name}}}*")
        assert len(keys) == 7
        assert len({key_slot(key.encode()) for key in keys}) == 1


def test_no_message_tells_the_password(redis: Server, tmp_path: Path) -> None:
    url = redis.url.replace("redis://", "redis://:secret@").replace(redis.url[-8:-2], ":1")
    with closing(open_online(url, tmp_path, COUNT, name="toy", timeout=0.3)) as store:
        for call in (store.as_of, store.clear, lambda: store.read(["1"])):
            with pytest.raises(Unreachable, match=r"redis://:\*\*\*@127") as told:
                call()
            assert "secret" not in str(told.value)
    with pytest.raises(StoreError, match=r"x:\*\*\*@h.*is no address") as refused:
        open_online("redis://x:secret@h:port/0", tmp_path, COUNT, name="toy")
    assert "secret" not in str(refused.value)


def test_a_writer_killed_on_this_machine_leaves_no_lease_behind(at: Place, store: RedisStore, client: Any) -> None:
    program = (
        "import os, signal, sys; from features.store.redis import RedisStore; from tests.features.toys import *\n"
        "from tests.features.store.test_online import COUNT\n"
        "with RedisStore(sys.argv[1], sys.argv[2], COUNT, timeout=5, pool=2).exclusive():\n"
        "    print('held', flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", program, str(at.url), at.name]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match=f"process {holder.pid} is doing it"), store.exclusive():
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert client.exists(f"holdfast:{{{at.name}}}:lock")
    with store.exclusive():
        store.materialize([part(["1"], 7)], T, 1, full=True)
    assert totals(store, ["1"]) == [(T, 7, True)]
