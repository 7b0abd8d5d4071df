"""The page of all models: how each stands, what was read, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.ledger import Opened
from monitoring.page.model import closing
from monitoring.page.rendering import rendered
from monitoring.page.strip import SAID, SYMBOLS, Strip, state, strip
from monitoring.page.watched import Watched
from monitoring.passes.asking import unanswered

COUNTERS = {
    "records": "Answers read",
    "outcomes": "Outcomes read",
    "rejected": "Requests refused",
}
"""Counters that are shown, by name."""
LABELS = {
    ("records", "counted"): "counted in a window",
    ("records", "late"): "of those late: answered before an earlier window had ended",
    ("records", "duplicate"): "duplicates, left out",
    ("records", "unknown_model"): "of a model that is not in the store here",
    ("outcomes", "matched"): "matched to an answer",
    ("outcomes", "unmatched"): "of no answer that was read",
    ("outcomes", "immature"): "too early to count",
    ("outcomes", "missing"): "answers without an outcome once it was due",
}


@dataclass(frozen=True)
class Card:
    """A model, in short."""

    tag: str
    state: str
    symbol: str
    said: str
    strip: Strip
    opened: Opened | None
    windows: int
    newest: int


def page(watched: Watched, trouble: str = "") -> str:
    """HTML.

    Args:
        trouble: why the last pass failed; "" if it did not.

    Raises:
        StoreError: if the ledger cannot be read.
    """
    cards = [_card(watched, tag) for tag in watched.ledger.models()]
    cards.sort(key=lambda card: (-card.newest, card.tag))
    counters = watched.ledger.counters()
    return rendered(
        "overview.html.j2",
        watched=watched,
        cards=cards,
        alarms=[card.tag for card in cards if card.state == "alarm"],
        needed=closing(watched),
        counters=[(title, _listed(counters, name)) for name, title in COUNTERS.items() if _listed(counters, name)],
        pass_=next(iter(watched.ledger.facts("pass", last=1)), None),
        retrain=unanswered(watched.ledger),
        trouble=trouble,
        commits=watched.ledger.number(),
    )


def _card(watched: Watched, tag: str) -> Card:
    ring, opened = watched.ring(tag), watched.ledger.opened(tag)
    newest = ring[-1] if ring else None
    own = state(newest) if newest else "waiting"
    said = SAID[state(newest)] if newest else "waiting"
    symbol = SYMBOLS[state(newest)] if newest else "○"
    end = max(newest.end if newest else 0, opened.end if opened else 0)
    return Card(tag, own, symbol, said, strip(ring), opened, newest.number if newest else 0, end)


def _listed(counters: Mapping[tuple[str, str], int], name: str) -> list[tuple[str, int]]:
    own = [(LABELS.get((name, label), label), total) for (kind, label), total in counters.items() if kind == name]
    order = list(LABELS.values())
    return sorted(own, key=lambda one: (order.index(one[0]) if one[0] in order else len(order), -one[1]))
