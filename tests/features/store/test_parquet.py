"""The event store: batches appear whole or not at all, one writer at a time, and answer as of any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from features.source import Source
from features.store import open_events
from features.store.base import StoreError
from features.store.parquet import ParquetStore
from tests.features.toys import (
    GOOD,
    Sale,
    changed,
    feature_set,
    opened,
    sales,
    stored,
    take,
)

ROOT = Path(__file__).parents[3]
SALE = Source(Sale)
HOLD = """
import sys
from pathlib import Path
from features.store.lock import exclusive
with exclusive(Path(sys.argv[1]), "another ingest"):
    print("held", flush=True)
    sys.stdin.readline()
"""
INGEST = """
import sys
from pathlib import Path
from features.etl.ingest import ingest
from features.source import Source
from tests.features.toys import NOW, Sale, opened
home = Path(sys.argv[1])
for file in sorted(home.glob("*.csv")):
    ingest(opened(home, Source(Sale)), "events", file, now=NOW)
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another Python process that sees the project."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock while the block runs."""
    with python(HOLD, str(path)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.communicate("\n")


def test_a_second_writer_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    take(store, sales(GOOD))
    with held(store.root / ".lock") as other:
        with pytest.raises(StoreError, match=str(other.pid)):
            take(store, sales(changed(customer_id="8")))
        assert len(stored(store)) == 1
        other.kill()
        other.wait()
        assert take(store, sales(changed(customer_id="8"))).new == 1


def test_what_a_crash_left_behind_is_no_batch(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    take(store, sales(GOOD))
    for name in ("1", str(os.getpid())):
        draft = store.directory / f".draft-{name}"
        draft.mkdir()
        for file in ("rows.parquet", "manifest.json", "quarantine.parquet"):
            (draft / file).write_bytes(b"half")
    assert (len(store.batches()), len(stored(store)), store.quarantined()) == (1, 1, [])
    outcome = take(store, sales(changed(customer_id="8"), changed(pieces="x")))
    assert (outcome.batch, outcome.new, outcome.quarantined) == (2, 1, 1)
    assert [batch.number for batch in store.batches()] == [1, 2]


def test_a_killed_ingest_leaves_whole_batches_and_the_next_one_ends_it(tmp_path: Path) -> None:
    files = 12
    for number in range(files):
        lines = [changed(customer_id=f"{number}-{row}", price=str(row)) for row in range(200)]
        (tmp_path / f"{number:02d}.csv").write_text(sales(*lines, changed(customer_id=str(number), pieces="x")))
    store = opened(tmp_path, SALE)
    with python(INGEST, str(tmp_path)) as other:
        while len(store.batches()) < 3:
            assert other.poll() is None
        other.send_signal(signal.SIGKILL)
    whole = store.batches()
    assert 3 <= len(whole) < files
    assert [(b.number, b.rows, b.quarantined) for b in whole] == [(n + 1, 200, 1) for n in range(len(whole))]
    with python(INGEST, str(tmp_path)) as other:
        assert other.wait() == 0
    assert len({row["event_id"] for row in stored(store)}) == len(stored(store)) == 200 * files
    assert len(store.quarantined()) == files


def test_a_store_is_chosen_by_url(tmp_path: Path) -> None:
    features, sources = feature_set(Sale), {"events": SALE}
    by_default = open_events(None, tmp_path / "store", features, sources, name="toys")
    assert isinstance(by_default, ParquetStore)
    take(by_default, sales(GOOD))
    by_url = open_events(f"file://{tmp_path}/store", tmp_path, features, sources, name="toys")
    assert by_url.batches() == by_default.batches() != []
    with pytest.raises(StoreError, match=r"HOLDFAST_EVENTS_URL=ftp://x/y"):
        open_events("ftp://x/y", tmp_path, features, sources, name="toys")
