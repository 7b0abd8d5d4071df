"""One ingest: read, validate, quarantine, commit; and the way back out of quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from features.etl.read import Text, again, read, written
from features.etl.stage import Progress, Stage
from features.source import Source
from features.store.base import Appended, EventStore, watermark

if TYPE_CHECKING:
    import pandas as pd


def ingest(
    store: EventStore,
    table: str,
    given: Path | str | pd.DataFrame,
    *,
    now: int,
    backfill: bool = False,
    progress: Progress = lambda _: None,
) -> Appended:
    """Bring a CSV or Parquet file, a pandas frame, or what is new in a PostgreSQL table, into the event store.

    Args:
        given: a str is the address of a database, postgresql://..., whose table the source names.
        now: the batch's time, microseconds; backfill: the file is history, known when it happened.
        progress: called with the number of records read so far.

    Raises:
        SourceError: if the file as a whole cannot be read. A bad row never raises: it is quarantined.
        StoreError: if another process is ingesting, or a database is out of reach.
    """
    source = store.sources[table]
    if isinstance(given, str):
        from features.etl import postgres
        from features.store.postgres import connected

        with connected(given, snapshot=True) as connection:
            where = "" if source.relation is None else postgres.origin(given, source.relation)
            since = watermark(store.batches(), table, where)
            text, as_written = postgres.read(connection, given, source, since)
            return _run(store, table, text, as_written, now, backfill, progress)
    return _run(store, table, read(given, source), source, now, backfill, progress)


def replay(store: EventStore, *, now: int, backfill: bool = False) -> list[Appended]:
    """Validate every quarantined row anew, under today's contract; what is good now becomes events.

    Returns:
        What became of them, one per way they were written; rows that are still bad stay where they are.
    """
    forms = {batch.number: (batch.table, batch.form, batch.header) for batch in store.batches()}
    waiting = sorted(store.quarantined(), key=lambda row: forms[row["batch"]])
    replayed = []
    for (table, form, header), rows in groupby(waiting, key=lambda row: forms[row["batch"]]):
        source = store.sources[table]
        text = again(form, header, [row["original"] for row in rows], source)
        replayed.append(_run(store, table, text, written(form, source), now, backfill, lambda _: None))
    return replayed


def summary(origin: str, outcome: Appended) -> str:
    """One line that says what became of every row."""
    parts = [
        f"{outcome.read:,} rows = {outcome.new:,} new + {outcome.known:,} known + {outcome.quarantined:,} quarantined"
    ]
    parts.append(f"batch {outcome.batch}" if outcome.batch else "nothing to commit")
    return f"{origin}: {'; '.join(parts)}"


def total(outcomes: Sequence[Appended]) -> Appended:
    """The sum of several outcomes."""
    batches = [outcome.batch for outcome in outcomes if outcome.batch]
    return Appended(
        max(batches, default=None),
        sum(outcome.read for outcome in outcomes),
        sum(outcome.new for outcome in outcomes),
        sum(outcome.known for outcome in outcomes),
        sum(outcome.quarantined for outcome in outcomes),
    )


def _run(
    store: EventStore, table: str, text: Text, source: Source, now: int, backfill: bool, progress: Progress
) -> Appended:
    with Stage(table, text, source, now=now, backfill=backfill, progress=progress) as stage:
        return store.append(stage)
