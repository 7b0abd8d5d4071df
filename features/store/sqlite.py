"""The online store on a laptop: one SQLite file per use case, in WAL mode.

events       clustered by (key, ts): what on-read computes from
rows_<fp>    one materialized row per key of fingerprint fp
materialized fingerprint, as_of, batch, rows: which tables are whole
batches      numbers of the event batches taken over
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from features.contract import SYSTEM, columns
from features.featureset import FeatureSet
from features.store import plain
from features.store.base import Lookup, Materialized, Rows, StoreError, Unreachable, unmaterialized
from features.store.lock import exclusive

_MOST = 500
"""Keys computed in one on-read statement; more keys are several statements."""


class SQLiteStore:
    """Online store of one use case.

    Args:
        path: the database file; made with its directory when missing.
        features: whose events are kept and whose aggregates are read.
        read_only: for serving: nothing is made, and nothing can be changed.

    Raises:
        StoreError: if `read_only` and there is no such file.
    """

    def __init__(self, path: Path, features: FeatureSet, *, read_only: bool = False) -> None:
        self.path, self.features = path, features
        self.names = [aggregate.name for aggregate in features.aggregates]
        self.table = _table(features.fingerprint)
        if read_only and not path.exists():
            raise StoreError(f"{path} does not exist: run `holdfast materialize` first")
        path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        with self._telling():
            self.connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        if not read_only:
            self._create()

    def migrate(self) -> str:
        """Nothing more: tables are made when the file is opened for writing."""
        return f"{self.path}: events, materialized rows"

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def last_batch(self) -> int:
        """Number of the last batch taken over, 0 for none."""
        with self._telling():
            return int(self.connection.execute("SELECT coalesce(max(number), 0) FROM batches").fetchone()[0])

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Take over the events of one committed batch; loading a batch again changes nothing.

        Args:
            events: equally long columns event_id, key, ts, ingested_at and the contract's fields.
        """
        names = list(events)
        marks = ", ".join("?" * (len(names) + 1))
        with self._transaction():
            if self.connection.execute("SELECT 1 FROM batches WHERE number = ?", [batch]).fetchone():
                return
            listed = ", ".join(f'"{name}"' for name in names)
            self.connection.executemany(
                f"INSERT OR IGNORE INTO events ({listed}, batch) VALUES ({marks})",
                ((*row, batch) for row in zip(*events.values(), strict=True)),
            )
            self.connection.execute("INSERT INTO batches (number) VALUES (?)", [batch])

    def materialize(self, parts: Iterable[Rows], as_of: int, batch: int, *, full: bool) -> None:
        """Write rows of the feature set's fingerprint, all or only changed ones, in one transaction.

        Args:
            parts: keys and their aggregates; as_of: microseconds; batch: the last event batch in them.

        Raises:
            StoreError: if what was written is not what was given; then nothing has changed.
        """
        layout = "".join(f', "{name}" INTEGER' for name in self.names)
        insert = f"INSERT OR REPLACE INTO {self.table} VALUES ({', '.join('?' * (2 + len(self.names)))})"
        with self._transaction():
            run = self.connection.execute
            if full:
                run(f"DROP TABLE IF EXISTS {self.table}")
                run(f"CREATE TABLE {self.table} (key TEXT PRIMARY KEY, known INTEGER NOT NULL{layout}) WITHOUT ROWID")
            for part in parts:
                rows = plain.tuples(self.features, part)
                self.connection.executemany(insert, rows)
                listed = json.dumps([row[0] for row in rows])
                back = run(f"SELECT r.* FROM json_each(?) j JOIN {self.table} r ON r.key = j.value", [listed])
                plain.verify(str(self.path), rows, back.fetchall())
            (count,) = run(f"SELECT count(*) FROM {self.table}").fetchone()
            run(
                "INSERT OR REPLACE INTO materialized (fingerprint, as_of, batch, rows) VALUES (?, ?, ?, ?)",
                [self.features.fingerprint, as_of, batch, count],
            )

    def as_of(self) -> Materialized:
        """What the materialized rows of this fingerprint are.

        Raises:
            StoreError: if there are none, naming those that are there.
        """
        sql = "SELECT as_of, batch, rows FROM materialized WHERE fingerprint = ?"
        with self._telling():
            row = self.connection.execute(sql, [self.features.fingerprint]).fetchone()
        if row is None:
            raise unmaterialized(str(self.path), self.fingerprints(), self.features)
        return Materialized(*row)

    def read(self, keys: Sequence[str]) -> Lookup:
        """The materialized rows of these keys; a key without one is answered as a key without events.

        Raises:
            StoreError: if no rows of this fingerprint are materialized.
        """
        names = "".join(f', r."{name}"' for name in self.names)
        sql = (  # one statement is one state of the store
            f"SELECT j.key, m.as_of, m.batch, coalesce(r.known, 0){names} FROM json_each(?) j "
            f"JOIN materialized m ON m.fingerprint = ? LEFT JOIN {self.table} r ON r.key = j.value"
        )
        with self._telling():
            try:
                found = self.connection.execute(sql, [json.dumps(list(keys)), self.features.fingerprint]).fetchall()
            except sqlite3.OperationalError:
                self.as_of()  # says so where there are no such rows
                raise
        if not found:
            as_of = self.as_of().as_of
            return self.read(keys) if keys else plain.lookup(self.features, [], as_of)
        return plain.lookup(self.features, [row[3:] for row in sorted(found)], *found[0][1:3])

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """The same SQL text over these keys' events as of `t` (microseconds): on-read."""
        with self._telling():
            return answer(self.connection, self.features, keys, t)

    def fingerprints(self) -> list[str]:
        """Of all rows that are kept, sorted."""
        with self._telling():
            return [found for (found,) in self.connection.execute("SELECT fingerprint FROM materialized ORDER BY 1")]

    def drop(self, fingerprint: str) -> None:
        """Forget the rows of a fingerprint."""
        with self._transaction():
            self.connection.execute(f"DROP TABLE IF EXISTS {_table(fingerprint)}")
            self.connection.execute("DELETE FROM materialized WHERE fingerprint = ?", [fingerprint])

    def clear(self) -> None:
        """Forget everything that is kept for this use case."""
        for fingerprint in self.fingerprints():
            self.drop(fingerprint)
        with self._transaction():
            self.connection.execute("DELETE FROM events")
            self.connection.execute("DELETE FROM batches")

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the right to write while the block runs; a second process is refused, naming the first."""
        return exclusive(self.path.with_suffix(".lock"), f"writing {self.path}")

    def _create(self) -> None:
        run = self.connection.execute
        run("PRAGMA journal_mode = WAL")
        names = event_columns(self.features)
        lay_out(self.connection, names)
        there = {row[1] for row in run("PRAGMA table_info(events)")}
        for name in names:  # a field that the contract has gained: missing in the events of before
            if name not in there:
                run(f'ALTER TABLE events ADD COLUMN "{name}"')
        run("CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY)")
        run(
            "CREATE TABLE IF NOT EXISTS materialized (fingerprint TEXT PRIMARY KEY, as_of INTEGER NOT NULL, "
            "batch INTEGER NOT NULL, rows INTEGER NOT NULL) WITHOUT ROWID"
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The driver's error in our words, for questions."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)  # none where Python raised it
            if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
                raise Unreachable(f"{self.path}: {error}") from error
            raise StoreError(f"{self.path} cannot be read: {error}; run `holdfast materialize`") from error

    def _transaction(self) -> _Transaction:
        return _Transaction(self.connection)


def event_columns(features: FeatureSet) -> list[str]:
    """Columns of the table of events, in its order: key, ts, event_id, ingested_at, batch and the contract's fields."""
    own = [column.name for column in columns(features.events) if column.kind not in SYSTEM] if features.events else []
    return ["key", "ts", "event_id", "ingested_at", "batch", *own]


