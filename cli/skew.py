"""`holdfast demo-skew`: what a second definition of one feature does to the same customers' decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cli.parity import parity
from cli.workspace import Workspace
from features.store.base import Spine
from model import gate
from settings import HoldfastError
from training.dataset import frame
from training.progress import Step


@dataclass(frozen=True)
class Variant:
    """One way the backend might write the feature: for how many customers feature, score and decision then differ."""

    definition: str
    feature: int
    score: int
    decision: int


@dataclass(frozen=True)
class Skew:
    """All variants, over the same customers; and the proof that Holdfast's own paths agree."""

    model: str
    customers: int
    variants: list[Variant]
    proof: str


def skew(workspace: Workspace, tag: str, progress: Step) -> Skew:
    """Score everyone through the shared `avg_spend`, and through the backend's own `totalSpend / completedOrders`.

    The backend of the story counts orders that were paid, divides as JavaScript does (0 / 0 is NaN), and holds dollars.

    Raises:
        HoldfastError: for a use case without orders and spend. ParityError: if Holdfast's paths differ.
    """
    usecase, t = workspace.usecase, workspace.as_of
    if "avg_spend" not in usecase.features.inputs or "orders" not in usecase.features.inputs:
        raise HoldfastError(f"{usecase.name} has no avg_spend of orders; the story is told with cdnow")
    keys = workspace.events.keys(t)
    scorer = gate.load(workspace.models.path(tag), usecase.features).scorer
    shared = frame(usecase, workspace.events, Spine.at(keys, t)).score(scorer)
    spend, completed, orders = _backend(workspace, keys, t)
    with np.errstate(all="ignore"):
        written = {
            "totalSpend / completedOrders, only paid orders, 0 / 0 = NaN": spend / completed,
            "the same in dollars, as the backend's table holds them": spend / 100 / orders,
            "both": spend / 100 / completed,
        }
    variants = []
    for definition, values in written.items():
        theirs = scorer.score_features({**shared.features, "avg_spend": values})
        same = np.isclose(shared.features["avg_spend"], values, rtol=0, atol=1e-9)
        variants.append(
            Variant(
                definition,
                int((~same).sum()),
                int((shared.probability != theirs.probability).sum()),
                int((shared.positive != theirs.positive).sum()),
            )
        )
    return Skew(tag, len(keys), variants, parity(workspace, tag, progress, http=False).line)


Floats = np.ndarray[Any, Any]


def _backend(workspace: Workspace, keys: Floats, t: int) -> tuple[Floats, Floats, Floats]:
    """Cents spent, paid orders and all orders of each key, looped over the raw orders as a backend would."""
    place = {key: number for number, key in enumerate(keys.tolist())}
    spent, completed, orders = np.zeros((3, len(keys)))
    for batch in workspace.events.batches():
        rows = workspace.events.events(batch.number)
        for key, ts, spend in zip(rows["key"], rows["ts"], rows["spend"], strict=True):
            if ts < t:
                spent[place[key]] += spend
                completed[place[key]] += spend > 0
                orders[place[key]] += 1
    return spent, completed, orders
