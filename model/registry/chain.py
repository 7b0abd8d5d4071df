"""The chain: each line of a journal holds the digest of the one before it, so that no line changes unseen.

A line is a JSON object with `number` and `previous` in front and `digest` at its end: sha256 over every byte of the
line before `, "digest"`. `previous` is the digest of the line before. Journals from before there was a chain begin with
lines that have none; the first one that has a digest holds the sha256 of all bytes before it (with line ends).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from model.registry.entry import Entry
from model.registry.error import RegistryError

RESTORE = (
    "restore the journal from a copy or, where there is none, keep this one elsewhere, begin with an empty one and "
    "promote again what is live"
)
_SEALED = re.compile(rb', "digest": "([0-9a-f]{64})"\}')
_TAIL = len(', "digest": ""}') + 64


@dataclass(frozen=True)
class Head:
    """The last line of a chain: its number and its digest."""

    number: int
    digest: str


@dataclass(frozen=True)
class Verified:
    """A journal that is whole: how many entries it has, and the digest to note down elsewhere."""

    entries: int
    head: str


def read(number: int, line: bytes, where: str) -> Entry:
    """The entry in a line, which is not checked against its digest.

    Raises:
        RegistryError: if it cannot be read.
    """
    try:
        fields = json.loads(line)
        for name in ("number", "previous", "digest"):
            fields.pop(name, None)
        return Entry(**fields, number=number)
    except (ValueError, TypeError, AttributeError) as error:
        remedy = (
            "use the release that wrote it, or restore the journal from a copy"
            if _digest(line)
            else "keep a copy, then mend the line or, if it was cut short and so never took effect, delete it"
        )
        raise RegistryError(f"{where}, line {number} cannot be read: {error}; {remedy}") from None


def extend(lines: Sequence[bytes], entries: Sequence[Entry]) -> list[tuple[Entry, bytes]]:
    """These entries, numbered, and their lines, which follow after `lines`."""
    made, previous = list[tuple[Entry, bytes]](), end(lines).digest
    for number, entry in enumerate(entries, start=len(lines) + 1):
        numbered = replace(entry, number=number)
        body = json.dumps({"number": number, "previous": previous, **asdict(numbered)})[:-1].encode()
        previous = hashlib.sha256(body).hexdigest()
        made.append((numbered, body + f', "digest": "{previous}"}}'.encode()))
    return made


def end(lines: Sequence[bytes]) -> Head:
    """The end of a journal: the number of its last line, and what the next one states as `previous`."""
    stated = _digest(lines[-1]) if lines else None
    return Head(len(lines), stated or hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest())


def check(lines: Sequence[bytes], head: Head | None, where: str, note: str, noted: str | None = None) -> Verified:
    """Look at every byte.

    Args:
        head: what was noted of the journal's end when it was last written, and `note`, where.
        noted: a digest that somebody else kept.

    Raises:
        RegistryError: naming the first line that is wrong, why, and what to do.
    """
    previous, chained, known = _follow(lines, where)
    _reach(lines, head, where, note)
    if head is None and chained > 1:
        raise RegistryError(
            f"{where}: the note of its end, {note}, is missing, so lines may be missing there: restore both from a "
            "copy, or see with `holdfast models verify --head` and a digest noted elsewhere that none is missing; the "
            "next entry notes the end anew"
        )
    if noted is not None and noted not in known:
        raise RegistryError(
            f"{where}: no line has the digest {noted}: lines were removed from its end, or all of it was written anew; "
            f"{RESTORE}"
        )
    return Verified(len(lines), previous)


def sound(lines: Sequence[bytes], head: Head | None, where: str, note: str) -> None:
    """Look at every byte before a line is added; a note that somebody removed, to go on without, is made anew.

    Raises:
        RegistryError: as `check`.
    """
    try:
        _follow(lines, where)
        _reach(lines, head, where, note)
    except RegistryError as error:
        raise RegistryError(f"{error}; nothing was written") from None


def _follow(lines: Sequence[bytes], where: str) -> tuple[str, int, set[str]]:
    """Go along the chain: the digest at its end, how many lines are part of it, and every digest in it."""
    unchained = hashlib.sha256()
    previous, chained, known = unchained.hexdigest(), 0, set[str]()
    for number, line in enumerate(lines, start=1):
        read(number, line, where)
        digest = _digest(line)
        if digest is None:
            if chained:
                raise RegistryError(
                    f"{where}, line {number} is not part of the chain: it has no digest at its end; {RESTORE}"
                )
            unchained.update(line + b"\n")
            previous = unchained.hexdigest()
            continue
        chained += 1
        _check(line, number, previous, digest, where)
        known |= {previous, digest}
        previous = digest
    return previous, chained, known | {previous}


def _check(line: bytes, number: int, previous: str, digest: str, where: str) -> None:
    stated = json.loads(line)
    if hashlib.sha256(line[:-_TAIL]).hexdigest() != digest:
        raise RegistryError(f"{where}, line {number} was changed: its content does not give its digest; {RESTORE}")
    if stated.get("previous") != previous:
        raise RegistryError(
            f"{where}, line {number} does not follow the one before: a line was changed, removed, inserted or moved; "
            f"{RESTORE}"
        )
    if stated.get("number") != number:
        raise RegistryError(f"{where}, line {number} says that it is number {stated.get('number')}; {RESTORE}")


def _reach(lines: Sequence[bytes], head: Head | None, where: str, note: str) -> None:
    """That the journal reaches the end that was noted."""
    if head is None:
        return
    if head.number > len(lines):
        problem = f"it ends with line {len(lines)}, but had {head.number} when it was last written, says {note}"
    elif _digest(lines[head.number - 1]) != head.digest:
        problem = f"line {head.number} is not the one that {note} noted when it was written"
    else:
        return
    raise RegistryError(
        f"{where}: {problem}; restore the journal from a copy or, to go on with what is left of it, delete {note}"
    )


def _digest(line: bytes) -> str | None:
    """The digest that a line states."""
    sealed = _SEALED.fullmatch(line[-_TAIL:])
    return sealed[1].decode() if sealed else None