def lay_out(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Make the table of events, of those columns. The contract's have no type: what is stored is what was given."""
    own = "".join(f', "{name}"' for name in names[5:])
    connection.execute(
        "CREATE TABLE IF NOT EXISTS events (key TEXT NOT NULL, ts INTEGER NOT NULL, event_id TEXT NOT NULL, "
        f"ingested_at INTEGER NOT NULL, batch INTEGER NOT NULL{own}, PRIMARY KEY (key, ts, event_id)) WITHOUT ROWID"
    )


def answer(connection: sqlite3.Connection, features: FeatureSet, keys: Sequence[str], t: int) -> Lookup:
    """The one SQL text over the events of these keys in that table, as of `t` (microseconds), in the order asked."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), _MOST):
        part = keys[start : start + _MOST]
        spine = "WITH spine(row_id, key, t) AS (SELECT key, value, ? FROM json_each(?)) "
        found = connection.execute(spine + features.sql, [t, json.dumps(list(part))]).fetchall()
        rows += [row[1:] for row in sorted(found)]
    return plain.lookup(features, rows, t)


def _table(fingerprint: str) -> str:
    return f"rows_{fingerprint[:16]}"


class _Transaction:
    """BEGIN IMMEDIATE, then COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.connection.execute("COMMIT" if kind is None else "ROLLBACK")
