"""What commands leave behind, in a form that can be compared; and whether online rows are what they say."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.ground import SECOND
from benchmarks.wholeness import copied, decisions
from cli.workspace import Workspace
from features.store.base import Spine, StoreError
from model.artefact import CARDS
from settings import HoldfastError

TIMES = ("committed_at", "created_at", "finished_at", "started_at", "git_commit", *CARDS)
"""Fields that say when something was written, and by which state of the code; cards say so too."""


def honest(workspace: Workspace) -> int:
    """Compare every online row with the event store as of the time it claims; how many were compared.

    Raises:
        HoldfastError: naming a row that is not what it says, or a watermark ahead of the data.
    """
    events = workspace.events
    with closing(workspace.online()) as online:
        try:
            held = online.as_of()
        except StoreError:
            return 0
        last = max((batch.number for batch in events.batches()), default=0)
        if held.batch > last:
            raise HoldfastError(f"the online rows claim batch {held.batch}, and there are {last}")
        keys = events.keys(SECOND)
        found = online.read(keys.tolist())
        true = events.aggregate(Spine(keys, found.as_of))
        behind = len(events.batches()) > held.batch
        for name, values in found.aggregates.items():
            wrong = ~(
                (values == true.aggregates[name])
                | ((values != values) & (true.aggregates[name] != true.aggregates[name]))
            )
            if wrong[found.known].any() and not behind:
                raise HoldfastError(f"{name} of {keys[found.known & wrong][0]} is not what the event store says")
    return len(keys)


def outcome(workspace: Workspace) -> dict[str, str]:
    """Everything that commands leave behind, by name: digests of files without times of writing, dumps of tables."""
    found: dict[str, str] = {}
    with closing(workspace.online()) as online:
        try:
            held = online.as_of()
            keys = workspace.events.keys(SECOND)
            rows = online.read(keys.tolist())
            values = {name: column.tolist() for name, column in rows.aggregates.items()}
            found["online rows"] = _digest([keys.tolist(), rows.known.tolist(), rows.as_of.tolist(), repr(values)])
            found["online as_of"] = repr(held)
            found["online events"] = _digest(
                [column.tolist() for column in online.compute(keys.tolist(), SECOND).aggregates.values()]
            )
        except StoreError:
            found["online rows"] = "none"
    found["decisions"] = _digest(decisions(workspace))
    with tempfile.TemporaryDirectory() as temporary:
        there = copied(workspace.settings.archive_url, Path(temporary))
        found |= {f"archives {_name(path, there)}": _file(path) for path in there.glob("*/*") if _kept(path)}
    url = workspace.settings.events_url
    if url is not None:
        found |= _tables(url)
    for path in sorted(workspace.settings.home.parent.rglob("*")):
        if path.is_file() and _kept(path):
            found[_name(path, workspace.settings.home.parent)] = _file(path)
    return found


def _kept(path: Path) -> bool:
    """Whether a file is an outcome: logs, locks, cards and SQLite's own files (compared by their rows) are not."""
    if (
        path.name in ("log", "model.yaml", "manifest.sha256", "journal.jsonl", *CARDS)
        or path.suffix == ".lock"
        or path.name == ".lock"
    ):
        return False
    return (".sqlite" not in path.name and "bentoml" not in path.parts) or path.parent.parent.name == "cdnow"


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _file(path: Path) -> str:
    if path.suffix == ".json":
        return _digest(_timeless(json.loads(path.read_text())))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    """Without the times at which something was written, and what is derived from them."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, str) and value.startswith("{"):
        return _timeless(json.loads(value))
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _tables(url: str) -> dict[str, str]:
    sql = (
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'holdfast_registry') ORDER BY 1, 2"
    )
    found = {}
    with psycopg.connect(url) as connection:
        for schema, name in connection.execute(sql).fetchall():
            own = [row for (row,) in connection.execute(f'SELECT to_jsonb(r) FROM "{schema}"."{name}" r').fetchall()]
            found[f"{schema}.{name}"] = _digest(sorted(json.dumps(_timeless(row), sort_keys=True) for row in own))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
