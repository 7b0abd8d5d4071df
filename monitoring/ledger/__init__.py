"""The ledger: all that monitoring knows of a use case, so that a pass goes on where the last one ended.

types     what it holds, and what a pass adds
tables    the tables, and what is asked of them: one text for both engines
sqlite    in a file, on one machine; postgres: for several
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from features.store import POSTGRESQL
from features.store.base import StoreError
from monitoring.ledger.sqlite import SQLiteLedger
from monitoring.ledger.types import Change, Closed, Fact, Ids, Ledger, Opened, Seen
from settings import redacted

__all__ = ["Change", "Closed", "Fact", "Ids", "Ledger", "Opened", "Seen", "open_ledger"]


def open_ledger(url: str | None, home: Path, usecase: str) -> Ledger:
    """The ledger of a use case.

    Args:
        url: HOLDFAST_MONITOR_URL; by default a file in `home`/monitor, `home` being the directory of the use case.

    Raises:
        StoreError: if nothing serves that URL.
    """
    if url is None:
        return SQLiteLedger(home / "monitor")
    if url.partition(":")[0] in POSTGRESQL:
        from monitoring.ledger.postgres import PostgresLedger  # psycopg, where it is asked for

        return PostgresLedger(url, usecase)
    parts = urlsplit(url)
    if parts.scheme != "file" or not parts.path:
        raise StoreError(
            f"HOLDFAST_MONITOR_URL is {redacted(url)!r}, and has to be file:///DIRECTORY or "
            "postgresql://USER@HOST/DATABASE"
        )
    return SQLiteLedger(Path(unquote(parts.netloc + parts.path)))
