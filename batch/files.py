"""Scores in a directory, one below it for each run:

DIR/run=ID/_plan.json                  written first: what is scored, and where parts begin
          /part-00000.parquet          scores of part 0, sorted by key
          /_quarantine/00000.parquet   its rows without a score, with reasons, if there are any
          /_parts/00000.json           written when both are there: the commit of part 0
          /_SUCCESS                    written last, with the totals and the sha256 of every file

Readers of Parquet directories (Spark, pyarrow, pandas) pass over names that begin with `_` or `.`. The same run gives
the same bytes, however often it was interrupted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from batch import reasons
from batch.plan import Finished, Part, Plan, Run
from batch.sink import SinkError
from features.store.lock import exclusive

Kind = TypeVar("Kind", Plan, Part)
PLAN, PARTS, QUARANTINE, SUCCESS = "_plan.json", "_parts", "_quarantine", "_SUCCESS"


@dataclass(frozen=True)
class Directory:
    """The sink in a directory."""

    root: Path

    def unfinished(self) -> list[Run]:
        """Runs that were begun here and not finished, newest as_of last."""
        begun = sorted(path.parent for path in self.root.glob(f"run=*/{PLAN}"))
        plans = [RunDirectory(path).plan() for path in begun if not (path / SUCCESS).exists()]
        return [plan.run for plan in plans if plan is not None]

    @contextmanager
    def hold(self, run: Run) -> Iterator[RunDirectory]:
        """The run's own directory, made if need be.

        Raises:
            SinkError: if it cannot be made. StoreError: if another process holds it.
        """
        place = RunDirectory(self.root / f"run={run.id}")
        try:
            for path in (place.path, place.path / PARTS):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"--out {self.root}: {error.strerror} ({error.filename})") from None
        with exclusive(place.path / ".lock", f"scoring into {place.path}"):
            yield place


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory."""

    path: Path

    @property
    def where(self) -> str:
        """The directory."""
        return str(self.path)

    def plan(self) -> Plan | None:
        """The plan that is kept here, if the run was ever begun."""
        path = self.path / PLAN
        return _read(Plan, path) if path.exists() else None

    def keep(self, plan: Plan) -> None:
        """Keep the plan."""
        _write(self.path / PLAN, lambda draft: draft.write_text(plan.text()))

    def committed(self) -> list[Part]:
        """Parts whose files are what they were when they were committed, by number."""
        parts = [_read(Part, path) for path in sorted((self.path / PARTS).glob("[0-9]*.json"))]
        return [part for part in parts if all(_digest(self.path / name) == sha for name, sha in part.files.items())]

    def commit(self, plan: Plan, part: Part, scores: pa.Table, rejected: pa.Table) -> Part:  # noqa: ARG002
        """Write the part's files, and then, when they are on disk, what they are."""
        written = {f"part-{part.number:05d}.parquet": scores}
        if part.quarantined:
            written[f"{QUARANTINE}/{part.number:05d}.parquet"] = rejected
        for name, table in written.items():
            _write(self.path / name, _parquet(table))
        known = part.model_copy(update={"files": {name: _digest(self.path / name) for name in written}})
        _write(self.path / PARTS / f"{part.number:05d}.json", lambda draft: draft.write_text(known.text()))
        return known

    def finish(self, finished: Finished) -> None:
        """Say that everything is here."""
        _write(self.path / SUCCESS, lambda draft: draft.write_text(finished.text()))


def _parquet(table: pa.Table) -> Callable[[Path], object]:
    """Writes the table: what repeats in a dictionary, which readers get as the plain values they stand for."""
    repeating = [name for name in table.column_names[1:] if name not in ("probability", reasons.COLUMN)]
    repeating.append(f"{reasons.COLUMN}.contributions.list.element.feature")
    return lambda draft: pq.write_table(table, draft, compression="zstd", use_dictionary=repeating, store_schema=False)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file; it appears whole, by one rename, when it is on disk."""
    draft = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(exist_ok=True)
        write(draft)
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}; what was committed stays: run it again") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(kind: type[Kind], path: Path) -> Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SinkError(f"{path} is not what a run writes ({error.error_count()} problems): delete the run") from None


def _digest(path: Path) -> str:
    if not path.exists():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
