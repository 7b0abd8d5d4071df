"""Writing the prediction log: an entry is in a file before `append` returns; what cannot be is counted, not raised."""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cli.workspace import ROOT
from features.store.base import StoreError
from model.predictions.outcome import Outcome, Outcomes
from model.predictions.reading import Directory
from model.predictions.segment import SEALED, read, segments
from serving import recorder as module
from serving.recorder import LARGEST, PAUSE, Recorder, Unkept
from tests.model.answers import HEADER, entry

NOW = 1_717_243_200_000_000
NUMBER = count(1)

WRITER = """
import sys
from pathlib import Path
from serving.recorder import Recorder
from tests.model.answers import HEADER, entry

recorder = Recorder(None if sys.argv[2] == "-" else sys.argv[2], Path(sys.argv[1]), HEADER, 10**9)
while True:
    made = entry("k")
    recorder.append(made)
    recorder.tick()
    print(made.id, flush=True)
"""
"""Appends, and acknowledges what is appended, until it is killed."""


def logged(home: Path) -> list[str]:
    """Ids of all that is in the log under that home."""
    return [one.prediction_id for one in Directory(home / "predictions", "club").between()]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A log in files."""
    with closing(Recorder(None, tmp_path, HEADER, 1)) as opened:
        yield opened


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond that, as where a quota is used up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def after_pause(recorder: Recorder) -> None:
    """Wait until a recorder that failed tries again, which it does by the clock."""
    until = time.monotonic() + PAUSE
    while time.monotonic() <= until:
        recorder.tick()


def test_an_entry_can_be_read_as_soon_as_it_is_appended(recorder: Recorder, tmp_path: Path) -> None:
    ids = []
    for n in (1, 3, 1):
        made = entry(*map(str, range(n)))
        recorder.append(made)
        ids += made.ids()
        assert logged(tmp_path) == ids
    assert recorder.written == 5
    recorder.close()
    assert [path.suffix for path in segments(tmp_path / "predictions")] == [SEALED]
    assert logged(tmp_path) == ids


def test_segments_are_sealed_by_size(recorder: Recorder, tmp_path: Path) -> None:
    made = entry(*map(str, range(5_000)))
    size = 0
    while size < 3 * LARGEST:
        recorder.append(made)
        size += len(made.features) + len(made.aggregates)
    recorder.close()
    found = segments(tmp_path / "predictions")
    assert len(found) > 3
    assert all(path.stat().st_size >= LARGEST for path in found[:-1])
    assert all(path.stat().st_size < 1.1 * LARGEST for path in found)
    assert sum(1 for path in found for _ in read(path)) * 5_000 == recorder.written


def test_segments_are_sealed_by_age_when_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_AGE", 0.05)
    with closing(Recorder(None, tmp_path, HEADER, 1)) as recorder:
        recorder.tick()
        assert not segments(tmp_path / "predictions")
        recorder.append(entry("a"))
        while [path.suffix for path in segments(tmp_path / "predictions")] != [SEALED]:
            recorder.tick()
        recorder.append(entry("b"))
        assert len(segments(tmp_path / "predictions")) == 2
    assert len(logged(tmp_path)) == 2


def test_recorders_in_one_directory_do_not_meet(tmp_path: Path) -> None:
    ids = []
    with closing(Recorder(None, tmp_path, HEADER, 1)) as one, closing(Recorder(None, tmp_path, HEADER, 1)) as two:
        for _ in range(20):
            made = [entry("a", at=1_717_243_200_000_000), entry("b", at=1_717_243_200_000_000)]
            one.append(made[0])
            two.append(made[1])
            ids += [made[0].id, made[1].id]
    assert len(segments(tmp_path / "predictions")) == 2
    assert sorted(logged(tmp_path)) == sorted(ids)


def test_processes_in_one_directory_lose_nothing_that_was_acknowledged_when_they_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), "-"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    acknowledged = []
    for number, writer in enumerate(writers):
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(500 * (number + 1))]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        acknowledged += rest[: rest.rfind("\n") + 1].split()
        writer.wait()
        writer.stdout.close()
    found = logged(tmp_path)
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + len(writers)  # at most one that was being answered


def test_a_directory_that_vanishes_is_counted_told_once_and_made_again(
    recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.append(entry("a"))
    shutil.rmtree(tmp_path / "predictions")
    (tmp_path / "predictions").write_text("in the way")
    with caplog.at_level(logging.INFO, "holdfast.serving"):
        for _ in range(3):
            recorder.append(entry("b", "c"))
            after_pause(recorder)
        assert recorder.dropped == {"spool": 0, "disk": 6, "entry": 0, "refused": 0}
        (tmp_path / "predictions").unlink()
        made = [entry("d"), entry("e")]
        for one in made:
            recorder.append(one)
    assert logged(tmp_path) == [one.id for one in made]
    assert recorder.written == 3
    told = [record.getMessage() for record in caplog.records]
    assert sum("was removed" in line or "not recorded now" in line for line in told) == 1
    assert sum("recorded again" in line and "6 (disk)" in line for line in told) == 1


def test_what_a_full_disk_takes_in_part_is_dropped_whole_and_the_rest_can_be_read(
    recorder: Recorder, tmp_path: Path
) -> None:
    small = [entry("a") for _ in range(4)]
    large = entry(*map(str, range(1_000)))
    with largest_file(20_000):
        recorder.append(small[0])
        recorder.append(large)
        assert recorder.dropped["disk"] == 1_000
        recorder.append(small[1])
        assert recorder.dropped["disk"] == 1_001  # nothing is tried in the pause
        after_pause(recorder)
        recorder.append(small[2])
    recorder.append(small[3])
    assert (recorder.written, recorder.dropped["disk"]) == (3, 1_001)
    recorder.close()
    assert logged(tmp_path) == [small[0].id, small[2].id, small[3].id]


def test_an_entry_that_no_reader_could_take_is_counted(recorder: Recorder, tmp_path: Path) -> None:
    recorder.append(entry("\ud800"))
    recorder.append(entry("a", "b", latency=2**70))
    recorder.append(entry("c"))
    assert (recorder.written, recorder.dropped["entry"]) == (1, 3)
    assert len(logged(tmp_path)) == 1


def test_none_records_nothing(tmp_path: Path) -> None:
    with closing(Recorder("none:", tmp_path, HEADER, 1)) as recorder:
        recorder.append(entry("a"))
        recorder.tick()
    assert (recorder.written, recorder.waiting, recorder.shipped, sum(recorder.dropped.values())) == (0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["s3://bucket", "postgresql://me:s3/cret@host/x"])
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as raised:
        Recorder(url, tmp_path, HEADER, 1)
    assert "cret" not in str(raised.value)


def told(*keys: str) -> Outcomes:
    """Outcomes of these keys."""
    plain: dict[str, Any] = {"at": NOW, "outcome": True, "observed_at": NOW, "received_at": NOW}
    return Outcomes(items=[Outcome(outcome_id=f"{key}-{next(NUMBER)}", key=key, **plain) for key in keys])


def outcomes(home: Path) -> set[str]:
    """Ids of the outcomes in the log under that home."""
    return {one.outcome_id for one in Directory(home / "predictions", "club").outcomes()}


def ids(*kept: Outcomes) -> set[str]:
    """Of these."""
    return {one.outcome_id for request in kept for one in request.items}


def test_outcomes_can_be_read_as_soon_as_they_are_kept_and_are_on_the_disk_soon(
    recorder: Recorder, tmp_path: Path
) -> None:
    kept = []
    for keys in (["a"], ["b", "c"], ["d"]):
        recorder.append(entry("x"))
        kept.append(told(*keys))
        flushed = recorder.keep(kept[-1])
        assert outcomes(tmp_path) == ids(*kept)
        assert flushed.result(60) is None
    assert len(logged(tmp_path)) == recorder.written == 3


def test_outcomes_that_fill_a_segment_are_on_the_disk_when_it_is_sealed(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 500)
    kept = [told("a"), told(*"b" * 20), told("c")]
    flushed = [recorder.keep(one) for one in kept]
    flushed[1].result(60)
    assert segments(tmp_path / "predictions")[0].suffix == SEALED
    for one in flushed:
        one.result(60)
    assert outcomes(tmp_path) == ids(*kept)


def test_outcomes_that_cannot_be_written_are_refused_until_they_can(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("in the way")
    for _ in range(2):  # the second falls in the pause
        with pytest.raises(Unkept) as raised:
            recorder.keep(told("a"))
        assert raised.value.reason == "disk"
        assert str(tmp_path) not in str(raised.value)
    (tmp_path / "predictions").unlink()
    after_pause(recorder)
    kept = told("b")
    recorder.keep(kept).result(60)
    assert outcomes(tmp_path) == ids(kept)
    assert sum(recorder.dropped.values()) == 0  # these are predictions


def test_outcomes_that_a_full_disk_takes_in_part_are_refused_whole(recorder: Recorder, tmp_path: Path) -> None:
    kept = [told("a"), told("b")]
    with largest_file(20_000):
        recorder.keep(kept[0]).result(60)
        with pytest.raises(Unkept):
            recorder.keep(told(*"x" * 1_000))
        after_pause(recorder)
        recorder.keep(kept[1]).result(60)
    recorder.append(entry("c"))
    assert outcomes(tmp_path) == ids(*kept)
    assert len(logged(tmp_path)) == 1


def test_outcomes_that_no_reader_could_take_are_refused(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(Unkept) as raised:
        recorder.keep(told("\ud800"))
    assert raised.value.reason == "entry"
    assert outcomes(tmp_path) == set()
