"""The journal: what keeps entries for ever. Here, a file; `postgres.py` keeps the same lines in a table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from features.store.base import StoreError
from features.store.lock import exclusive
from model.registry import chain
from model.registry.chain import Head, Verified
from model.registry.entry import Entry
from model.registry.error import Busy, RegistryError
from model.staging import replace, sync

Decide = Callable[[list[Entry]], Sequence[Entry]]
"""From all entries there are, which ones to add; it may raise instead."""


class Journal(Protocol):
    """Lines in order that are only ever added to, whoever writes.

    Every method raises RegistryError where lines cannot be read, `append` and `verify` also where the chain is not
    whole, and StoreError (Unreachable) where a server refuses (is away).
    """

    def entries(self) -> list[Entry]:
        """Every entry, oldest first."""

    def append(self, decide: Decide, then: Callable[[], None] = lambda: None) -> list[Entry]:
        """Add what `decide` says, for ever, and give it back with its numbers; then do `then`.

        Every byte is looked at before: nothing is decided on, or added to, lines that are not what they were. Nobody
        else writes meanwhile.
        """

    def verify(self, head: str | None) -> Verified:
        """Look at every byte; `head` is a digest that the chain must hold."""

    def exclusive(self, what: str) -> AbstractContextManager[None]:
        """Be the only process that does `what`; raises Busy at once if another one is."""


class FileJournal:
    """The journal in `directory`, made when it is first written: lines in `journal.jsonl`, its end in `journal.head`.

    A last line without a line end was cut short, so it never took effect: it is passed over, and the next writer
    removes it.
    """

    def __init__(self, directory: Path) -> None:
        self.path, self._head = directory / "journal.jsonl", directory / "journal.head"
        self._known, self._entries = b"", list[Entry]()

    def entries(self) -> list[Entry]:
        """Every entry, oldest first."""
        whole = self._whole()
        if not whole.startswith(self._known):  # somebody changed what was written
            self._known, self._entries = b"", []
        new = _lines(whole[len(self._known) :])
        self._entries += [chain.read(n, line, str(self.path)) for n, line in enumerate(new, len(self._entries) + 1)]
        self._known = whole
        return list(self._entries)

    def append(self, decide: Decide, then: Callable[[], None] = lambda: None) -> list[Entry]:
        """Add what `decide` says, for ever."""
        with self._telling(), exclusive(self.path.with_suffix(".lock"), "writing the journal", wait=True):
            entries = self.entries()
            chain.sound(_lines(self._known), self._noted(), str(self.path), str(self._head))
            made = chain.extend(_lines(self._known), decide(entries))
            if made:
                self._write([line for _, line in made])
                self._note(made[-1][0].number, made[-1][1])
            then()
        return [entry for entry, _ in made]

    def verify(self, head: str | None) -> Verified:
        """Look at every byte."""
        noted = self._noted()  # before the lines, of which there may be more by then
        return chain.check(_lines(self._whole()), noted, str(self.path), str(self._head), head)

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Be the only process of this machine that does `what`."""
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(self.path.with_name(f"only {quote(what, safe=' ')}.lock"), what))
            except StoreError as error:
                raise Busy(str(error)) from None
            yield

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryError(f"the journal {self.path} cannot be read or written: {error}") from error

    def _whole(self) -> bytes:
        """All lines that are complete."""
        with self._telling():
            written = self.path.read_bytes() if self.path.exists() else b""
        return written[: written.rfind(b"\n") + 1]

    def _write(self, lines: list[bytes]) -> None:
        new = not self.path.exists()
        with self.path.open("ab") as file:
            file.truncate(len(self._known))
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync(self.path.parent)

    def _note(self, number: int, line: bytes) -> None:
        replace(self._head, json.dumps(asdict(Head(number, chain.end([line]).digest))) + "\n")

    def _noted(self) -> Head | None:
        try:
            noted = json.loads(self._head.read_bytes())
            return Head(int(noted["number"]), str(noted["digest"]))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(
                f"{self._head}, the note of the journal's end, cannot be read: {error!r}; restore it, or delete it and "
                "run `holdfast models verify --head DIGEST` with a digest noted elsewhere"
            ) from None


def _lines(whole: bytes) -> list[bytes]:
    return whole.split(b"\n")[:-1]
