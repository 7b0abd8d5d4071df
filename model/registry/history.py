"""What the entries of a journal add up to."""

from __future__ import annotations

from typing import Any

from model.registry.entry import DECIDING, Entry


def decided(entries: list[Entry], usecase: str, alias: str) -> Entry | None:
    """The entry that made the alias what it is."""
    return next(
        (e for e in reversed(entries) if e.usecase == usecase and e.alias == alias and e.action in DECIDING), None
    )


def pile(entries: list[Entry], alias: str) -> list[str]:
    """Promotions of an alias that still stand, as a pile of plates; the last one is the alias."""
    pile: list[str] = []
    for entry in entries:
        if entry.alias != alias:
            continue
        if entry.action == "promote":
            pile += [entry.tag] if pile[-1:] != [entry.tag] else []  # again is no step to take back
        elif entry.action == "rollback":
            back = len(pile) - pile[::-1].index(entry.tag) if entry.tag in pile else 0
            pile = pile[:back] if back else [*(pile[:-1] or pile), entry.tag]  # to another one: instead of the last
    return pile


def ready(entries: list[Entry]) -> list[Entry]:
    """The `ready` entries that no `stop` has answered."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        place = (entry.pod, entry.process, entry.tag)
        if entry.action == "ready":
            found.setdefault(place, []).append(entry)
        elif entry.action == "stop" and found.get(place):
            found[place].pop(0)
    return sorted((entry for opened in found.values() for entry in opened), key=lambda entry: entry.number)


def live(entries: list[Entry]) -> list[tuple[str, str]]:
    """Tags that are needed, each with why, from all entries of a use case."""
    found = [(tag, "is served") for tag in sorted({entry.tag for entry in ready(entries)})]
    for alias in dict.fromkeys(entry.alias for entry in entries if entry.action in DECIDING):
        *before, now = pile(entries, alias)
        found += [(before[-1], f"before {alias}")] if before else []
        found.append((now, alias))
    return found
