"""What decisions cost: of the rule, of the best rule in hindsight, of doing nothing and of contacting everybody."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.numeric import Floats
from training.fit import Labels
from training.metrics import DRAWS, interval, redrawn
from usecases import Costs

PER = 1_000


def cost(costs: Costs, threshold: float, label: Labels, probability: Floats) -> dict[str, Any]:
    """Expected cost per 1,000 customers, in the currency of the use case's costs, rounded to 6 digits.

    A churner left alone costs `loss`. Who is contacted costs `contact`, and of the churners among them `rescued` stay:

        cost = 1000 / n * sum over n of (contact + (1 - rescued) * loss * y  where p >= threshold,  else  loss * y)

    - threshold: of the rule, and `at_threshold` its cost; share: of those whom it contacts;
    - best_threshold, at_best: of the rule that is the cheapest on these very examples, hence better than it will be
      again; a best_threshold of None contacts nobody;
    - nothing, everybody: of the rules that ask no model;
    - saving: of the rule against doing nothing, with a 95 % bootstrap interval; saving_against_everybody likewise.
    """
    n, lost, contacted = len(label), label * costs.loss, probability >= threshold
    kept = costs.contact - costs.rescued * lost  # what a contact adds to the cost of doing nothing
    nothing, everybody = lost.sum(), lost.sum() + kept.sum()
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    last = np.append(ranked[1:] != ranked[:-1], True)
    by_rank = np.append(0.0, np.cumsum(kept[order])[last])
    best = int(by_rank.argmin())
    drawn = [(-kept[rows][contacted[rows]].sum(), kept[rows].sum()) for rows in redrawn(label, DRAWS)]
    saved, more = (np.array(values) * PER / n for values in zip(*drawn, strict=True))
    rule = kept[contacted].sum()

    def told(value: float) -> float:
        return round(float(value) * PER / n, 6)

    return {
        "threshold": threshold,
        "at_threshold": told(nothing + rule),
        "share": round(float(contacted.mean()), 6),
        "best_threshold": None if best == 0 else round(float(ranked[last][best - 1]), 6),
        "at_best": told(nothing + by_rank[best]),
        "nothing": told(nothing),
        "everybody": told(everybody),
        "saving": told(-rule),
        "saving_interval": interval(saved),
        "saving_against_everybody": told(kept.sum() - rule),
        "saving_against_everybody_interval": interval(more + saved),
    }
