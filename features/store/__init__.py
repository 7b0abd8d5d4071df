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
from settings import redacted

POSTGRESQL = ("postgresql", "postgres")


def open_events(
    url: str | None, home: Path, features: FeatureSet, sources: Mapping[str, Source], *, name: str
) -> EventStore:
    """The event store at `url`; None is Parquet under `home`.

    Args:
        name: of the use case, for stores that several share.

    Raises:
        StoreError: if no engine serves that URL.
    """
    if url is not None and _scheme(url) in POSTGRESQL:
        from features.store.postgres_events import PostgresEvents

        return PostgresEvents(url, name, features, sources)
    from features.store.parquet import ParquetStore

    return ParquetStore(_path("HOLDFAST_EVENTS_URL", url, "file", home), features, sources)


def open_online(
    url: str | None,
    home: Path,
    features: FeatureSet,
    *,
    name: str,
    read_only: bool = False,
    events_url: str | None = None,
    timeout: float = 0.5,
    pool: int = 8,
) -> OnlineStore:
    """The online store at `url`; None is SQLite under `home`. Without events there is nothing to store.

    Args:
        name: of the use case, for stores that several share.
        events_url: of the event store: where both are one PostgreSQL database, its events are not kept twice.
        timeout: seconds that a read may take; pool: most connections to a server.

    Raises:
        StoreError: if no engine serves that URL, or `read_only` and a store of files does not exist yet.
    """
    if features.events is None:
        from features.store.none import NoEvents

        return NoEvents()
    scheme = _scheme(url) if url is not None else ""
    if url is not None and scheme in POSTGRESQL:
        from features.store.postgres_online import PostgresOnline

        beside = url == events_url
        return PostgresOnline(
            url, name, features, read_only=read_only, beside_events=beside, timeout=timeout, pool=pool
        )
    if url is not None and scheme in ("redis", "rediss"):
        from features.store.redis import RedisStore

        return RedisStore(url, name, features, read_only=read_only, timeout=timeout, pool=pool)
    from features.store.sqlite import SQLiteStore

    path = _path("HOLDFAST_ONLINE_URL", url, "sqlite", home / "online.sqlite")
    return SQLiteStore(path, features, read_only=read_only)


def _scheme(url: str) -> str:
    return url.partition(":")[0]  # urlsplit refuses some passwords


def _path(setting: str, url: str | None, scheme: str, default: Path) -> Path:
    if url is None:
        return default
    parts = urlsplit(url)
    if parts.scheme != scheme or not parts.path:
        raise StoreError(f"{setting}={redacted(url)}: no engine for it; use {scheme}:///PATH")
    return Path(unquote(parts.netloc + parts.path))
