"""Shipping the prediction log: every record that was acknowledged is in PostgreSQL once, whoever is killed or away."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from benchmarks.servers import Server
from cli.workspace import ROOT
from model.predictions import Entry, Header
from model.predictions.outcome import Outcomes
from model.predictions.segment import OPEN, SEALED, frame, name, segments
from serving import recorder as module
from serving.recorder import Recorder, Unkept
from tests.model.answers import HEADER, entry
from tests.serving.test_recorder import WRITER, ids, told

PLENTY = 10**9
WAIT = 60.0
"""Seconds after which a condition that never comes fails the test."""


@pytest.fixture
def table(postgresql: Server) -> Iterator[None]:
    """No table yet, other tests may have left one; it goes with the test, and the server is up again."""
    for moment in ("before", "after"):
        if postgresql.process is None:
            postgresql.start()
        with psycopg.connect(postgresql.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS holdfast_club CASCADE")
        if moment == "before":
            yield


@contextmanager
def recording(url: str, home: Path, bound: int = PLENTY) -> Iterator[Recorder]:
    """A recorder while the block runs."""
    with closing(Recorder(url, home, HEADER, bound)) as recorder:
        yield recorder


def until(condition: Callable[[], bool], recorder: Recorder | None = None) -> None:
    """Wait for it; a recorder goes on ticking meanwhile."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        if recorder is not None:
            recorder.tick()
        time.sleep(0.01)


def ship_some(recorder: Recorder, more: int = 1) -> None:
    """Wait until so many predictions more are shipped."""
    enough = recorder.shipped + more
    until(lambda: recorder.shipped >= enough, recorder)


def go_on(recorder: Recorder, seconds: float) -> None:
    """Let it try for a while."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, recorder)


def stored(server: Server) -> list[str]:
    """Ids in the table."""
    if not server.answers():
        return []
    with psycopg.connect(server.url) as connection:
        if connection.execute("SELECT to_regclass('holdfast_club.predictions')").fetchone() == (None,):
            return []
        return [one for (one,) in connection.execute("SELECT prediction_id FROM holdfast_club.predictions ORDER BY 1")]


def outcomes(server: Server) -> list[str]:
    """Ids of outcomes in their table."""
    with psycopg.connect(server.url) as connection:
        return [one for (one,) in connection.execute("SELECT outcome_id FROM holdfast_club.outcomes ORDER BY 1")]


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def shippers(pid: int) -> list[int]:
    """The shippers among them."""
    return [child for child in children(pid) if b"serving.ship" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def put(directory: Path, first: Entry, *others: Entry | Outcomes, torn: bytes = b"", end: str = OPEN) -> Path:
    """A segment as a process that died has left it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (name(first.time, "gone", 9, 1) + end)
    records: list[Header | Entry | Outcomes] = [HEADER, first, *others]
    path.write_bytes(b"".join(b"".join(frame(record)) for record in records) + torn)
    return path


@pytest.mark.usefixtures("table")
def test_everything_is_shipped_soon_and_nothing_is_left(postgresql: Server, tmp_path: Path) -> None:
    entries = [entry(*map(str, range(1 + 400 * (i % 5 == 0)))) for i in range(100)]
    with recording(postgresql.url, tmp_path) as recorder:
        for one in entries[:50]:
            recorder.append(one)
        until(lambda: recorder.shipped == recorder.written, recorder)  # nothing is asked, and it is sealed
        assert recorder.waiting == 0
        for one in entries[50:]:
            recorder.append(one)
        assert recorder.waiting > 0
    assert stored(postgresql) == sorted(i for one in entries for i in one.ids())
    assert recorder.shipped == recorder.written == len(stored(postgresql))
    assert sum(recorder.dropped.values()) == recorder.waiting == 0
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_the_password_is_on_no_command_line(postgresql: Server, tmp_path: Path) -> None:
    with recording(postgresql.url.replace("holdfast@", "holdfast:s3cret@"), tmp_path) as recorder:
        recorder.append(entry("a"))
        until(lambda: recorder.shipped == 1, recorder)
        (shipper,) = shippers(os.getpid())
        assert b"s3cret" not in Path(f"/proc/{shipper}/cmdline").read_bytes()


