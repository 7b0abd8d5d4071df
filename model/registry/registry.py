"""What is live, what was, the way back, and who decided it: read from the journal, and added to it."""

from __future__ import annotations

import enum
import getpass
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from features.clock import now, parse, rfc3339
from features.store import POSTGRESQL
from model.registry import history, process
from model.registry.chain import Verified
from model.registry.entry import CANDIDATE, CHAMPION, DECIDING, Action, Check, Entry
from model.registry.error import Conflict, RegistryError
from model.registry.journal import FileJournal, Journal
from settings import HoldfastError, redacted


class _Any(enum.Enum):
    ANY = "any"


ANY: Final = _Any.ANY
"""`expected` of a change that does not look at what the alias was."""


def open_registry(
    url: str | None,
    directory: Path,
    who: str | None = None,
    image: str = "",
    there: Callable[[str], bool] = lambda _: True,
) -> Registry:
    """The registry at `url` (postgresql://...), or the one in `directory` where it is None; the rest is Registry's.

    Raises:
        RegistryError: if no engine serves that URL.
    """
    if url is None:
        return Registry(FileJournal(directory), who, image, there)
    if url.partition(":")[0] not in POSTGRESQL:
        raise RegistryError(
            f"HOLDFAST_REGISTRY_URL={redacted(url)}: no engine for it; use postgresql://USER:PASSWORD@HOST/DATABASE, "
            f"or none for the journal in {directory}"
        )
    from model.registry.postgres import PostgresJournal  # late: a driver that a laptop need not load

    return Registry(PostgresJournal(url), who, image, there)


