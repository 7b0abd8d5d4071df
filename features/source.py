"""A source: how the columns of a team's own files become the fields of a contract."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field

from features.clock import HOUR
from features.contract import Contract, ContractError, column_of, columns


@dataclass(frozen=True)
class Relation:
    """A table or view of a PostgreSQL database, read incrementally: what was updated since the last time, and again
    what was updated shortly before that, as a transaction may commit later than the time it writes.

    Args:
        name: `schema.table`, as in SQL without quotes.
        updated: column that says when a row was written, a timestamp; a row without one would never be read.
        id: column that orders rows of one time.
        lateness: microseconds before the last time read that are read again; longer than the longest transaction.
    """

    name: str
    updated: str
    id: str
    lateness: int = 2 * HOUR


@dataclass(frozen=True)
class Source:
    """Where a table's rows come from, as text, and what they must hold.

    Args:
        contract: what every row must hold.
        rename: file column -> contract field, where they differ.
        ignore: file columns that are not wanted. Any other unknown column sends its rows to quarantine.
        rewrite: field -> (RE2 pattern, replacement), applied to the text before it is validated.
        delimiter, encoding: of a CSV file; runs of a blank delimiter count as one.
        time_format: strptime format of times; None means ISO 8601.
        zone: IANA zone of times written without one; None refuses such times.
        relation: where the rows are in a PostgreSQL database, for `holdfast ingest postgresql://...`.
        arrival_delay: microseconds between an event and its arrival, for history loaded with `--backfill`.
    """

    contract: type[Contract]
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    rewrite: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    delimiter: str = ","
    encoding: str = "utf-8"
    time_format: str | None = None
    zone: str | None = None
    relation: Relation | None = None
    arrival_delay: int = 0

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1:
            raise ContractError(f"source of {self.contract.__name__}: a delimiter is one character: {self.delimiter!r}")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ContractError(f"source of {self.contract.__name__}: no encoding {self.encoding!r}") from None
        names = {column.name for column in columns(self.contract)}
        for name in [*self.rename.values(), *self.rewrite]:
            if name not in names:
                raise ContractError(f"source of {self.contract.__name__} names {name!r}, which the contract lacks")
        if column_of(self.contract, "key") is None:
            raise ContractError(f"{self.contract.__name__} has no Key: which customer is a row about?")
