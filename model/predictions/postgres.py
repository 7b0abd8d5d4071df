"""The prediction log in PostgreSQL: tables `predictions` and `outcomes` in the schema of the use case."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from features.clock import micros, rfc3339
from model.database import Database
from model.predictions import postgres_outcomes, postgres_refusals
from model.predictions.entry import Header, Prediction, exact, expand, inexact
from model.predictions.outcome import Outcome, Outcomes, Settled
from model.predictions.refusal import Refusals
from model.predictions.segment import Record
from settings import redacted

_TEXT = 'text COLLATE "C"'
COLUMNS = {
    "prediction_id": _TEXT,
    "request_id": _TEXT,
    "usecase": "text",
    "model": "text",
    "fingerprint": "text",
    "route": "text",
    "pod": "text",
    "answered_at": "timestamptz",
    "request_time": "timestamptz",
    "as_of": "timestamptz",
    "key": _TEXT,
    "known": "boolean",
    "degraded": "boolean",
    "probability": "double precision",
    "decision": "text",
    "threshold": "double precision",
    "margin": "double precision",
    "attributes": "jsonb",
    "aggregates": "jsonb",
    "features": "jsonb",
    "batch": "bigint",
    "latency_us": "bigint",
    "hashed": "text",
}
"""The fields of a Prediction; in `jsonb`, numbers as `exact` writes them. Beside them `number`, by which jobs read on;
`postgres_tail` says how."""
_TIMES = ("answered_at", "request_time", "as_of")
_LISTED = ", ".join(COLUMNS)
_PATIENCE = 60
"""Seconds that a statement of a writer may take, and then it is tried again."""
_json = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Table:
    """The predictions of one use case, and their outcomes, in a database (PostgreSQL 15 or later).

    Every method raises Unreachable where the server is away, and StoreError where it refuses.
    """

    url: str
    usecase: str

    @property
    def schema(self) -> str:
        """The schema, for SQL."""
        return f'"holdfast_{self.usecase}"'

    @property
    def name(self) -> str:
        """The table of predictions, likewise."""
        return f"{self.schema}.predictions"

    @property
    def where(self) -> str:
        """The table; the address has no password."""
        return f"{redacted(self.url)}, schema holdfast_{self.usecase}"

    def migrate(self) -> str:
        """Make what is missing of the tables; again, it changes nothing. What there is then, in words."""
        with self.connected() as connection:
            self.make(connection)
        return f"{self.where}: predictions, outcomes"

    def make(self, connection: psycopg.Connection) -> None:
        """Make what is missing of the tables."""
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        run = connection.execute
        with connection.transaction():
            run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"holdfast_{self.usecase} predictions"])
            there = "SELECT 1 FROM pg_namespace WHERE nspname = %s"  # who may not make schemas may not ask for one
            if run(there, [f"holdfast_{self.usecase}"]).fetchone() is None:
                run(f"CREATE SCHEMA {self.schema}")
            run(f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}, PRIMARY KEY (prediction_id))")
            for name, kind in COLUMNS.items():
                run(f"ALTER TABLE {self.name} ADD COLUMN IF NOT EXISTS {name} {kind}")
            _number(connection, self.schema, self.name)
            run(f"CREATE INDEX IF NOT EXISTS predictions_answered_at ON {self.name} USING brin (answered_at)")
            run(f"CREATE INDEX IF NOT EXISTS predictions_key ON {self.name} (key, prediction_id)")
            run(
                f"CREATE INDEX IF NOT EXISTS predictions_request_id ON {self.name} (request_id) "
                "WHERE request_id <> prediction_id"
            )
            postgres_outcomes.make(connection, self.schema)
            postgres_refusals.make(connection, self.schema)

    def writer(self) -> psycopg.Connection:
        """A connection for `insert`; the tables are made if that of predictions is missing and may be made."""
        with self._database.telling():
            connection = self._database.connect(f"holdfast predictions {socket.gethostname()[:40]}")
            try:
                connection.execute(f"SET statement_timeout = '{_PATIENCE}s'")
                if connection.execute("SELECT to_regclass(%s)", [self.name]).fetchone() == (None,):
                    self.make(connection)
                connection.execute(f"CREATE TEMP TABLE incoming (LIKE {self.name}) ON COMMIT DELETE ROWS")
            except BaseException:
                connection.close()
                raise
            return connection

    def insert(self, connection: psycopg.Connection, records: Iterable[tuple[Header, Record]]) -> int:
        """Add the predictions and the outcomes of these records in one transaction; those that are there already are
        left alone. How many predictions they are, with those.

        Raises:
            psycopg.DataError, OverflowError, ValueError: for a record that the table cannot hold.
        """
        rows, told, refused = 0, list[Outcome](), list[Refusals]()
        with self._database.telling(), connection.transaction():
            with connection.cursor() as cursor, cursor.copy(f"COPY pg_temp.incoming ({_LISTED}) FROM STDIN") as copy:
                for header, record in records:
                    if isinstance(record, Outcomes):
                        told += record.items
                        continue
                    if isinstance(record, Refusals):
                        refused.append(record)
                        continue
                    for one in expand(header, record):
                        copy.write_row(_row(one))
                        rows += 1
            connection.execute(
                f"INSERT INTO {self.name} ({_LISTED}) SELECT {_LISTED} FROM pg_temp.incoming ON CONFLICT DO NOTHING"
            )
            if told:
                if connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.outcomes"]).fetchone() == (None,):
                    self.make(connection)  # the log is from before there were outcomes
                postgres_outcomes.insert(connection, self.schema, told)
            if refused:
                postgres_refusals.insert(connection, self.schema, refused)
        return rows

    def tell(self, told: Sequence[Outcome]) -> int:
        """Add outcomes, each id once; how many were not there. Those that are stay as they were received first."""
        with self._database.telling(), self.writer() as connection:
            with connection.transaction():
                if connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.outcomes"]).fetchone() == (None,):
                    self.make(connection)  # the log is from before there were outcomes
                there = postgres_outcomes.known(connection, self.schema, [one.outcome_id for one in told])
                fresh = [one for one in told if one.outcome_id not in there]
                postgres_outcomes.insert(connection, self.schema, fresh)
            return len(fresh)

    def between(self, start: int | None = None, end: int | None = None) -> Iterator[Prediction]:
        """All that were answered in [start, end), microseconds, in order of time."""
        limits = [("answered_at >= %s", start), ("answered_at < %s", end)]
        asked = [(sql, rfc3339(limit)) for sql, limit in limits if limit is not None]
        where = " AND ".join(sql for sql, _ in asked) or "true"
        yield from self._ask(f"{where} ORDER BY answered_at, prediction_id", [limit for _, limit in asked])

    def find(self, name: str) -> list[Prediction]:
        """Those with that prediction id, or else of the requests with that id."""
        if "\0" in name:
            return []
        exactly = list(self._ask("prediction_id = %s", [name]))
        return exactly or list(
            self._ask(
                "(request_id = %s AND request_id <> prediction_id) "
                "OR (prediction_id > %s AND prediction_id < %s AND request_id <> prediction_id) "
                "ORDER BY answered_at, length(prediction_id), prediction_id",
                [name, f"{name}-", f"{name}."],  # "." comes after "-": the rows of the bulk request of that id
            )
        )

    def newest(self, limit: int, key: str | None = None) -> list[Prediction]:
        """The last ones answered, newest first; of one key, if it is given."""
        where = "true" if key is None else "key = %s"
        return list(self._ask(f"{where} ORDER BY prediction_id DESC LIMIT {int(limit)}", [] if key is None else [key]))

    def outcomes(self, start: int | None = None, end: int | None = None) -> Iterator[Outcome]:
        """All that were received, for the first time, in [start, end), microseconds, in order of time."""
        limits = [("received_at >= %s", start), ("received_at < %s", end)]
        asked = [(sql, rfc3339(limit)) for sql, limit in limits if limit is not None]
        where = " AND ".join(sql for sql, _ in asked) or "true"
        with self.connected() as connection:
            rest = f"WHERE {where} ORDER BY received_at, outcome_id"
            yield from postgres_outcomes.select(connection, self.schema, rest, [limit for _, limit in asked])

    def latest(self, limit: int) -> list[Outcome]:
        """The last ones received, newest first."""
        with self.connected() as connection:
            rest = "ORDER BY received_at DESC, outcome_id DESC LIMIT %s"
            return list(postgres_outcomes.select(connection, self.schema, rest, [limit]))

    def settled(self, found: Iterable[Prediction]) -> Iterator[Settled]:
        """These predictions of this log, each with the outcome that holds now."""
        with self.connected() as connection:
            yield from postgres_outcomes.settled(connection, self.schema, found)

    def about(self, told: Iterable[Outcome]) -> dict[str, int]:
        """When the prediction was answered that each is about, by outcome id; of those about one in the log."""
        with self.connected() as connection:
            return postgres_outcomes.about(connection, self.schema, told)

    def _ask(self, where: str, bound: list[Any]) -> Iterator[Prediction]:
        with self.connected() as connection, connection.transaction(), connection.cursor(name="predictions") as cursor:
            cursor.itersize = 5_000
            cursor.execute(f"SELECT {_LISTED} FROM {self.name} WHERE {where}", bound)
            for row in cursor:
                yield prediction(times(dict(zip(COLUMNS, row, strict=True))))

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """A connection for one piece of work."""
        with self._database.telling(), self._database.connect("holdfast") as connection:
            yield connection

    @property
    def _database(self) -> Database:
        return Database(
            self.url, self.where, "SELECT and INSERT on predictions, outcomes and refusals, and UPDATE on outcomes"
        )


def _number(connection: psycopg.Connection, schema: str, table: str) -> None:
    """Number the rows; those from before too, for which the table is written anew.

    A plain sequence that everybody may draw from who may use the schema: an identity column would be NOT NULL, also in
    the temporary tables of shippers of releases before it, which do not fill it.
    """
    asked = "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'number' AND NOT attisdropped"
    if connection.execute(asked, [table]).fetchone() is None:
        sequence = f"{schema}.predictions_number"
        connection.execute(f"CREATE SEQUENCE IF NOT EXISTS {sequence}")
        connection.execute(f"GRANT USAGE ON SEQUENCE {sequence} TO PUBLIC")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN number bigint DEFAULT nextval('{sequence}')")
        connection.execute(f"ALTER SEQUENCE {sequence} OWNED BY {table}.number")
    connection.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS predictions_numbered ON {table} (number)")


def _row(one: Prediction) -> tuple[Any, ...]:
    return (
        one.prediction_id,
        one.request_id,
        one.usecase,
        one.model,
        one.fingerprint,
        one.route,
        one.pod,
        rfc3339(one.answered_at),
        rfc3339(one.request_time),
        rfc3339(one.as_of),
        one.key,
        one.known,
        one.degraded,
        one.probability,
        one.decision,
        one.threshold,
        one.margin,
        _json(exact(one.attributes)).decode(),
        _json(exact(one.aggregates)).decode(),
        _json(exact(one.features)).decode(),
        one.batch,
        one.latency_us,
        one.hashed,
    )


def times(stored: dict[str, Any]) -> dict[str, Any]:
    """A row as it is stored, its times as microseconds."""
    for name in _TIMES:
        moment: datetime = stored[name]
        stored[name] = micros(moment)
    return stored


def prediction(stored: Mapping[str, Any]) -> Prediction:
    """The prediction of such a row."""
    read: dict[str, Any] = {
        "attributes": {name: inexact(value) for name, value in stored["attributes"].items()},
        "hashed": stored["hashed"] or "",  # null in rows from before the column
    }
    for inputs in ("aggregates", "features"):
        read[inputs] = {n: math.nan if v is None else inexact(v) for n, v in stored[inputs].items()}
    return Prediction(**{**stored, **read})
