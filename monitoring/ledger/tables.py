"""The tables of a ledger, and what is asked of them: one text for SQLite and for PostgreSQL.

state     one row: the version of the tables, the number of the last commit
cursor    how far each part of the log was read
opened    the open window of each model
closed    its closed windows, each with its verdict
facts     other results, by commit and place in it
counters  what was counted
notes     what watchers keep
seen      hashes of the ids that were counted, a row per commit and time
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, Protocol

import msgspec
import numpy as np

from features.store.base import StoreError
from model.registry import Busy
from monitoring.ledger.types import VERSION, Change, Closed, Ids, Opened

TABLES = """
CREATE TABLE IF NOT EXISTS {schema}state (one integer PRIMARY KEY, version integer NOT NULL, number bigint NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}cursor (part text PRIMARY KEY, place text NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}opened (
    model text PRIMARY KEY, rows bigint NOT NULL, labelled bigint NOT NULL, late bigint NOT NULL,
    began bigint NOT NULL, ended bigint NOT NULL, counts {blob} NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}closed (
    model text NOT NULL, number bigint NOT NULL, began bigint NOT NULL, ended bigint NOT NULL,
    closed_at bigint NOT NULL, rows bigint NOT NULL, labelled bigint NOT NULL, late bigint NOT NULL,
    counts {blob} NOT NULL, verdict text NOT NULL, reference text NOT NULL, PRIMARY KEY (model, number)
);
CREATE TABLE IF NOT EXISTS {schema}facts (
    number bigint NOT NULL, place bigint NOT NULL, kind text NOT NULL, model text, at bigint NOT NULL,
    body text NOT NULL, PRIMARY KEY (number, place)
);
CREATE INDEX IF NOT EXISTS facts_kind ON {schema}facts (kind, number, place);
CREATE TABLE IF NOT EXISTS {schema}counters (
    name text NOT NULL, label text NOT NULL, total bigint NOT NULL, PRIMARY KEY (name, label)
);
CREATE TABLE IF NOT EXISTS {schema}notes (name text PRIMARY KEY, value {blob} NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}seen (
    number bigint NOT NULL, place bigint NOT NULL, began bigint NOT NULL, ended bigint NOT NULL,
    ids {blob} NOT NULL, PRIMARY KEY (number, place)
);
CREATE INDEX IF NOT EXISTS seen_ended ON {schema}seen (ended, began)
"""
PASSES = 1_000
"""Commits whose facts about passes are kept; other facts stay."""
NAMES = ("state", "cursor", "opened", "closed", "facts", "counters", "notes", "seen")


class Connection(Protocol):
    """What runs a statement, with `?` where values go; its rows."""

    def __call__(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


class Tables:
    """A ledger in tables. An engine says how it is connected to.

    Args:
        schema: what stands before a table's name; where: the ledger for messages.
    """

    def __init__(self, schema: str, where: str) -> None:
        self.schema, self.where = schema, where

    def reading(self) -> AbstractContextManager[Connection | None]:
        """For statements that change nothing; None where there are no tables yet."""
        raise NotImplementedError

    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction that nobody else's overlaps; tables are made where there are none."""
        raise NotImplementedError

    def number(self) -> int:
        """Of the last commit; 0 before the first."""
        return next((int(row[0]) for row in self._rows("SELECT number FROM {}state")), 0)

    def cursor(self) -> dict[str, str]:
        """How far the log was read, by part of the log."""
        return dict(self._rows("SELECT part, place FROM {}cursor"))

    def models(self) -> list[str]:
        """Tags that answers were counted of, in the order of the alphabet."""
        return sorted(row[0] for row in self._rows("SELECT model FROM {}opened"))

    def opened(self, model: str) -> Opened | None:
        """Its open window; None before its first answer."""
        sql = "SELECT model, rows, labelled, late, began, ended, counts FROM {}opened WHERE model = ?"
        return next((Opened(*row) for row in self._rows(sql, [model])), None)

    def closed(self, model: str, last: int | None = None) -> list[Closed]:
        """Its closed windows, or so many last ones; oldest first."""
        sql = (
            "SELECT model, number, began, ended, closed_at, rows, labelled, late, counts, verdict, reference "
            "FROM {}closed WHERE model = ? ORDER BY number DESC"
        )
        rows = self._rows(*_limited(sql, [model], last))
        return [Closed(*(*row[:9], json.loads(row[9]), row[10])) for row in reversed(rows)]

    def counters(self) -> dict[tuple[str, str], int]:
        """What was counted, by name and label."""
        return {(name, label): total for name, label, total in self._rows("SELECT name, label, total FROM {}counters")}

    def facts(self, kind: str, model: str | None = None, last: int | None = None) -> list[dict[str, Any]]:
        """Results of that kind, of one model or of all, or so many last ones; oldest first."""
        which, values = ("", [kind]) if model is None else (" AND model = ?", [kind, model])
        sql = f"SELECT model, at, body FROM {{}}facts WHERE kind = ?{which} ORDER BY number DESC, place DESC"
        rows = self._rows(*_limited(sql, values, last))
        return [{**json.loads(body), "at": at, "model": about} for about, at, body in reversed(rows)]

    def note(self, name: str) -> bytes | None:
        """What a watcher keeps under that name."""
        return next((bytes(row[0]) for row in self._rows("SELECT value FROM {}notes WHERE name = ?", [name])), None)

    def seen(self, start: int, end: int) -> list[Ids]:
        """Ids that were counted, of those parts that have answers of the time from `start` to `end`."""
        sql = "SELECT ids FROM {}seen WHERE ended >= ? AND began <= ?"
        return [np.frombuffer(row[0], "<u8") for row in self._rows(sql, [start, end])]

    def commit(self, change: Change) -> int:
        """Add all of it; the number of the commit."""
        with self.writing() as run:
            there = self._state(run)
            if there != change.after:
                raise Busy(
                    f"{self.where}: another pass committed meanwhile (commit {there}, this one began at "
                    f"{change.after}); nothing of this pass was kept, and the next one goes on from there"
                )
            self._add(run, change, there + 1)
        return there + 1

    def migrate(self) -> str:
        """Make what is missing of the tables; again, it changes nothing. What there is then, in words."""
        with self.writing() as run:
            self._state(run)
        return f"{self.where}: windows and verdicts"

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.reading() as run:
            if run is None:
                return []
            self._state(run)
            return run(sql.format(self.schema), values)

    def _state(self, run: Connection) -> int:
        """Number of the last commit.

        Raises:
            StoreError: if the tables are of a version that is not known here.
        """
        version, number = next(iter(run(f"SELECT version, number FROM {self.schema}state")), (VERSION, 0))
        if version != VERSION:
            raise StoreError(
                f"{self.where} is of version {version}, and this release knows version {VERSION}: use the release "
                "that wrote it, or another HOLDFAST_MONITOR_URL, where monitoring begins anew"
            )
        return int(number)

    def _add(self, run: Connection, change: Change, number: int) -> None:
        put = self._put
        put(run, "state", ("one",), one=1, version=VERSION, number=number)
        for part, place in change.cursor.items():
            put(run, "cursor", ("part",), part=part, place=place)
        for part in change.forgotten:
            run(f"DELETE FROM {self.schema}cursor WHERE part = ?", [part])
        for opened in change.opened.values():
            put(run, "opened", ("model",), **_stored(asdict(opened)))
        for closed in change.closed:
            verdict = _json(closed.verdict)
            put(run, "closed", ("model", "number"), **_stored({**vars(closed), "verdict": verdict}))
        for index, fact in enumerate(change.facts):
            body = _json(fact.body)
            put(run, "facts", ("number", "place"), number=number, place=index, **{**vars(fact), "body": body})
        run(f"DELETE FROM {self.schema}facts WHERE kind = 'pass' AND number < ?", [number - PASSES])
        for (name, label), more in change.counters.items():
            run(
                f"INSERT INTO {self.schema}counters AS there (name, label, total) VALUES (?, ?, ?) "
                "ON CONFLICT (name, label) DO UPDATE SET total = there.total + excluded.total",
                [name, label, more],
            )
        for name, value in change.notes.items():
            if value is None:
                run(f"DELETE FROM {self.schema}notes WHERE name = ?", [name])
            else:
                put(run, "notes", ("name",), name=name, value=value)
        for index, seen in enumerate(change.seen):
            ids = seen.ids.astype("<u8").tobytes()
            put(run, "seen", ("number", "place"), number=number, place=index, began=seen.start, ended=seen.end, ids=ids)
        if change.unseen is not None:
            run(f"DELETE FROM {self.schema}seen WHERE ended < ?", [change.unseen])

    def _put(self, run: Connection, table: str, key: tuple[str, ...], **values: Any) -> None:
        """Add a row, or replace the one with that key."""
        marks = ", ".join("?" * len(values))
        rest = ", ".join(f"{name} = excluded.{name}" for name in values if name not in key)
        run(
            f"INSERT INTO {self.schema}{table} ({', '.join(values)}) VALUES ({marks}) "
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}",
            list(values.values()),
        )


def _limited(sql: str, values: list[Any], last: int | None) -> tuple[str, list[Any]]:
    return (sql, values) if last is None else (f"{sql} LIMIT ?", [*values, last])


def _json(values: Mapping[str, Any]) -> str:
    """What is no number (NaN, infinite) becomes null."""
    return msgspec.json.encode(values).decode()


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """By the names of columns: `end` and `window` are words of SQL."""
    names = {"start": "began", "end": "ended", "window": "counts"}
    return {names.get(name, name): value for name, value in values.items()}
