"""What a batch run is: who is scored, as of when, by which model, from which data, and in which parts."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from features import clock
from features.store.base import EventStore, StoreError
from model.artefact import Manifest


class Document(BaseModel):
    """Base of what is written beside the scores: strict, frozen, and the same bytes for the same content."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def text(self) -> str:
        """As JSON, indented, with a newline at the end."""
        return self.model_dump_json(indent=2) + "\n"


class Run(Document):
    """A question, and by that its answer: two runs with equal fields give the same rows, on whichever engine.

    `as_of` is RFC 3339; `content` is the model's content digest; `data` that of the batches visible at `as_of`;
    `explain` how many contributions each score carries, 0 for no explanation.
    """

    usecase: str
    as_of: str
    model: str
    content: str
    fingerprint: str
    data: str
    rows_per_part: int
    explain: int = 0

    @property
    def id(self) -> str:
        """The as_of, for people and for sorting, and the digest of all fields: 19980701T000000Z-0123456789abcdef."""
        said = self.model_dump_json(exclude_defaults=True)  # as before there were explanations
        digest = hashlib.sha256(said.encode()).hexdigest()
        return f"{self.as_of.replace('-', '').replace(':', '')}-{digest[:16]}"

    @property
    def t(self) -> int:
        """`as_of` in microseconds."""
        return clock.parse(self.as_of)


class Plan(Document):
    """A run and where each of its parts begins; part i holds the keys in [bounds[i], bounds[i + 1])."""

    run: Run
    bounds: tuple[str, ...]

    @property
    def parts(self) -> list[tuple[str, str | None]]:
        """First key (inclusive) and end (exclusive, None is open) of every part, in order."""
        return list(pairwise((*self.bounds, None)))  # type: ignore[arg-type]  # only the last one is None


class Part(Document):
    """What became of one part: `scored` and `quarantined` rows, the first reasons, and sha256 of the files, if any."""

    number: int
    scored: int
    quarantined: int
    reasons: tuple[str, ...]
    files: dict[str, str] = {}


class Finished(Document):
    """What a whole run came to; written last, so where it is, everything is."""

    run_id: str
    run: Run
    scored: int
    quarantined: int
    parts: tuple[Part, ...]


def ask(usecase: str, events: EventStore, t: int, manifest: Manifest, rows_per_part: int, explain: int = 0) -> Run:
    """The run that scores everyone known at t (microseconds) by the model of that manifest."""
    return Run(
        usecase=usecase,
        as_of=clock.rfc3339(t),
        model=manifest.tag,
        content=manifest.content_digest,
        fingerprint=manifest.fingerprint,
        data=data(events, t),
        rows_per_part=rows_per_part,
        explain=explain,
    )


def data(events: EventStore, t: int) -> str:
    """Digest over the batches that have a part in an answer at t: another one, if and only if one was added."""
    return hashlib.sha256(" ".join(batch.content for batch in events.relevant(t, 0)).encode()).hexdigest()


def divide(run: Run, events: EventStore) -> Plan:
    """The run in parts of `rows_per_part` keys.

    Raises:
        StoreError: if nobody is known at its as_of.
    """
    bounds = events.ranges(run.t, run.rows_per_part)
    if len(bounds) == 1 and not len(events.keys(run.t)):
        raise StoreError(
            f"{run.usecase}: nobody was known at {run.as_of}, so there is nothing to score. If the rows are history, "
            "they were ingested without --backfill and count as known only since then"
        )
    return Plan(run=run, bounds=tuple(bounds))
