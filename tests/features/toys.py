"""A toy shop's contracts, and ways to bring rows of it into the real stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from features.aggregates import Aggregate
from features.contract import Arrival, Blank, Contract, EventId, Key, Money, Timestamp
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.base import Appended, Batch, EventStore
from features.store.parquet import ParquetStore
from features.store.sqlite import SQLiteStore

NOW = 1_750_000_000_000_000
"""A batch's time, microseconds: 2025-06-15."""


class Visit(Contract):
    """An event with a column of every kind, most of which may be missing."""

    customer_id: Key
    at: Timestamp
    seen_at: Arrival
    amount: Money | None
    pages: int | None
    kind: Literal["web", "app", "it's"] | None
    gift: bool | None
    weight: float | None


class Sale(Contract):
    """An event as most teams have it: no id, no arrival time."""

    customer_id: Key
    sold_at: Timestamp
    kind: Literal["web", "shop"]
    pieces: Annotated[int, Field(ge=1, le=100)]
    price: Annotated[Money, Field(ge=0, le=1_000_00)]
    gift: bool
    weight: Annotated[float, Field(ge=0, le=50)]
    note: Annotated[int, Blank(-1, "no note")]


class Receipt(Contract):
    """An event with the source's own id."""

    receipt: EventId
    customer_id: Key
    sold_at: Timestamp
    price: Money


class Account(Contract):
    """A record without a time: the state of its key."""

    customer_id: Key
    plan: Literal["small", "large"]


@dataclass(frozen=True)
class Row:
    """A stored event of Visit."""

    event_id: str
    key: str
    ts: int
    ingested_at: int
    amount: int | None = None
    pages: int | None = None
    kind: str | None = None
    gift: int | None = None
    weight: float | None = None


ROW = pa.schema(
    {name: pa.string() for name in ("event_id", "key")}
    | {name: pa.int64() for name in ("ts", "ingested_at", "amount", "pages")}
    | {"kind": pa.string(), "gift": pa.int64(), "weight": pa.float64(), "batch": pa.int64()}
)
SALES_HEADER = "customer_id,sold_at,kind,pieces,price,gift,weight,note"
GOOD = "7,2025-01-02T03:04:05Z,web,2,11.77,yes,1.5,3"
"""A line of Sale that every rule accepts."""


def feature_set(contract: type[Contract], *aggregates: Aggregate) -> FeatureSet:
    """Those aggregates over that contract, or their count."""
    chosen = aggregates or (Aggregate.count("seen"),)
    return FeatureSet(inputs=tuple(a.name for a in chosen), events=contract, aggregates=chosen)


def opened(home: Path, source: Source, *aggregates: Aggregate) -> ParquetStore:
    """An event store of one source."""
    return ParquetStore(home / "store", feature_set(source.contract, *aggregates), {"events": source})


def records(home: Path, source: Source) -> ParquetStore:
    """A store of one source of records."""
    fields_ = FeatureSet(inputs=("request_time",))
    return ParquetStore(home / "store", fields_, {"records": source})


def take(
    store: ParquetStore, content: str | bytes, *, name: str = "file.csv", table: str = "events", **how: Any
) -> Appended:
    """Ingest a file of that content."""
    path = store.root.parent / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return ingest(store, table, path, **{"now": NOW, **how})


def sales(*lines: str) -> str:
    """A CSV file of Sale."""
    return "".join(f"{line}\n" for line in (SALES_HEADER, *lines))


def changed(**values: str) -> str:
    """The good line of Sale with other texts in some columns."""
    cells = dict(zip(SALES_HEADER.split(","), GOOD.split(","), strict=True))
    return ",".join({**cells, **values}.values())


def stored(store: EventStore, table: str = "events") -> list[dict[str, Any]]:
    """Every stored event, in order of its id, without its batch."""
    rows: list[dict[str, Any]] = []
    for batch in store.batches():
        columns: Mapping[str, Sequence[Any]] = store.events(batch.number) if table == "events" else {}
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(rows, key=lambda row: str(row["event_id"]))


def reasons(store: EventStore) -> list[list[str]]:
    """Why each waiting row waits, in order of batch and row."""
    return [list(row["reasons"]) for row in store.quarantined()]


def lay(home: Path, number: int, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Files of these events of Visit laid out as a committed batch, without the road there; the events by column."""
    directory = home / "store" / "batches" / f"{number:06d}"
    directory.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Row)}
    pq.write_table(pa.table({**columns, "batch": [number] * len(rows)}, schema=ROW), directory / "rows.parquet")
    batch = Batch(number, "events", "", "", "", "csv", (), len(rows), 0, "", "")
    (directory / "manifest.json").write_text(json.dumps(batch.as_dict()))
    return columns


def commit(home: Path, features: FeatureSet, rows: Sequence[Row]) -> tuple[ParquetStore, SQLiteStore]:
    """Both stores holding these events of Visit, as one batch."""
    columns = lay(home, 1, rows)
    offline = ParquetStore(home / "store", features, {"events": Source(Visit)})
    online = SQLiteStore(home / "online.sqlite", features)
    online.load(1, columns)
    return offline, online


def numbered(rows: Sequence[Row]) -> list[Row]:
    """The rows with ids of their own."""
    return [replace(row, event_id=f"e{number}") for number, row in enumerate(rows)]
