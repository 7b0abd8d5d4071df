"""The online store in PostgreSQL: one schema per use case, read through a pool, written over one connection.

events       primary key (key, ts, event_id): what on-read computes from; beside an event store, that store's own
batches      numbers of the event batches taken over; likewise
rows_<fp>    one materialized row per key of fingerprint fp
materialized fingerprint, as_of, batch, rows: which tables are whole
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from features.contract import SYSTEM, columns
from features.featureset import FeatureSet
from features.store import plain
from features.store.base import Held, Lookup, Materialized, Rows, StoreError, Unreachable, address, unmaterialized
from settings import redacted

T = TypeVar("T")
_MOST = 500
"""Keys computed in one on-read statement; more keys are several statements."""
_PATIENCE = 10
"""Seconds that a writer waits for a connection, and for readers of a table it replaces."""
_GRACE = 0.1
"""Seconds that a server has, beyond a read's time, to say itself that the read took too long."""
_TEXT = 'text COLLATE "C"'


class PostgresOnline:
    """Online store of one use case in a PostgreSQL database (15 or later).

    Args:
        url: postgresql://USER:PASSWORD@HOST/DATABASE; name: the use case's.
        features: whose events are kept and whose aggregates are read.
        read_only: for serving: nothing can be changed.
        beside_events: the event store is in the same database: on-read reads its events, and none are kept here.
        timeout: seconds that a read may wait for a connection, and then for its answer; pool: most connections.

    Every method raises Unreachable where the server is away or too slow, and StoreError where `migrate` has not run.
    """

    def __init__(
        self,
        url: str,
        name: str,
        features: FeatureSet,
        *,
        read_only: bool = False,
        beside_events: bool = False,
        timeout: float,
        pool: int,
    ) -> None:
        self.url, self.features, self.read_only, self.beside_events = url, features, read_only, beside_events
        self.timeout = timeout
        self.schema = f"holdfast_{name}_online"
        self.where = f"{redacted(url)}, schema {self.schema}"
        self.names = [aggregate.name for aggregate in features.aggregates]
        self.events = f'"holdfast_{name}".events' if beside_events else self._named("events")
        self.batches = f'"holdfast_{name}".batches' if beside_events else self._named("batches")
        self.materialized, self.rows = self._named("materialized"), self._rows(features.fingerprint)
        listed = "".join(f', r."{name}"' for name in self.names)
        self._read_sql = (  # as_of in the same statement: one statement is one state of the store
            f"SELECT k.n, m.as_of, m.batch, coalesce(r.known, 0){listed} "
            f"FROM unnest($1::text[]) WITH ORDINALITY AS k(key, n) "
            f"JOIN {self.materialized} m ON m.fingerprint = $2 LEFT JOIN {self.rows} r ON r.key = k.key"
        )
        self._compute_sql = (
            f'WITH spine(row_id, key, t) AS (SELECT k.n, k.key COLLATE "C", $2::bigint FROM unnest($1::text[]) '
            f"WITH ORDINALITY AS k(key, n)), events AS (SELECT * FROM {self.events}) {features.sql}"
        )
        self._writer: psycopg.Connection | None = None
        try:
            psycopg.conninfo.conninfo_to_dict(address(url))
        except psycopg.ProgrammingError:
            raise StoreError(
                f"{redacted(url)} is no address: use postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
        self.pool = ConnectionPool(
            url,
            kwargs=self._kwargs("holdfast") | {"connect_timeout": 2, "tcp_user_timeout": round(timeout * 1000)},
            connection_class=_Reader,
            configure=self._configure,
            min_size=1,
            max_size=pool,
            timeout=timeout,
            reconnect_timeout=timeout,  # then the next read tries again, without the pool's growing pauses
            open=True,
        )

    def close(self) -> None:
        """Close every connection."""
        self.pool.close()

    def migrate(self) -> str:
        """Make what is missing of the schema; running it again changes nothing. What there is then, in words."""
        fields = [c for c in columns(self.features.events) if c.kind not in SYSTEM] if self.features.events else []
        kinds = {"number": "double precision", "category": _TEXT}
        made = ["materialized"]
        with self._telling(), self._connect() as connection, connection.transaction():
            run = connection.execute
            run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [f"{self.schema} migrate"])
            run(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
            run(
                f"CREATE TABLE IF NOT EXISTS {self.materialized} (fingerprint text PRIMARY KEY, as_of bigint NOT NULL, "
                "batch bigint NOT NULL, rows bigint NOT NULL)"
            )
            if not self.beside_events:
                made = ["events", "batches", *made]
                run(f"CREATE TABLE IF NOT EXISTS {self.batches} (number bigint PRIMARY KEY)")
                run(
                    f"CREATE TABLE IF NOT EXISTS {self.events} (key {_TEXT} NOT NULL, ts bigint NOT NULL, "
                    f"event_id {_TEXT} NOT NULL, ingested_at bigint NOT NULL, batch bigint NOT NULL, "
                    "PRIMARY KEY (key, ts, event_id))"
                )
                for column in fields:  # one that the contract has gained is missing in the events of before
                    kind = kinds.get(column.kind, "bigint")
                    run(f'ALTER TABLE {self.events} ADD COLUMN IF NOT EXISTS "{column.name}" {kind}')
        return f"{self.where}: {', '.join(made)}"

    def last_batch(self) -> int:
        """Number of the last batch taken over, 0 for none."""
        return int(self._ask(f"SELECT coalesce(max(number), 0) FROM {self.batches}")[0][0])

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Take over the events of one committed batch; loading a batch again changes nothing.

        Args:
            events: equally long columns event_id, key, ts, ingested_at and the contract's fields.
        """
        if self.beside_events:
            return
        rows = [(*row, batch) for row in zip(*events.values(), strict=True)]
        listed = ", ".join(f'"{name}"' for name in (*events, "batch"))
        with self._writing() as connection, connection.transaction():
            run = connection.execute
            if run(f"SELECT 1 FROM {self.batches} WHERE number = $1", [batch]).fetchone():
                return
            run(f"CREATE TEMP TABLE incoming (LIKE {self.events}) ON COMMIT DROP")
            _copy(connection, f"pg_temp.incoming ({listed})", rows)
            run(f"INSERT INTO {self.events} ({listed}) SELECT {listed} FROM pg_temp.incoming ON CONFLICT DO NOTHING")
            run(f"INSERT INTO {self.batches} (number) VALUES ($1)", [batch])
            run(f"ANALYZE {self.events}")

    def materialize(self, parts: Iterable[Rows], as_of: int, batch: int, *, full: bool) -> None:
        """Write rows of the feature set's fingerprint, all or only changed ones, in one transaction.

        Args:
            parts: keys and their aggregates; as_of: microseconds; batch: the last event batch in them.

        Raises:
            StoreError: if what was written is not what was given; then nothing has changed.
        """
        fresh = self._named(f"next_{self.features.fingerprint[:16]}")
        layout = "".join(f', "{name}" bigint' for name in self.names)
        listed = ", ".join(f'"{name}" = excluded."{name}"' for name in ("known", *self.names))
        target = fresh if full else self.rows
        with self._writing() as connection, connection.transaction():
            run = connection.execute
            if full:
                run(f"CREATE TABLE {fresh} (key {_TEXT} PRIMARY KEY, known bigint NOT NULL{layout})")
            else:
                run(f"CREATE TEMP TABLE incoming (LIKE {self.rows}) ON COMMIT DROP")
            for part in parts:
                rows = plain.tuples(self.features, part)
                _copy(connection, fresh if full else "pg_temp.incoming", rows)
                if not full:
                    run(
                        f"INSERT INTO {self.rows} SELECT * FROM pg_temp.incoming "
                        f"ON CONFLICT (key) DO UPDATE SET {listed}"
                    )
                    run("TRUNCATE pg_temp.incoming")
                sql = f"SELECT r.* FROM unnest($1::text[]) AS k(key) JOIN {target} r ON r.key = k.key"
                back = run(sql, [[row[0] for row in rows]], binary=True).fetchall()
                plain.verify(self.where, rows, back)
            ((count,),) = run(f"SELECT count(*) FROM {target}").fetchall()
            run(
                f"INSERT INTO {self.materialized} (fingerprint, as_of, batch, rows) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (fingerprint) DO UPDATE SET "
                "as_of = excluded.as_of, batch = excluded.batch, rows = excluded.rows",
                [self.features.fingerprint, as_of, batch, count],
            )
            run(f"ANALYZE {target}")
            if full:  # last: from here to the commit, which is a moment, readers wait
                run(f"DROP TABLE IF EXISTS {self.rows}")
                run(f'ALTER TABLE {fresh} RENAME TO "rows_{self.features.fingerprint[:16]}"')

    def as_of(self) -> Materialized:
        """What the materialized rows of this fingerprint are.

        Raises:
            StoreError: if there are none, naming those that are there.
        """
        sql = f"SELECT as_of, batch, rows FROM {self.materialized} WHERE fingerprint = $1"
        found = self._ask(sql, self.features.fingerprint)
        if not found:
            raise unmaterialized(self.where, self.fingerprints(), self.features)
        return Materialized(*found[0])

    def read(self, keys: Sequence[str]) -> Lookup:
        """The materialized rows of these keys; a key without one is answered as a key without events.

        Raises:
            StoreError: if no rows of this fingerprint are materialized.
        """
        try:
            found = self._ask(self._read_sql, list(keys), self.features.fingerprint)
        except StoreError as error:
            if isinstance(error.__cause__, errors.UndefinedTable):
                self.as_of()  # which says what is not there
            raise
        if not found:
            return plain.lookup(self.features, [], self.as_of().as_of)
        return plain.lookup(self.features, [row[3:] for row in sorted(found)], *found[0][1:3])

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """The same SQL text over these keys' events as of `t` (microseconds): on-read."""
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _MOST):
            found = self._ask(self._compute_sql, list(keys[start : start + _MOST]), t)
            rows += [row[1:] for row in sorted(found)]
        return plain.lookup(self.features, rows, t)

    def fingerprints(self) -> list[str]:
        """Of all rows that are kept, sorted."""
        return sorted(found for (found,) in self._ask(f"SELECT fingerprint FROM {self.materialized}"))

    def drop(self, fingerprint: str) -> None:
        """Forget the rows of a fingerprint."""
        with self._writing() as connection, connection.transaction():
            connection.execute(f"DROP TABLE IF EXISTS {self._rows(fingerprint)}")
            connection.execute(f"DELETE FROM {self.materialized} WHERE fingerprint = $1", [fingerprint])

    def clear(self) -> None:
        """Forget everything that is kept for this use case; the events of an event store beside it stay."""
        with self._writing() as connection, connection.transaction():
            for fingerprint in self.fingerprints():
                self.drop(fingerprint)
            if not self.beside_events:
                connection.execute(f"TRUNCATE {self.events}, {self.batches}")

    def exclusive(self) -> AbstractContextManager[Any]:
        """Hold the right to write while the block runs; a second process is refused, naming the first."""
        return self._writing()

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection]:
        """The connection that holds the lock. The lock goes when the connection does: who lost it cannot commit."""
        if self._writer is not None:
            with self._telling():
                yield self._writer
            return
        if self.read_only:
            raise StoreError(f"{self.where} is open for reading only")
        with self._telling(), self._connect() as connection:
            self._lock(connection)
            self._writer = connection
            try:
                yield connection
            finally:
                self._writer = None
                with suppress(psycopg.Error):  # then the lock goes with the connection, a moment later
                    connection.execute("SELECT pg_advisory_unlock_all()")

    def _lock(self, connection: psycopg.Connection) -> None:
        taken, holder = (
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))",
            (
                "SELECT format('%s (server process %s)', a.application_name, a.pid) "
                "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database "
                "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() "
                "AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended($1, 0)"
            ),
        )
        while connection.execute(taken, [self.schema]).fetchone() != (True,):
            for (who,) in connection.execute(holder, [self.schema]).fetchall():  # none: it was done just now
                raise Held(f"writing {self.where}: {who} is doing it; try again when it is done")

    def _connect(self) -> psycopg.Connection:
        kwargs = self._kwargs(f"holdfast {socket.gethostname()[:32]} {os.getpid()}")
        connection = psycopg.connect(self.url, **kwargs)
        connection.execute(  # a part may take long to compute, so the transaction may idle; readers are not kept
            f"SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '{_PATIENCE}s'"
        )
        return connection

    def _kwargs(self, application: str) -> dict[str, Any]:
        return {
            "application_name": application,
            "connect_timeout": _PATIENCE,
            "autocommit": True,
            "cursor_factory": psycopg.RawCursor,  # $1 as the server reads it: a % in a category stays a %
        }

    def _configure(self, connection: _Reader) -> None:
        connection.patience = self.timeout + _GRACE
        connection.execute(f"SET statement_timeout = {round(self.timeout * 1000)}; SET jit = off")

    def _ask(self, sql: str, *bound: Any) -> list[tuple[Any, ...]]:
        """A question's rows; asked again where only the connection had died, as after a restart they all have."""
        with self._telling():
            for _ in range(self.pool.max_size):
                with self.pool.connection() as connection:
                    try:
                        return connection.execute(sql, bound, prepare=True, binary=True).fetchall()
                    except psycopg.OperationalError as error:
                        if not connection.closed or isinstance(error, errors.QueryCanceled):
                            raise
            raise PoolTimeout("every connection was lost")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """A driver's error in our words."""
        try:
            yield
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
            raise StoreError(
                f"{self.where} lacks a table or a column: run `holdfast migrate` ({_said(error)})"
            ) from error
        except errors.LockNotAvailable as error:
            raise StoreError(
                f"{self.where}: a reader has held the rows for {_PATIENCE} s; nothing was changed, try again when its "
                "query or dump is done"
            ) from error
        except errors.QueryCanceled as error:
            raise Unreachable(
                f"{self.where} did not answer in the {self.timeout:g} s of HOLDFAST_ONLINE_TIMEOUT_MS: {_said(error)}"
            ) from error
        except psycopg.OperationalError as error:
            raise Unreachable(
                f"{self.where} is out of reach: {_said(error)}; nothing was changed, try again when it is back"
            ) from error
        except psycopg.Error as error:
            raise StoreError(f"{self.where}: {_said(error)}; nothing was changed") from error

    def _named(self, table: str) -> str:
        return f'"{self.schema}".{table}'

    def _rows(self, fingerprint: str) -> str:
        return self._named(f"rows_{fingerprint[:16]}")


class _Reader(psycopg.Connection):
    """A connection that gives up on a server that says nothing at all; statement_timeout is the server's to keep."""

    patience: float | None = None
    """Seconds, None for ever."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """What the protocol's step gives.

        Raises:
            QueryCanceled: where it took too long; the connection is closed, for its answer may still come.
        """
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.closed or self.info.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.close()
            raise errors.QueryCanceled("it said nothing") from error


def _copy(connection: psycopg.Connection, target: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0]