@pytest.mark.usefixtures("table")
def test_a_shipper_that_is_killed_again_and_again_ships_everything_once(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 40_000)  # many segments, so that it is killed in the middle of them
    entries = [entry(*map(str, range(20))) for _ in range(2_000)]
    dice, killed = random.Random(7), 0  # noqa: S311
    with recording(postgresql.url, tmp_path) as recorder:
        for number, one in enumerate(entries):
            recorder.append(one)
            if number % 400 == 399:
                ship_some(recorder)
                time.sleep(dice.random() * 0.02)  # anywhere in a transaction, before or after its commit
                for shipper in shippers(os.getpid()):
                    os.kill(shipper, signal.SIGKILL)
                    killed += 1
        until(lambda: recorder.waiting == 0, recorder)
    assert killed == 5
    assert stored(postgresql) == sorted(i for one in entries for i in one.ids())
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_what_was_committed_just_before_the_shipper_died_is_not_added_again(postgresql: Server, tmp_path: Path) -> None:
    made = [entry("a", "b"), entry("c")]
    with recording(postgresql.url, tmp_path) as recorder:
        for _ in range(3):  # a segment whose commit came and whose removal did not
            path = put(recorder.directory, *made[:2], end=SEALED)
            made.append(entry("d"))
            recorder.append(made[-1])
            ship_some(recorder, 4)
            assert not path.exists()
    assert stored(postgresql) == sorted(i for one in made for i in one.ids())


