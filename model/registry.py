"""The registry: which model goes by which alias, and everything that ever happened, in an append-only journal.

One line of JSON per event in BENTOML_HOME/holdfast/journal.jsonl: promotions and rollbacks (who, when, from, to, why,
what the gate said), and every ready and stop of a server (image, tag, pod). An alias is what its last line says.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from features.clock import parse, wall
from features.store.lock import exclusive
from settings import HoldfastError

Action = Literal["promote", "rollback", "ready", "stop"]
CHAMPION = "champion"


class RegistryError(HoldfastError, LookupError):
    """An alias or a way back that does not exist; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One line of the journal. `before` and `tag` are model tags; `alias` is empty for a server's ready and stop."""

    time: str
    who: str
    action: Action
    usecase: str
    alias: str
    before: str | None
    tag: str
    why: str
    proof: str
    image: str = ""
    pod: str = ""


class Registry:
    """The journal in `directory`, made when it is first written.

    Args:
        who: whose name the entries carry; None is the user of this process. image: of a deployment.
    """

    def __init__(self, directory: Path, who: str | None = None, image: str = "") -> None:
        self.path, self.who, self.image = directory / "journal.jsonl", who or _user(), image

    def entries(self, usecase: str | None = None) -> list[Entry]:
        """Every entry, oldest first.

        Raises:
            RegistryError: if a line cannot be read, naming it.
        """
        if not self.path.exists():
            return []
        found = []
        for number, line in enumerate(self.path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RegistryError(
                    f"{self.path}, line {number} cannot be read: {error}; keep a copy, then mend the line or, if it is "
                    "a last one that was cut short and so never took effect, delete it"
                ) from None
        return [entry for entry in found if usecase in (None, entry.usecase)]

    def alias(self, usecase: str, alias: str = CHAMPION, at: str | None = None) -> str | None:
        """The tag that went by this alias at a time (RFC 3339; None is now), or None."""
        limit = None if at is None else parse(at)
        tag = None
        for entry in self.entries(usecase):
            if entry.alias == alias and (limit is None or parse(entry.time) <= limit):
                tag = entry.tag
        return tag

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
        tag = self.alias(name, alias)
        if tag is None:
            raise RegistryError(
                f"{reference} points to no model: run `holdfast train {name}`, then `holdfast models promote TAG`"
            )
        return tag

    def promote(self, usecase: str, tag: str, *, why: str, proof: str, alias: str = CHAMPION) -> Entry:
        """Let `tag` go by `alias` from now on. `proof` is what the gate said."""
        with self._writing():
            return self._append(usecase, "promote", alias, self.alias(usecase, alias), tag, why, proof)

    def previous(self, usecase: str, alias: str = CHAMPION) -> str:
        """The tag that the alias would go back to: the one before the last promotion that still stands.

        Raises:
            RegistryError: if there is none.
        """
        stack: list[str] = []
        for entry in self.entries(usecase):
            if entry.alias != alias:
                continue
            if entry.action == "promote":
                stack += [entry.tag] if stack[-1:] != [entry.tag] else []  # again is no step to take back
            elif entry.action == "rollback":
                stack = stack[: len(stack) - stack[::-1].index(entry.tag)] if entry.tag in stack else [entry.tag]
        if len(stack) < 2:
            only = f"{stack[0]} is its first model" if stack else "it has no model yet"
            raise RegistryError(f"{usecase}@{alias} has nothing to go back to: {only}")
        return stack[-2]

    def live(self, usecase: str) -> list[tuple[str, str]]:
        """Tags that are needed, each with why: an alias points to it, would go back to it, or a server serves it."""
        found = [(tag, "is served") for tag in self.serving(usecase, wall())]
        for alias in dict.fromkeys(entry.alias for entry in self.entries(usecase) if entry.alias):
            with suppress(RegistryError):  # the first model of an alias
                found.append((self.previous(usecase, alias), f"before {alias}"))
            tag = self.alias(usecase, alias)
            if tag is not None:
                found.append((tag, alias))
        return found

    def rollback(self, usecase: str, tag: str, *, why: str, proof: str, alias: str = CHAMPION) -> Entry:
        """Let the alias go back to `tag`."""
        with self._writing():
            return self._append(usecase, "rollback", alias, self.alias(usecase, alias), tag, why, proof)

    def deployed(self, usecase: str, action: Literal["ready", "stop"], tag: str, proof: str) -> Entry:
        """Record that a server became ready with, or stopped serving, this model."""
        with self._writing():
            return self._append(usecase, action, "", None, tag, "", proof)

    def serving(self, usecase: str, at: str) -> list[str]:
        """Tags that some server was ready with at a time (RFC 3339), sorted."""
        live: dict[tuple[str, str], int] = {}
        for entry in self.entries(usecase):
            if parse(entry.time) <= parse(at) and entry.action in ("ready", "stop"):
                place = (entry.pod, entry.tag)
                live[place] = live.get(place, 0) + (1 if entry.action == "ready" else -1)
        return sorted({tag for (_, tag), count in live.items() if count > 0})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with exclusive(self.path.with_suffix(".lock"), "writing the journal", wait=True):
            yield

    def _append(
        self, usecase: str, action: Action, alias: str, before: str | None, tag: str, why: str, proof: str
    ) -> Entry:
        pod = socket.gethostname()
        entry = Entry(wall(), self.who, action, usecase, alias, before, tag, why, proof, self.image, pod)
        with self.path.open("a+b") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                file.write(b"\n")  # a line that was cut short must not swallow this one
            file.write(json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return entry


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user needs no name
        return f"uid {os.getuid()}"
