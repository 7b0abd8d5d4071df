"""PostgreSQL in bulk: an answer is whole or an error, whenever it breaks off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from adbc_driver_manager.dbapi import Connection

from benchmarks.servers import Server
from features.store.base import StoreError, Unreachable
from features.store.postgres import connected, parts, table

MANY = 200_000
"""Rows of 200 bytes: what goes wrong at the half of them does so long after the first came in."""


def answer(broken: str) -> str:
    """A question whose answer breaks off."""
    return f"SELECT n, repeat('x', 200) AS text, {broken} AS last FROM generate_series(1, {MANY}) n"


@pytest.mark.parametrize("read", [table, lambda connection, sql: list(parts(connection, sql))])
def test_an_answer_that_breaks_off_is_told_as_what_it_is(
    read: Callable[[Connection, str], Any], postgresql: Server
) -> None:
    died = answer(f"CASE WHEN n = {MANY // 2} THEN pg_terminate_backend(pg_backend_pid()) END")
    with pytest.raises(Unreachable, match=r"out of reach: .*terminating connection"), connected(postgresql.url) as c:
        read(c, died)
    with pytest.raises(StoreError, match="division by zero") as raised, connected(postgresql.url) as c:
        read(c, answer(f"1 / (n - {MANY // 2})"))
    assert not isinstance(raised.value, Unreachable)
    with connected(postgresql.url) as c:
        assert sum(len(part) for part in parts(c, answer("0"))) == MANY


def test_a_snapshot_sees_one_state_and_writes_nothing(postgresql: Server) -> None:
    with connected(postgresql.url, write=True) as c:
        table(c, "CREATE TABLE IF NOT EXISTS public.seen (n bigint)")
    with connected(postgresql.url, snapshot=True) as reading:
        assert table(reading, "SELECT count(*) AS n FROM public.seen")["n"].to_pylist() == [0]
        with connected(postgresql.url, write=True) as writing:
            table(writing, "INSERT INTO public.seen VALUES (1)")
        assert table(reading, "SELECT count(*) AS n FROM public.seen")["n"].to_pylist() == [0]
    with pytest.raises(StoreError, match="read-only"), connected(postgresql.url, snapshot=True) as reading:
        table(reading, "DROP TABLE public.seen")
    with connected(postgresql.url) as reading:
        assert table(reading, "SELECT n FROM public.seen")["n"].to_pylist() == [1]


def test_what_is_not_meant_to_be_written_is_rolled_back(postgresql: Server) -> None:
    with connected(postgresql.url) as c:
        table(c, "CREATE TABLE public.never (n bigint)")
    with pytest.raises(StoreError, match="run `holdfast migrate`"), connected(postgresql.url) as c:
        table(c, "SELECT * FROM public.never")