@pytest.mark.parametrize("orphaned", [False, True], ids=["its shipper lives", "its shipper dies too"])
@pytest.mark.usefixtures("table")
def test_what_a_killed_worker_acknowledged_is_shipped_once(orphaned: bool, postgresql: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), postgresql.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(1_000)]
        until(lambda: len(shippers(writer.pid)) == 1)
        (shipper,) = shippers(writer.pid)
        while not stored(postgresql):  # it dies while some is shipped, some sealed, some neither
            acknowledged += [writer.stdout.readline().strip() for _ in range(100)]
        if orphaned:
            os.kill(shipper, signal.SIGSTOP)
            acknowledged += [writer.stdout.readline().strip() for _ in range(1_000)]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        acknowledged += rest[: rest.rfind("\n") + 1].split()
    if orphaned:
        (left,) = (tmp_path / "spool").iterdir()
        with recording(postgresql.url, tmp_path) as recorder:
            recorder.append(entry("new"))
            ship_some(recorder)
            assert segments(left)  # what may still be shipped by another is not touched
            assert set(acknowledged) - set(stored(postgresql))
            os.kill(shipper, signal.SIGKILL)
            until(lambda: set(acknowledged) <= set(stored(postgresql)), recorder)
            until(lambda: recorder.waiting == 0, recorder)
    until(lambda: not alive(shipper))
    found = stored(postgresql)
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 1 + orphaned  # the one that was being answered, and the new one
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_a_torn_segment_of_a_dead_process_is_adopted_and_one_of_a_living_is_not(
    postgresql: Server, tmp_path: Path
) -> None:
    made = [entry("a"), entry("b")]
    torn = b"".join(frame(entry("c")))[:-1]
    put(tmp_path / "spool" / "0-gone-9-0", *made, torn=torn)
    with recording(postgresql.url, tmp_path) as living:
        until(lambda: len(stored(postgresql)) == 2)
        living.append(entry("d"))
        with recording(postgresql.url, tmp_path) as second:
            second.append(entry("e"))
            until(lambda: second.shipped == 1, second)
            assert [path.suffix for path in segments(living.directory)] == [OPEN]
    assert len(stored(postgresql)) == 4
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_a_server_that_goes_and_comes_back_loses_nothing_and_is_told_once(
    postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgresql.url.replace("holdfast@", "holdfast:s3cret@")
    ids = []
    with caplog.at_level(logging.INFO, "holdfast.serving"), recording(url, tmp_path) as recorder:
        for phase in ("up", "away", "back"):
            if phase == "away":
                postgresql.stop(signal.SIGKILL)
            for _ in range(50):
                made = entry("a", "b")
                recorder.append(made)
                ids += made.ids()
            if phase == "away":
                until(lambda: "out of reach" in caplog.text, recorder)
                assert recorder.waiting > 0
                go_on(recorder, 2)  # it is tried some times more, and that is not told
                postgresql.start()
            until(lambda: recorder.waiting == 0, recorder)
            assert recorder.shipped == len(ids)
    assert stored(postgresql) == sorted(ids)
    assert sum(recorder.dropped.values()) == 0
    told = [record.getMessage() for record in caplog.records]
    assert sum("wait in" in line for line in told) == 1
    assert sum("takes predictions again" in line for line in told) == 1
    assert "s3cret" not in caplog.text


@pytest.mark.usefixtures("table")
def test_beyond_the_bound_records_are_dropped_and_counted_and_the_rest_is_shipped(
    postgresql: Server, tmp_path: Path
) -> None:
    postgresql.stop()
    with recording(postgresql.url, tmp_path, bound=30_000) as recorder:
        entries = [entry("a", "b", "c") for _ in range(500)]
        for one in entries:
            recorder.append(one)
            recorder.tick()
            assert recorder.waiting <= 30_000
        assert recorder.dropped["spool"] > 0
        assert recorder.written > 0
        assert recorder.written + sum(recorder.dropped.values()) == 1_500
        assert sum(path.stat().st_size for path in segments(recorder.directory)) <= 30_000
        kept = recorder.written
        postgresql.start()
        until(lambda: recorder.waiting == 0, recorder)
        assert stored(postgresql) == sorted(i for one in entries[: kept // 3] for i in one.ids())  # the newest went
        recorder.append(entry("d"))
        assert recorder.written == kept + 1
        assert sum(recorder.dropped.values()) == 1_500 - kept


@pytest.mark.usefixtures("table")
def test_what_is_left_when_the_server_stays_away_waits_for_the_next_start(postgresql: Server, tmp_path: Path) -> None:
    postgresql.stop()
    entries = [entry("a") for _ in range(20)]
    with recording(postgresql.url, tmp_path) as recorder:
        for one in entries:
            recorder.append(one)
    assert shippers(os.getpid()) == []
    assert [path.suffix for path in segments(recorder.directory)] == [SEALED]
    postgresql.start()
    with recording(postgresql.url, tmp_path) as second:
        until(lambda: second.shipped == 20, second)
    assert stored(postgresql) == sorted(one.id for one in entries)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_outcomes_are_accepted_while_the_server_is_away_and_are_there_once_when_it_is_back(
    postgresql: Server, tmp_path: Path
) -> None:
    postgresql.stop(signal.SIGKILL)
    kept, answers = [told("a", "b"), told("c")], [entry("x"), entry("y")]
    with recording(postgresql.url, tmp_path) as recorder:
        for number in range(2):
            recorder.append(answers[number])
            recorder.keep(kept[number]).result(WAIT)
        recorder.keep(kept[0]).result(WAIT)  # sent again, its answer having been lost
        assert recorder.waiting > 0
        postgresql.start()
        until(lambda: recorder.waiting == 0, recorder)
        put(recorder.directory, answers[0], kept[1], end=SEALED)  # as of a shipper that died behind its commit
        kept.append(told("d"))
        recorder.keep(kept[2]).result(WAIT)
        until(lambda: not segments(recorder.directory), recorder)
    assert outcomes(postgresql) == sorted(ids(*kept))
    assert stored(postgresql) == sorted(one.id for one in answers)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.usefixtures("table")
def test_beyond_the_bound_outcomes_are_refused_and_those_acknowledged_are_shipped(
    postgresql: Server, tmp_path: Path
) -> None:
    postgresql.stop()
    kept = []
    with recording(postgresql.url, tmp_path, bound=30_000) as recorder:
        refused: Unkept | None = None
        while refused is None:
            one = told("a", "b", "c")
            try:
                recorder.keep(one)
                kept.append(one)
            except Unkept as unkept:
                refused = unkept
        assert refused.reason == "spool"
        assert 10 < len(kept) < 1_000
        postgresql.start()
        until(lambda: recorder.waiting == 0, recorder)
    assert outcomes(postgresql) == sorted(ids(*kept))


@pytest.mark.usefixtures("table")
def test_what_the_table_cannot_hold_is_kept_in_a_file_and_the_rest_is_shipped(
    postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [entry("a"), entry("b")]
    poison = [entry("c", request_id="nul\0"), entry("d", "e", now=2**62)]
    with recording(postgresql.url, tmp_path) as recorder:
        for one in (good[0], *poison, good[1]):
            recorder.append(one)
        until(lambda: recorder.waiting == 0, recorder)
        until(lambda: recorder.dropped["refused"] == 3)
        assert recorder.shipped == 2
    assert stored(postgresql) == sorted(one.id for one in good)
    (kept,) = segments(tmp_path / "spool" / "refused")
    assert str(kept) in caplog.text


@pytest.mark.usefixtures("table")
def test_of_a_damaged_segment_what_can_be_read_is_shipped(
    postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [entry("a"), entry("b"), entry("c")]
    path = put(tmp_path / "spool" / "0-gone-9-0", *made)
    data = bytearray(path.read_bytes())
    data[data.index(made[1].id.encode())] ^= 1
    path.write_bytes(data)
    with recording(postgresql.url, tmp_path) as recorder:
        until(lambda: "damaged" in caplog.text, recorder)
        recorder.append(entry("d"))
        until(lambda: recorder.shipped == 2, recorder)
    assert made[0].id in stored(postgresql)
    assert len(stored(postgresql)) == 2
    (kept,) = segments(tmp_path / "spool" / "refused")
    assert kept.read_bytes() == bytes(data)


@pytest.mark.usefixtures("table")
def test_a_spool_that_vanishes_is_made_again(postgresql: Server, tmp_path: Path) -> None:
    with recording(postgresql.url, tmp_path) as recorder:
        recorder.append(entry("a"))
        until(lambda: recorder.shipped == 1, recorder)
        shutil.rmtree(tmp_path / "spool")
        made = entry("b")
        recorder.append(made)
        until(lambda: recorder.shipped == 2, recorder)
    assert made.id in stored(postgresql)


def test_a_password_that_is_missing_is_a_refusal(
    postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = postgresql.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + before)
    try:
        with psycopg.connect(postgresql.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 's3cret'")
            connection.execute("SELECT pg_reload_conf()")
        locked = postgresql.url.replace("holdfast@", "locked@")
        with recording(locked, tmp_path) as recorder:
            recorder.append(entry("a"))
            until(lambda: "refuses the connection" in caplog.text, recorder)
            for shipper in shippers(os.getpid()):  # it would try for all its grace
                os.kill(shipper, signal.SIGKILL)
        assert "no password supplied" in caplog.text
        assert "out of reach" not in caplog.text
    finally:
        rules.write_text(before)
        with psycopg.connect(postgresql.url, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE IF EXISTS locked")


def test_serving_ships_without_what_its_image_lacks() -> None:
    program = (
        "import sys\nfor name in ('pyarrow', 'duckdb', 'pandas', 'adbc_driver_manager', 'typer'):\n"
        "    sys.modules[name] = None\nimport serving.ship, serving.recorder\nprint('there')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "there\n", done.stderr
