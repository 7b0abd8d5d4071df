"""Reading a team's own PostgreSQL table: what was updated since the last time, each value as its exact text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from adbc_driver_manager.dbapi import Connection

from features.clock import SECOND
from features.contract import columns
from features.etl.read import CHUNK, ISO, Record, SourceError, Text, written
from features.source import Relation, Source
from features.store.postgres import parts, table
from settings import redacted

_TIME = """CASE WHEN isfinite({0}) AND {0} >= '0001-01-01' THEN to_char({0}{1}, 'YYYY-MM-DD"T"HH24:MI:SS.US{2}')
 ELSE {0}::text END"""
_UTC = _TIME.replace("{1}", " AT TIME ZONE 'UTC'").replace("{2}", '"Z"')
_NAIVE = _TIME.replace("{1}", "::timestamp").replace("{2}", "")
_TEXTS = {"timestamp with time zone": _UTC, "timestamp without time zone": _NAIVE, "date": _NAIVE}
"""How times are read; the infinite ones and those before Christ, which to_char tells as others, are left to the rules.
Anything else is its own text, which is exact: numeric is not rounded, and double precision is
written with as many digits as tell it apart; the rules of the contract make integers of both, or refuse."""


def origin(url: str, relation: Relation) -> str:
    """What batches call this source: host, database and table, without user, password or options."""
    place = re.sub("^[^@/]*@", "", url.partition("://")[2]).partition("?")[0]  # a password may hold a question mark
    return f"postgresql://{place}#{relation.name}"


def read(connection: Connection, url: str, source: Source, since: str) -> tuple[Text, Source]:
    """The rows of the source's relation that were updated since, oldest first, and the source as they are written.

    Args:
        connection: whose transaction sees one state of the database; it must stay open while the records are read.
        since: the watermark of the last batch, or "" for everything.

    Raises:
        SourceError: if the relation lacks a column, or a time has no zone and the source declares none.
    """
    relation = source.relation
    if relation is None:
        raise SourceError(
            f"{redacted(url)}: the source of {source.contract.__name__} names no table; declare it in the use case, as "
            'relation=Relation("schema.table", updated="updated_at", id="id")'
        )
    types = _types(connection, relation, url)
    renamed = {field: name for name, field in source.rename.items() if name in types}
    own = {column.name: renamed.get(column.name, column.name) for column in columns(source.contract)}
    _check(relation, source, types, own)
    texts = [
        f"{_TEXTS.get(types[name], '({})::text').format(_quoted(name))} AS {_quoted(name)}" for name in own.values()
    ]
    where, watermark = _window(connection, relation, types[relation.updated], since)
    sql = f"SELECT {', '.join(texts)} FROM {_quoted(relation.name)}{where}"
    times = [types[own[c.name]] for c in columns(source.contract) if c.kind in ("time", "arrival")]
    form = ISO if all(kind in _TEXTS for kind in times) else "json"
    text = Text(origin(url, relation), form, tuple(own.values()), _records(connection, sql), watermark or since)
    return text, written(form, source)


def _types(connection: Connection, relation: Relation, url: str) -> dict[str, str]:
    sql = (
        "SELECT attname::text AS name, format_type(atttypid, NULL) AS type FROM pg_attribute "
        "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    found = table(connection, sql, (_quoted(relation.name),)).to_pylist()
    if not found:
        raise SourceError(f"{redacted(url)} has no table or view {relation.name} that this user can see")
    return {row["name"]: row["type"] for row in found}


def _check(relation: Relation, source: Source, types: dict[str, str], own: dict[str, str]) -> None:
    for name in [*own.values(), relation.updated, relation.id]:
        if name not in types:
            raise SourceError(f"{relation.name} has no column {name!r}; it has {', '.join(types)}")
    for column in columns(source.contract):
        name = own[column.name]
        naive = types[name] in ("timestamp without time zone", "date")
        if column.kind in ("time", "arrival") and naive and source.zone is None:
            raise SourceError(
                f"{relation.name}.{name} is a {types[name]}, and the source declares no zone for it: nothing was "
                'ingested. Say whose clock it is, as zone="America/New_York", or make the column a timestamptz'
            )
    if not types[relation.updated].startswith("timestamp"):
        raise SourceError(f"{relation.name}.{relation.updated} is a {types[relation.updated]}, not a timestamp")


def _window(connection: Connection, relation: Relation, kind: str, since: str) -> tuple[str, str]:
    """The WHERE and ORDER BY of what to read, and the watermark after it; "" where the table is empty."""
    name, updated, key = _quoted(relation.name), _quoted(relation.updated), _quoted(relation.id)
    sql = f"SELECT count(*) AS n FROM {name} WHERE {updated} IS NULL OR NOT isfinite({updated})"
    never = table(connection, sql)["n"].to_pylist()[0]
    if never:
        raise SourceError(
            f"{relation.name}: {never:,} rows have no finite {relation.updated}, so a later run would never read them; "
            "nothing was ingested. Fill it in and make the column NOT NULL"
        )
    ends = f"SELECT r.{updated}::text AS updated, r.{key}::text AS id FROM {name} r"
    last = f"{ends} ORDER BY r.{updated} DESC, r.{key} DESC LIMIT 1"
    found: list[dict[str, Any]] = table(connection, last).to_pylist()
    where = ""
    if since:
        seen = json.loads(since)["updated"].replace("'", "''")
        where = f" WHERE {updated} >= '{seen}'::{kind} - interval '{relation.lateness / SECOND:.6f} seconds'"
    return f"{where} ORDER BY {updated}, {key}", json.dumps(found[0]) if found else ""


def _records(connection: Connection, sql: str) -> Iterator[Record]:
    row = 0
    for part in parts(connection, sql):
        for start in range(0, part.num_rows, CHUNK):
            for values in part.slice(start, CHUNK).to_pylist():
                row += 1
                yield Record(row, json.dumps(values).encode(), list(values.values()))


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
