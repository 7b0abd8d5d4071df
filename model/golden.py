"""Golden rows: raw inputs with the exact answers that training gave, kept in the artefact and asked again at load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import aggregates as agg
from features.contract import array
from features.featureset import FeatureSet
from model.numeric import ulps
from model.scorer import Calibration, Decision, Scorer, Scores, answers

ULPS = 4
"""How far a margin may be off on a machine with another numeric baseline."""


@dataclass(frozen=True)
class Inputs:
    """Raw inputs of n rows, as `Scorer.score` takes them."""

    aggregates: dict[str, np.ndarray[Any, Any]]
    attributes: dict[str, np.ndarray[Any, Any]]
    request_time: np.ndarray[Any, Any]

    def take(self, rows: np.ndarray[Any, Any]) -> Inputs:
        """Some of the rows, by position."""
        return Inputs(
            {name: values[rows] for name, values in self.aggregates.items()},
            {name: values[rows] for name, values in self.attributes.items()},
            self.request_time[rows],
        )

    def score(self, scorer: Scorer) -> Scores:
        """The scorer's answers."""
        return scorer.score(self.aggregates, self.attributes, self.request_time)

    def __len__(self) -> int:
        return len(self.request_time)


def choose(scores: Scores, inputs: Inputs, most: int = 64) -> np.ndarray[Any, Any]:
    """Rows worth keeping: spread over the scores, the ends of each input, and every level of every category."""
    order = np.argsort(scores.margin, kind="stable")
    chosen = set(order[np.linspace(0, len(order) - 1, most // 2).astype(int)].tolist())
    for values in [*inputs.aggregates.values(), *inputs.attributes.values()]:
        chosen |= {int(np.flatnonzero(values == level)[0]) for level in _ends(values)}
        if values.dtype.kind == "f" and np.isnan(values).any():
            chosen.add(int(np.flatnonzero(np.isnan(values))[0]))
    return np.array(sorted(chosen))


def record(inputs: Inputs, scores: Scores) -> list[dict[str, Any]]:
    """Rows as plain JSON values; scores as hexadecimal floats, which are exact."""
    columns = {**inputs.aggregates, **inputs.attributes}
    return [
        {
            "aggregates": {name: _plain(columns[name][row]) for name in inputs.aggregates},
            "attributes": {name: _plain(columns[name][row]) for name in inputs.attributes},
            "request_time": int(inputs.request_time[row]),
            "margin": float(scores.margin[row]).hex(),
            "probability": float(scores.probability[row]).hex(),
            "positive": bool(scores.positive[row]),
        }
        for row in range(len(inputs))
    ]


def restore(rows: Sequence[Mapping[str, Any]], features: FeatureSet) -> Inputs:
    """The raw inputs of recorded rows, with the types the feature set takes."""
    raw = {a.name: [row["aggregates"][a.name] for row in rows] for a in features.aggregates}
    attributes = {
        name: array(column, [row["attributes"][name] for row in rows]) for name, column in features.fields.items()
    }
    times = np.array([row["request_time"] for row in rows], dtype=np.int64)
    return Inputs(agg.convert(features.aggregates, raw), attributes, times)


def compare(rows: Sequence[Mapping[str, Any]], scorer: Scorer, *, exact: bool) -> list[str]:
    """Asks the scorer again, all rows at once and each alone; what differs, in words.

    Args:
        exact: demand every bit; else equal decisions and margins within `ULPS`.
    """
    inputs = restore(rows, scorer.features)
    together = inputs.score(scorer)
    problems = []
    for number, row in enumerate(rows):
        beside = _depends(inputs.take(np.array([number])), scorer, together, number)
        if beside:
            problems.append(f"golden row {number}: {beside} depends on the rows beside it")
        expected, got = float.fromhex(row["margin"]), together.margin[number : number + 1]
        far = int(ulps(np.array([expected]), got)[0])
        same = together.positive[number] == row["positive"]
        wrong = far > ULPS or (exact and (far or together.probability[number].hex() != row["probability"]))
        if wrong or not same:
            problems.append(
                f"golden row {number}: recorded probability {float.fromhex(row['probability'])!r}, here "
                f"{float(together.probability[number])!r} (margins {far} ulp apart)"
            )
    return problems


def compare_answers(
    rows: Sequence[Mapping[str, Any]], calibration: Calibration, decision: Decision, *, exact: bool
) -> list[str]:
    """Asks again for the probabilities and decisions of the recorded margins, which takes no features; what differs.

    Args:
        exact: demand every bit; else equal decisions and probabilities within `ULPS`.
    """
    given = {name: np.array([float.fromhex(row[name]) for row in rows]) for name in ("margin", "probability")}
    probability, positive = answers(given["margin"], calibration, decision)
    wrong = ulps(given["probability"], probability) > (0 if exact else ULPS)
    wrong |= positive != np.array([row["positive"] for row in rows])
    return [
        f"golden row {number}: recorded probability {given['probability'][number].item()!r}, here "
        f"{probability[number].item()!r}"
        for number in np.flatnonzero(wrong)
    ]


def _depends(alone: Inputs, scorer: Scorer, together: Scores, row: int) -> str | None:
    """The first feature, or else the score, that is another one when its row is alone; every feature is compared, as
    one that happens to change no golden score may change others."""
    features = scorer.features.evaluate(alone.aggregates, alone.attributes, alone.request_time)
    for name, values in together.features.items():
        one, same = features[name][0], values[row]
        if one != same and (one == one or same == same):
            return f"feature {name!r}"
    return "the score" if scorer.score_features(features).margin[0] != together.margin[row] else None


def _ends(values: np.ndarray[Any, Any]) -> list[Any]:
    if values.dtype.kind == "U":
        return sorted(set(values.tolist()))
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return [finite.min(), finite.max()] if len(finite) else []


def _plain(value: Any) -> Any:
    plain = value.item()
    return None if isinstance(plain, float) and plain != plain else plain
