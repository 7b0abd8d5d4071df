"""What stands for a key is HMAC-SHA256 as others compute it, and whose secret it was is told by a mark."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from benchmarks.servers import Server
from features.store.base import StoreError
from model.predictions.postgres import Table
from model.predictions.pseudonym import Pseudonyms
from model.predictions.reading import Directory
from model.predictions.segment import SEALED, frame, name
from tests.model.answers import HEADER, entry


def test_a_pseudonym_is_the_hmac_of_rfc_4231() -> None:
    first = Pseudonyms(SecretStr("\x0b" * 20))
    assert first("Hi There") == "b0344c61d8db38535ca8afceaf0bf12b"  # section 4.2
    second = Pseudonyms(SecretStr("Jefe"))
    assert second("what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"  # section 4.3


def test_without_a_secret_keys_stay_as_they_are() -> None:
    plain = Pseudonyms(None)
    assert (plain("17"), plain.mark) == ("17", "")


def test_a_mark_tells_secrets_apart_and_does_not_tell_them() -> None:
    one, other = Pseudonyms(SecretStr("a secret of some length")), Pseudonyms(SecretStr("another one of some length"))
    assert len(one.mark) == len(other.mark) == 8
    assert one.mark != other.mark
    assert one.mark == Pseudonyms(SecretStr("a secret of some length")).mark
    assert one("17") != other("17")


def test_any_text_has_one() -> None:
    assert len({Pseudonyms(SecretStr("s" * 16))(text) for text in ("", "é", "e\u0301", "\ud800", "\0")}) == 5


def test_every_log_says_by_which_secret(tmp_path: Path, postgresql: Server) -> None:
    header, made = replace(HEADER, usecase="secretive", hashed="0a1b2c3d"), entry("a", "b")
    path = tmp_path / (name(made.time, "p", 1, 1) + SEALED)
    path.write_bytes(b"".join(part for record in (header, made) for part in frame(record)))
    assert [one.hashed for one in Directory(tmp_path, "secretive").find(made.id)] == ["0a1b2c3d"] * 2
    table = Table(postgresql.url, "secretive")
    with table.writer() as connection:
        table.insert(connection, [(header, made)])
    assert [one.hashed for one in table.find(made.id)] == ["0a1b2c3d"] * 2


def test_a_table_from_before_is_given_the_column_by_migrate(postgresql: Server) -> None:
    table, made = Table(postgresql.url, "older"), entry("a")
    with table.writer() as connection:
        table.insert(connection, [(replace(HEADER, usecase="older"), made)])
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table.name} DROP COLUMN hashed")
    with pytest.raises(StoreError, match="run `holdfast migrate`"):
        table.find(made.id)
    table.migrate()
    assert [one.hashed for one in table.find(made.id)] == [""]
