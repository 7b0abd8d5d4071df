"""The online store in Redis 6.2 or later. It has no transactions across a run, so each row carries its own as_of.

All keys are in one cluster slot, holdfast:{NAME}: and then
materialized       hash: fingerprint -> as_of, batch, rows, generation, begun
rows:<fp>:<gen>    hash: key -> as_of, known, aggregates; a full run writes a generation of its own
generations:<fp>   set: the generations that there are, whole or not
events:<key>       hash: batch -> the key's events in it, each a list of values in the order of `fields`
fields             list: names of the columns of events, in the order they were first seen
batches            sorted set: numbers of the event batches taken over
lock               who is writing, with a lease

A changed row is true as of its own time, and an unchanged one as of the store's as well: a row's as_of is the later.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.featureset import FeatureSet
from features.store import plain
from features.store.base import Held, Lookup, Materialized, Rows, StoreError, Unreachable, address, unmaterialized
from features.store.sqlite import answer, event_columns, lay_out
from settings import redacted

_MOST = 500
"""Keys whose events are asked for in one round trip of on-read."""
_CHUNK = 1_000
"""Rows or events written at a time: about a millisecond in which the server does nothing else."""
_PATIENCE = 10.0
"""Seconds that a writer waits for an answer."""
_LEASE = 30.0
"""Seconds after which the lock of a writer that has died is free again; a living one renews it."""


class RedisStore:
    """Online store of one use case in a Redis database.

    Args:
        url: redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// for TLS; name: the use case's.
        features: whose events are kept and whose aggregates are read.
        read_only: for serving: nothing can be changed.
        timeout: seconds that a read may wait for a connection, and then for its answer; pool: most connections.

    Every method raises Unreachable where the server is away or too slow.
    """

    def __init__(
        self, url: str, name: str, features: FeatureSet, *, read_only: bool = False, timeout: float, pool: int
    ) -> None:
        self.features, self.read_only, self.timeout = features, read_only, timeout
        self.where = f"{redacted(url)}, keys holdfast:{{{name}}}:*"
        self.prefix = f"holdfast:{{{name}}}:"
        self.columns = event_columns(features)
        self._spare: list[sqlite3.Connection] = []
        self._generation = ""
        self._token: str | None = None
        address(url)
        try:
            self.reader = _client(url, timeout, pool, retries=1)  # a read may be asked again; it changes nothing
            self.writer = _client(url, _PATIENCE, 2, retries=0)
        except ValueError:
            raise StoreError(f"{redacted(url)} is no address: use redis://USER:PASSWORD@HOST:PORT/DB") from None

    def close(self) -> None:
        """Close every connection."""
        for client in (self.reader, self.writer):
            client.close()
            client.connection_pool.disconnect()
        for connection in self._spare:
            connection.close()

    def migrate(self) -> str:
        """Redis has nothing to make."""
        return f"{self.where}: nothing to make"

    def last_batch(self) -> int:
        """Number of the last batch taken over, 0 for none."""
        with self._telling():
            return max(map(int, self.reader.zrange(self._key("batches"), -1, -1)), default=0)

    def load(self, batch: int, events: Mapping[str, Sequence[Any]]) -> None:
        """Take over the events of one committed batch; loading a batch again changes nothing.

        The batch's number comes last, and until then its events are in nobody's answer.

        Args:
            events: equally long columns event_id, key, ts, ingested_at and the contract's fields.
        """
        rows = list(zip(*events.values(), strict=True))
        with self._writing():
            if self.writer.zscore(self._key("batches"), batch) is not None:
                return
            if not self.writer.exists(self._key("batches")):
                self._sweep("events:*")  # left by a `clear` that was interrupted
            fields = self.writer.lrange(self._key("fields"), 0, -1)
            gained = [name for name in events if name not in fields]
            if gained:
                self._write(("RPUSH", self._key("fields"), *gained))
            absent = [None] * len(rows)
            ordered = zip(*(events.get(name, absent) for name in (*fields, *gained)), strict=True)
            found: dict[str, list[tuple[Any, ...]]] = {}
            for key, row in zip(events["key"], ordered, strict=True):
                found.setdefault(key, []).append(row)
            written = [("HSET", self._key(f"events:{key}"), batch, _pack(own)) for key, own in found.items()]
            for start in range(0, len(written), _CHUNK):
                self._write(*written[start : start + _CHUNK])
            self._write(("ZADD", self._key("batches"), batch, batch))

    def materialize(self, parts: Iterable[Rows], as_of: int, batch: int, *, full: bool) -> None:
        """Write rows of the feature set's fingerprint: a whole new generation, or only changed ones.

        Interrupted, a full run is as if it had never begun. One of changed rows leaves `begun` and rows that are true
        as of their own time; the next run makes them whole.

        Args:
            parts: keys and their aggregates; as_of: microseconds; batch: the last event batch in them.

        Raises:
            StoreError: if what was written is not what was given, or the lock was lost.
        """
        state = {"as_of": as_of, "batch": batch}
        with self._writing():
            before = {} if full else self._look([])[0]
            generation = self._begin(before["generation"] if before else token_hex(8))
            if before:
                self._record({**before, "begun": max(as_of, before.get("begun") or as_of)})
            target = self._rows(generation)
            for part in parts:
                rows = plain.tuples(self.features, part)
                for start in range(0, len(rows), _CHUNK):
                    pairs = [(key, _pack([as_of, *values])) for key, *values in rows[start : start + _CHUNK]]
                    self._write(("HSET", target, *(text for pair in pairs for text in pair)))
                    back = self.writer.hmget(target, [key for key, _ in pairs])
                    plain.verify(self.where, pairs, [(key, v) for (key, _), v in zip(pairs, back, strict=True)])
            self._record({**state, "rows": self.writer.hlen(target), "generation": generation})
            self._begin(generation)

    def as_of(self) -> Materialized:
        """What the materialized rows of this fingerprint are.

        Raises:
            StoreError: if there are none, naming those that are there.
        """
        with self._telling():
            state, _ = self._look([])
        return Materialized(state["as_of"], state["batch"], state["rows"], state.get("begun"))

    def read(self, keys: Sequence[str]) -> Lookup:
        """The materialized rows of these keys; a key without one is answered as a key without events.

        Raises:
            StoreError: if no rows of this fingerprint are materialized.
        """
        with self._telling():
            state, found = self._look(keys)
        nothing = [state["as_of"], 0, *(None for _ in self.features.aggregates)]
        rows = [nothing if packed is None else json.loads(packed) for packed in found]
        own = [max(state["as_of"], row[0]) for row in rows]
        ahead = any(as_of > state["as_of"] for as_of in own)  # of a run under way, which may see a later batch
        return plain.lookup(self.features, [row[1:] for row in rows], own, None if ahead else state["batch"])

    def compute(self, keys: Sequence[str], t: int) -> Lookup:
        """The same SQL text over these keys' events as of `t` (microseconds), in SQLite: on-read."""
        with self._memory() as connection:
            insert = f"INSERT OR IGNORE INTO events VALUES ({', '.join('?' * len(self.columns))})"
            unique = list(dict.fromkeys(keys))
            for start in range(0, len(unique), _MOST):
                connection.executemany(insert, self._events(unique[start : start + _MOST]))
            return answer(connection, self.features, keys, t)

    def fingerprints(self) -> list[str]:
        """Of all rows that are kept, sorted."""
        with self._telling():
            return sorted(self.reader.hkeys(self._key("materialized")))

    def drop(self, fingerprint: str) -> None:
        """Forget the rows of a fingerprint."""
        with self._writing():
            self._write(("HDEL", self._key("materialized"), fingerprint))
            self._sweep(f"rows:{fingerprint[:16]}:*")
            self._write(("UNLINK", self._key(f"generations:{fingerprint[:16]}")))

    def clear(self) -> None:
        """Forget everything that is kept for this use case."""
        with self._writing():
            self._write(("UNLINK", self._key("materialized"), self._key("batches")))
            self._sweep("*")

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the right to write while the block runs; a second process is refused, naming the first."""
        return self._writing()

    def _look(self, keys: Sequence[str]) -> tuple[dict[str, Any], list[str | None]]:
        """What the rows are, and those of these keys: one state of the store, in one round trip.

        The generation is the one read last; where a full run has put another in its place, it is asked once more.
        """
        while True:
            target = self._rows(self._generation)
            pipe = self.reader.pipeline(transaction=True)
            pipe.hget(self._key("materialized"), self.features.fingerprint)
            pipe.hlen(target)
            if keys:
                pipe.hmget(target, list(keys))
            stored, there, *found = pipe.execute()
            if stored is None:
                raise unmaterialized(self.where, self.fingerprints(), self.features)
            state: dict[str, Any] = json.loads(stored)
            if target == self._rows(state["generation"]):
                break
            self._generation = state["generation"]
        if there < state["rows"]:
            raise StoreError(
                f"{self.where} holds {there} of {state['rows']} rows: the server has dropped some; see that its "
                "maxmemory-policy is noeviction and run `holdfast materialize --full`"
            )
        return state, found[0] if found else []

    @contextmanager
    def _memory(self) -> Iterator[sqlite3.Connection]:
        """An empty table of events; kept for the next time, which spares compiling the SQL again."""
        try:
            connection = self._spare.pop()
        except IndexError:
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            lay_out(connection, self.columns)
        try:
            yield connection
            connection.execute("DELETE FROM events")
        except BaseException:
            connection.close()
            raise
        self._spare.append(connection)

    def _events(self, keys: Sequence[str]) -> Iterator[list[Any]]:
        """Events of whole batches, in the order of their batches, as rows of the columns."""
        with self._telling():
            pipe = self.reader.pipeline(transaction=False)
            pipe.zrange(self._key("batches"), -1, -1)
            pipe.lrange(self._key("fields"), 0, -1)
            for key in keys:
                pipe.hgetall(self._key(f"events:{key}"))
            batches, fields, *found = pipe.execute()
        last = max(map(int, batches), default=0)
        places = [fields.index(name) if name in fields else -1 for name in self.columns]
        for events in found:
            for batch in sorted(number for number in map(int, events) if number <= last):
                for row in json.loads(events[str(batch)]):
                    yield [
                        row[place] if -1 < place < len(row) else batch if name == "batch" else None
                        for name, place in zip(self.columns, places, strict=True)
                    ]

    def _begin(self, generation: str) -> str:
        """Note this generation before it is written, and remove those that others left and that nobody reads."""
        known = self._key(f"generations:{self.features.fingerprint[:16]}")
        stored = self.writer.hget(self._key("materialized"), self.features.fingerprint)
        kept = {generation, json.loads(stored)["generation"] if stored else generation}
        self._write(("SADD", known, generation))
        for left in self.writer.smembers(known) - kept:
            self._write(("UNLINK", self._rows(left)), ("SREM", known, left))
        return generation

    def _record(self, state: Mapping[str, Any]) -> None:
        self._write(("HSET", self._key("materialized"), self.features.fingerprint, _pack(state)))

    def _sweep(self, pattern: str) -> None:
        """Remove all keys of a pattern but the lock."""
        escaped = re.sub(r"([\[\]*?\\])", r"\\\1", self.prefix)
        keys = [k for k in self.writer.scan_iter(escaped + pattern, count=_CHUNK) if k != self._key("lock")]
        for start in range(0, len(keys), _CHUNK):
            self._write(("UNLINK", *keys[start : start + _CHUNK]))

    def _write(self, *commands: tuple[Any, ...]) -> None:
        """Run the commands as one, and only while the lock is ours: a writer that slept too long changes nothing."""

        def held(pipe: Any) -> None:
            if pipe.get(self._key("lock")) != self._token:
                raise StoreError(f"{self.where}: the right to write was lost to another process; run it again")
            pipe.multi()
            for command in commands:
                pipe.execute_command(*command)

        self.writer.transaction(held, self._key("lock"))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._token is not None:
            with self._telling():
                yield
            return
        if self.read_only:
            raise StoreError(f"{self.where} is open for reading only")
        token = f"{_here()} process {os.getpid()} {token_hex(8)}"
        with self._telling():
            policy = self.writer.info("memory").get("maxmemory_policy", "")
            if policy.startswith("allkeys"):
                raise StoreError(
                    f"{self.where}: the server's maxmemory-policy {policy} drops rows unasked; set noeviction, or a "
                    "volatile policy"
                )
            lock = self.writer.lock(self._key("lock"), timeout=_LEASE, blocking=False, thread_local=False)
            if not lock.acquire(token=token) and not self._taken_over(lock, token):
                held = (self.writer.get(self._key("lock")) or "another process").rpartition(" ")[0]
                holder = re.sub(r" pid:\[\d+\]", ",", held)
                raise Held(
                    f"writing {self.where}: {holder} is doing it; try again when it is done (a writer that has died on "
                    f"another machine is forgotten after {_LEASE:.0f} s)"
                )
            done = threading.Event()
            renewal = threading.Thread(target=_renew, args=(lock, done), daemon=True)
            self._token = token
            renewal.start()
            try:
                yield
            finally:
                self._token = None
                done.set()
                renewal.join()
                with suppress(redis.RedisError):  # lost, which every write has told; or the lease ends by itself
                    lock.release()

    def _taken_over(self, lock: Any, token: str) -> bool:
        """Whether the lock could be had because its holder was a process of this machine that is no more."""
        held = self.writer.get(self._key("lock")) or ""
        place, _, process = held.rpartition(" ")[0].rpartition(" process ")
        if place != _here() or not process.isdecimal() or Path(f"/proc/{process}").exists():
            return False
        lock.local.token = held.encode()
        with suppress(redis.RedisError):  # somebody else was quicker
            lock.release()
        return bool(lock.acquire(token=token))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """A driver's error in our words."""
        try:
            yield
        except redis.TimeoutError as error:
            raise Unreachable(
                f"{self.where} did not answer in time: {error} (a read waits {self.timeout:g} s, as "
                "HOLDFAST_ONLINE_TIMEOUT_MS says)"
            ) from error
        except redis.ConnectionError as error:
            raise Unreachable(
                f"{self.where} is out of reach: {str(error).rstrip('.')}; try again when it is back"
            ) from error
        except redis.RedisError as error:
            raise StoreError(f"{self.where}: {error}") from error

    def _key(self, name: str) -> str:
        return self.prefix + name

    def _rows(self, generation: str) -> str:
        return self._key(f"rows:{self.features.fingerprint[:16]}:{generation}")


def _client(url: str, timeout: float, pool: int, *, retries: int) -> Any:
    connections = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=pool,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        decode_responses=True,
        retry=Retry(NoBackoff(), retries, supported_errors=(redis.ConnectionError,)),
    )
    return redis.Redis(connection_pool=connections)  # Any: its types say bytes, decode_responses or not


def _here() -> str:
    """This host, and where it can be told this container: where a process's number means that process."""
    own = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {own.readlink() if own.exists() else token_hex(8)}"


def _renew(lock: Any, done: threading.Event) -> None:
    """Renew the lease until the writer is done, or has lost it."""
    while not done.wait(_LEASE / 3):
        try:
            lock.reacquire()
        except redis.exceptions.LockError:
            return  # the next write tells
        except redis.RedisError:
            continue  # the lease is three tries long


def _pack(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
