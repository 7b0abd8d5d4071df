"""Stores of events, training sets and online rows; which engine is chosen by URL.

An engine's module is imported only when its URL is asked for: the serving image has neither DuckDB nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from features.featureset import FeatureSet
from features.source import Source
from features.store.base import EventStore, OnlineStore, StoreError


def open_events(url: str | None, home: Path, features: FeatureSet, sources: Mapping[str, Source]) -> EventStore:
    """The event store at `url`; None is Parquet under `home`.

    Raises:
        StoreError: if no engine serves that URL.
    """
    from features.store.parquet import ParquetStore

    return ParquetStore(_path("HOLDFAST_EVENTS_URL", url, "file", home), features, sources)


def open_online(url: str | None, home: Path, features: FeatureSet, *, read_only: bool = False) -> OnlineStore:
    """The online store at `url`; None is SQLite under `home`. Without events there is nothing to store.

    Raises:
        StoreError: if no engine serves that URL, or `read_only` and the store does not exist yet.
    """
    if features.events is None:
        from features.store.none import NoEvents

        return NoEvents()
    from features.store.sqlite import SQLiteStore

    path = _path("HOLDFAST_ONLINE_URL", url, "sqlite", home / "online.sqlite")
    return SQLiteStore(path, features, read_only=read_only)


def _path(setting: str, url: str | None, scheme: str, default: Path) -> Path:
    if url is None:
        return default
    parts = urlsplit(url)
    if parts.scheme != scheme or not parts.path:
        raise StoreError(f"{setting}={url}: no engine for it; use {scheme}:///PATH")
    return Path(unquote(parts.netloc + parts.path))