class Registry:
    """Aliases and their history, over a journal. An alias is what its last promotion or rollback says.

    Args:
        who: whose name the entries carry; None is the user of this process. image: of a deployment.
        there: whether the store has a model of that tag: no alias is ever given to one that was removed meanwhile.
    """

    def __init__(
        self,
        journal: Journal,
        who: str | None = None,
        image: str = "",
        there: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.journal, self.who, self.image, self.there = journal, who or _user(), image, there

    def entries(self, usecase: str | None = None) -> list[Entry]:
        """Every entry, oldest first.

        Raises:
            RegistryError: if a line cannot be read, naming it.
        """
        return [entry for entry in self.journal.entries() if usecase in (None, entry.usecase)]

    def decided(self, usecase: str, alias: str = CHAMPION, at: str | None = None) -> Entry | None:
        """The promotion or rollback that made the alias what it was at a time (RFC 3339; None is now)."""
        limit = None if at is None else parse(at)
        return history.decided(
            [entry for entry in self.journal.entries() if limit is None or parse(entry.time) <= limit], usecase, alias
        )

    def alias(self, usecase: str, alias: str = CHAMPION, at: str | None = None) -> str | None:
        """The tag that went by this alias at a time (RFC 3339; None is now), or None."""
        entry = self.decided(usecase, alias, at)
        return None if entry is None else entry.tag

    def resolve(self, reference: str) -> str:
        """The exact tag of `NAME:VERSION` or `NAME@ALIAS`, resolved now and once.

        Raises:
            RegistryError: if the alias points nowhere, or no version is named.
        """
        name, at, alias = reference.partition("@")
        if not at:
            if reference.partition(":")[2] in ("", "latest"):
                raise RegistryError(
                    f"{reference} names no version, and the newest model changes: write NAME:VERSION (`holdfast models "
                    "list` shows them) or NAME@ALIAS"
                )
            return reference
        there = self.aliases(name)
        if alias not in there:
            remedy = f"run `holdfast train {name}`, then `holdfast models promote TAG`"
            if there and alias != CHAMPION:
                remedy = f"the aliases of {name} are {', '.join(sorted(there))}"
                remedy += f"; `holdfast retrain {name}` makes a candidate" if alias == CANDIDATE else ""
            raise RegistryError(f"{reference} points to no model: {remedy}")
        return there[alias]

    def promote(
        self,
        usecase: str,
        tag: str,
        *,
        why: str,
        proof: str,
        alias: str = CHAMPION,
        content: str = "",
        checks: Sequence[Check] = (),
        forced: bool = False,
        expected: str | _Any | None = ANY,
    ) -> Entry:
        """Let `tag` go by `alias` from now on. `proof` and `checks` are what the gate said, `content` its digest.

        Args:
            expected: the tag that the alias had when the gate looked (None: none).

        Raises:
            Conflict: if it has another one by now.
        """
        made = self._entry("promote", usecase, tag, alias, why, proof)
        return self._decide(replace(made, content=content, checks=list(checks), forced=forced), expected)

    def rollback(
        self,
        usecase: str,
        tag: str,
        *,
        why: str,
        proof: str,
        alias: str = CHAMPION,
        content: str = "",
        expected: str | _Any | None = ANY,
    ) -> Entry:
        """Let the alias go back to `tag`.

        Raises:
            Conflict: if it has not the `expected` tag any more.
        """
        return self._decide(
            replace(self._entry("rollback", usecase, tag, alias, why, proof), content=content), expected
        )

    def refuse(
        self,
        usecase: str,
        tag: str,
        *,
        why: str,
        proof: str,
        checks: Sequence[Check],
        alias: str = CHAMPION,
        content: str = "",
    ) -> Entry:
        """Record that the gate refused to let `tag` go by `alias`, which stays what it is."""
        made = self._entry("refuse", usecase, tag, alias, why, proof)
        return self._decide(replace(made, content=content, checks=list(checks)), ANY)

    def content(self, tag: str) -> str:
        """The content digest that the model of that tag had when it was last decided on; "" if it was not known."""
        return next(
            (entry.content for entry in reversed(self.journal.entries()) if entry.tag == tag and entry.content), ""
        )

    def aliases(self, usecase: str) -> dict[str, str]:
        """The tag of each alias, now."""
        return {entry.alias: entry.tag for entry in self.entries(usecase) if entry.action in DECIDING}

    def remove(self, usecase: str, tag: str, why: str, delete: Callable[[], None] = lambda: None) -> Entry:
        """Record that a model is deleted from the store; `delete` does it, before anybody can change an alias.

        Raises:
            RegistryError: if it is needed: an alias points to it or would go back to it, or a server serves it.
        """

        def decide(entries: list[Entry]) -> list[Entry]:
            needed = dict(history.live([entry for entry in entries if entry.usecase == usecase]))
            if tag in needed:
                raise RegistryError(f"{tag} is needed: {needed[tag]}; it was not removed")
            return [self._entry("remove", usecase, tag, "", why, "")]

        return self.journal.append(decide, delete)[0]

    def path_back(self, usecase: str, alias: str = CHAMPION) -> list[str]:
        """Tags that the alias could go back to, nearest first: those of promotions that still stand."""
        *before, now = history.pile(self.entries(usecase), alias) or [""]
        return [tag for tag in dict.fromkeys(reversed(before)) if tag != now]

    def previous(self, usecase: str, alias: str = CHAMPION) -> str:
        """The tag that the alias would go back to: the one before the last promotion that still stands.

        Raises:
            RegistryError: if there is none.
        """
        pile = history.pile(self.entries(usecase), alias)
        if len(pile) < 2:
            only = f"{pile[0]} is its first model" if pile else "it has no model yet"
            raise RegistryError(f"{usecase}@{alias} has nothing to go back to: {only}")
        return pile[-2]

    def live(self, usecase: str) -> list[tuple[str, str]]:
        """Tags that are needed, each with why: an alias points to it, would go back to it, or a server serves it."""
        self._close(usecase)
        return history.live(self.entries(usecase))

    def deployed(self, usecase: str, action: Literal["ready", "stop"], tag: str, proof: str) -> Entry:
        """Record that a server became ready with, or stopped serving, this model."""

        def decide(entries: list[Entry]) -> list[Entry]:
            ended = self._ended(entries, usecase) if action == "ready" else []
            return [*ended, replace(self._entry(action, usecase, tag, "", "", proof), process=process.identity())]

        return self.journal.append(decide)[-1]

    def serving(self, usecase: str, at: str) -> list[str]:
        """Tags that some server was ready with at a time (RFC 3339), sorted."""
        return sorted({entry.tag for entry in self.servers(usecase, at)})

    def servers(self, usecase: str, at: str) -> list[Entry]:
        """The `ready` entries of the servers that had not stopped at a time (RFC 3339), oldest first."""
        self._close(usecase)
        return history.ready([e for e in self.entries(usecase) if parse(e.time) <= parse(at)])

    def verify(self, head: str | None = None) -> Verified:
        """Look at every byte of the journal; `head` is a digest, noted elsewhere, that must be in its chain.

        Raises:
            RegistryError: naming the first line that is wrong, and why.
        """
        return self.journal.verify(head)

    def exclusive(self, what: str) -> AbstractContextManager[None]:
        """Be the only process, of all that share the registry, that does `what` while the block runs.

        Raises:
            Busy: at once, if another one is doing it.
        """
        return self.journal.exclusive(what)

    def _decide(self, entry: Entry, expected: str | _Any | None) -> Entry:
        def decide(entries: list[Entry]) -> list[Entry]:
            last = history.decided(entries, entry.usecase, entry.alias)
            before = None if last is None else last.tag
            if expected is not ANY and before != expected:
                raise Conflict(_conflict(entry, expected, last))
            if entry.action in DECIDING and not self.there(entry.tag):
                raise Conflict(f"{entry.tag} was removed from the store meanwhile: nothing was changed")
            return [replace(entry, time=rfc3339(now()), before=before)]

        return self.journal.append(decide)[0]

    def _entry(self, action: Action, usecase: str, tag: str, alias: str, why: str, proof: str) -> Entry:
        pod = socket.gethostname()
        return Entry(rfc3339(now()), self.who, action, usecase, alias, None, tag, why, proof, self.image, pod)

    def _ended(self, entries: list[Entry], usecase: str) -> list[Entry]:
        """A `stop` for each server of this pod whose process is gone without having said so."""
        pod = socket.gethostname()
        return [
            replace(
                self._entry("stop", usecase, e.tag, "", "ended without saying so", ""), process=e.process, image=e.image
            )
            for e in history.ready([e for e in entries if e.usecase == usecase and e.pod == pod])
            if process.gone(e.process)
        ]

    def _close(self, usecase: str) -> None:
        """Journal their stops; where that cannot be, they count as serving for a little longer."""
        if self._ended(self.journal.entries(), usecase):
            with suppress(OSError, HoldfastError):
                self.journal.append(lambda entries: self._ended(entries, usecase))


def _conflict(entry: Entry, expected: str | None, last: Entry | None) -> str:
    alias = f"{entry.usecase}@{entry.alias}"
    since = (
        f"{last.who} made it {last.tag} at {last.time} ({last.action}{f': {last.why}' if last.why else ''})"
        if last is not None
        else "it is none now"
    )
    return (
        f"{alias} was {expected or 'no model'} when {entry.tag} was compared with it, but since then {since}: "
        "nothing was changed; run it again, so that the model is compared with what is live now"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user needs no name
        return f"uid {os.getuid()}"
