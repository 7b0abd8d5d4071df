"""SQLite's own: one file, made when it is written to; test_online.py has what holds for every online store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from features.store import open_online
from features.store.base import StoreError
from features.store.sqlite import SQLiteStore
from tests.features.store.test_online import COUNT, T, part


def test_serving_makes_no_file_and_changes_none(tmp_path: Path) -> None:
    path = tmp_path / "online"
    with pytest.raises(StoreError, match="holdfast materialize"):
        SQLiteStore(path, COUNT, read_only=True)
    assert not path.exists()
    writer = SQLiteStore(path, COUNT)
    writer.materialize([part(["1"], 7)], T, 1, full=True)
    reader = SQLiteStore(path, COUNT, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.materialize([part(["1"], 8)], T, 1, full=True)
    writer.close()
    reader.close()


def test_a_file_is_chosen_by_url(tmp_path: Path) -> None:
    open_online(f"sqlite://{tmp_path}/a%20b/online", tmp_path, COUNT, name="toy").close()
    assert (tmp_path / "a b" / "online").exists()
    with pytest.raises(StoreError, match=r"HOLDFAST_ONLINE_URL=mysql://u:\*\*\*@x"):
        open_online("mysql://u:secret@x", tmp_path, COUNT, name="toy")
