"""The event store: batches appear whole or not at all, one writer at a time, and answer as of any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field

from features.aggregates import Aggregate
from features.clock import DAY, parse
from features.contract import Contract, Key, Timestamp
from features.etl.ingest import replay
from features.source import Source
from features.store import open_events
from features.store.base import Spine, StoreError
from features.store.parquet import ParquetStore
from features.store.sqlite import SQLiteStore
from tests.features.toys import (
    GOOD,
    NOW,
    Account,
    Receipt,
    Sale,
    changed,
    feature_set,
    opened,
    records,
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


def test_a_contract_that_gains_a_field_still_reads_its_past(tmp_path: Path) -> None:
    class Before(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    class After(Contract):
        customer_id: Key
        at: Timestamp
        size: int
        colour: Annotated[int, Field(ge=0)] | None

    first = opened(tmp_path, Source(Before, zone="UTC"))
    take(first, "customer_id,at,size\n1,2025-01-01,5\n1,2025-01-01,x\n")
    old = SQLiteStore(tmp_path / "online", first.features)
    old.load(1, first.events(1))
    old.close()
    store = opened(tmp_path, Source(After, zone="UTC"), Aggregate.sum("sizes", "size"), Aggregate.max("c", "colour"))
    assert take(store, "customer_id,at,size,colour\n1,2025-01-02,6,\n1,2025-01-03,7,4\n", name="b.csv").new == 2
    online = SQLiteStore(tmp_path / "online", store.features)
    for batch in store.batches():
        online.load(batch.number, store.events(batch.number))
    for found in (store.aggregate(Spine.at(["1"], NOW)), online.compute(["1"], NOW)):
        assert {name: values.tolist() for name, values in found.aggregates.items()} == {"sizes": [18], "c": [4.0]}
    online.close()
    assert len(store.quarantined()) == 1


def test_rows_of_one_table_say_nothing_of_another(tmp_path: Path) -> None:
    class Seen(Contract):
        customer_id: Key
        at: Timestamp
        size: Annotated[int, Field(le=5)]

    class Noted(Contract):
        customer_id: Key
        at: Timestamp
        size: int

    sources = {"events": Source(Seen, zone="UTC"), "records": Source(Noted, zone="UTC")}
    store = ParquetStore(tmp_path / "store", feature_set(Seen), sources)
    content = "customer_id,at,size\n1,2025-01-01,9\n"
    assert take(store, content).quarantined == 1
    assert take(store, content, table="records").new == 1
    assert [row["table"] for row in store.quarantined()] == ["events"]
    assert set(map(len, store.events(2).values())) == {0}
    assert [outcome.new for outcome in replay(store, now=NOW)] == [0]
    assert len(store.quarantined()) == 1


def test_cut_hides_what_happened_from_then_on(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    days = [f"2025-01-0{day}T00:00:00Z" for day in range(1, 6)]
    take(store, sales(*(changed(sold_at=day) for day in days)), backfill=True)
    spine = Spine.at(["7"], parse("2025-02-01T00:00:00Z"))
    cuts = [None, parse(days[2]), parse(days[2]) + 1, parse(days[0])]
    assert [store.aggregate(spine, cut=cut).aggregates["seen"].tolist() for cut in cuts] == [[5], [2], [3], [0]]


def test_span_keys_and_activity(tmp_path: Path) -> None:
    store = opened(tmp_path, SALE)
    with pytest.raises(StoreError, match="no events yet"):
        store.span()
    assert store.keys(NOW).tolist() == []
    take(
        store, sales(changed(sold_at="2025-01-01T00:00:00Z"), changed(customer_id="b", sold_at="2025-01-03T00:00:00Z"))
    )
    first, last = store.span()
    assert (last - first, store.keys(NOW).tolist(), store.keys(NOW - 1).tolist()) == (2 * DAY, ["7", "b"], [])
    t = np.array([first, first + 1, last - DAY, last - DAY, last], dtype=np.int64)
    spine = Spine(np.array(["7", "7", "b", "b", "nobody"]), t)
    assert store.active(spine, DAY).tolist() == [1, 0, 0, 0, 0]
    assert store.active(spine, DAY + 1).tolist() == [1, 0, 1, 1, 0]


def test_content_changes_with_every_row_and_not_with_the_file(tmp_path: Path) -> None:
    one, two = (opened(tmp_path / name, SALE) for name in "ab")
    for store in (one, two):
        store.root.parent.mkdir()
        take(store, sales(GOOD), name=f"{store.root.parent.name}.csv")
    assert one.content() == two.content()
    take(one, sales(GOOD))
    assert one.content() == two.content()
    take(one, sales(changed(customer_id="8")))
    assert one.content() != two.content()


def plans(store: ParquetStore, t: int) -> list[str]:
    """Plan of customer 1 as of t."""
    return [str(plan) for plan in store.records(Spine.at(["1"], t))["plan"]]


def test_a_record_without_a_time_is_the_state_of_its_key_also_on_the_way_back(tmp_path: Path) -> None:
    store = records(tmp_path, Source(Account))
    for day, plan in enumerate(["small", "large", "small", "small"]):
        content = f"customer_id,plan\n1,{plan}\n2,large\n"
        outcome = take(store, content, table="records", now=NOW + day * DAY)
        assert outcome.new == [2, 1, 1, 0][day]
        assert take(store, content, table="records", now=NOW + day * DAY + 5).new == 0
    assert [plans(store, NOW + day * DAY)[0] for day in range(4)] == ["small", "large", "small", "small"]
    with pytest.raises(StoreError, match="'1'"):
        plans(store, NOW - 1)


def test_two_states_of_a_key_in_one_file_are_settled_once(tmp_path: Path) -> None:
    store = records(tmp_path, Source(Account))
    take(store, "customer_id,plan\n1,small\n", table="records")
    both = "customer_id,plan\n1,small\n1,large\n"
    take(store, both, table="records", now=NOW + 1)
    before = plans(store, NOW + DAY)
    assert [take(store, both, table="records", now=NOW + 2).batch for _ in range(2)] == [None, None]
    assert plans(store, NOW + DAY) == before


def test_dated_records_answer_as_of_their_time_and_arrival(tmp_path: Path) -> None:
    store = records(tmp_path, Source(Receipt, zone="UTC", arrival_delay=DAY))
    header = "receipt,customer_id,sold_at,price\n"
    take(store, header + "a,1,2025-01-01,1\nb,1,2025-01-05,2\nc,2,2025-01-02,3\n", table="records", backfill=True)
    at = [parse(f"2025-01-0{day}T00:00:00Z") for day in (2, 5, 6, 7, 3)]
    spine = Spine(np.array(["1", "1", "1", "1", "2"]), np.array(at, dtype=np.int64))
    assert store.records(spine)["price"].tolist() == [100, 100, 200, 200, 300]
    with pytest.raises(StoreError, match=r"'2'.*2025-01-02"):
        store.records(Spine.at(["2"], at[0]))


def test_a_store_is_chosen_by_url(tmp_path: Path) -> None:
    features, sources = feature_set(Sale), {"events": SALE}
    by_default = open_events(None, tmp_path / "store", features, sources, name="toys")
    assert isinstance(by_default, ParquetStore)
    take(by_default, sales(GOOD))
    by_url = open_events(f"file://{tmp_path}/store", tmp_path, features, sources, name="toys")
    assert by_url.batches() == by_default.batches() != []
    with pytest.raises(StoreError, match=r"HOLDFAST_EVENTS_URL=ftp://x/y"):
        open_events("ftp://x/y", tmp_path, features, sources, name="toys")
