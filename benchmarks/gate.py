"""`python -m benchmarks.gate`: whom the promotion gate refuses, of candidates that are as good and of damaged ones.

The champion is the model that `holdfast train` makes. Candidates are judged beside it on the held-out examples:
- refitted: on a bootstrap sample of the keys that the champion was fitted and chosen on, so as good but for noise;
- noisy: the champion, whose log-odds get as much noise as costs 2 points of ROC-AUC;
- shuffled: the champion, with the scores of as many customers exchanged as costs 2 points.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from sklearn.metrics import roc_auc_score

from cli.console import Json, Out, table
from cli.workspace import Workspace
from model.estimators import Boosted
from model.numeric import Floats
from model.scorer import Scorer, answers
from training import fit
from training.comparison import Examples
from training.dataset import Dataset, build, label_times
from training.progress import Step
from training.promotion import measured
from training.split import Split, split

POINTS = 0.02
Damage = Callable[[Floats, float, np.random.Generator], Floats]
"""Log-odds, damaged by so much."""


@dataclass(frozen=True)
class Ground:
    """A use case, what its champion was made of, and the champion."""

    workspace: Workspace
    parts: Split
    champion: Scorer

    @staticmethod
    def of(name: str) -> Ground:
        """Of one of the built-in use cases."""
        workspace = Workspace.open(name)
        workspace.prepare()
        usecase, events = workspace.usecase, workspace.events
        times = label_times(usecase, events, workspace.now)
        parts = split(usecase, build(usecase, events, times, workspace.now, workspace.cache)[0])
        return Ground(workspace, parts, _fitted(workspace, parts.train, parts.valid))

    def refused(self, probability: Floats) -> tuple[bool, float]:
        """Whether a candidate of these answers is refused, and how far its ROC-AUC is above the champion's."""
        test = self.parts.test
        common = Examples(test.label, probability, self.champion.score_features(test.features).probability, None, "")
        checks = measured(self.workspace.usecase.floors, common, "the champion")
        return not all(check["passed"] for check in checks), float(checks[-2]["value"] or 0)

    def refitted(self, random: np.random.Generator) -> Floats:
        """The answers of a model fitted on a sample of the keys."""
        own = _fitted(self.workspace, _sample(self.parts.train, random), _sample(self.parts.valid, random))
        return own.score_features(self.parts.test.features).probability

    def damaged(self, damage: Damage, size: float, random: np.random.Generator) -> Floats:
        """The champion's answers from damaged log-odds."""
        margin = self.champion.score_features(self.parts.test.features).margin
        return answers(damage(margin, size, random), self.champion.calibration, self.champion.decision)[0]

    def size(self, damage: Damage, most: float) -> float:
        """How much of it costs `POINTS` of ROC-AUC on average."""
        test, low, high = self.parts.test, 0.0, most
        margin = self.champion.score_features(test.features).margin
        whole = roc_auc_score(test.label, margin)
        for _ in range(12):
            middle, random = (low + high) / 2, np.random.default_rng(1)
            cost = [whole - roc_auc_score(test.label, damage(margin, middle, random)) for _ in range(200)]
            low, high = (low, middle) if np.mean(cost) > POINTS else (middle, high)
        return high


def noisy(margin: Floats, size: float, random: np.random.Generator) -> Floats:
    """With normal noise of that deviation."""
    return margin + random.normal(0, size, len(margin))


def shuffled(margin: Floats, size: float, random: np.random.Generator) -> Floats:
    """With that share of them exchanged for one another."""
    chosen, found = random.random(len(margin)) < size, margin.copy()
    found[chosen] = random.permutation(found[chosen])
    return found


def rates(name: str, count: int, progress: Step = lambda *_: None) -> dict[str, dict[str, float]]:
    """Kind of candidate -> the share refused, and the mean difference of ROC-AUC, of `count` each."""
    ground, found = Ground.of(name), {}
    sizes = {"noisy": (noisy, ground.size(noisy, 3.0)), "shuffled": (shuffled, ground.size(shuffled, 1.0))}
    for kind in ("refitted", *sizes):
        random, judged = np.random.default_rng(7), []
        for number in range(count):
            progress(f"{name}, {kind}", number, count)
            candidate = ground.refitted(random) if kind == "refitted" else ground.damaged(*sizes[kind], random)
            judged.append(ground.refused(candidate))
        found[kind] = {
            "refused": float(np.mean([refused for refused, _ in judged])),
            "difference": float(np.mean([difference for _, difference in judged])),
        }
    return found


def _fitted(workspace: Workspace, train: Dataset, valid: Dataset) -> Scorer:
    fitted, chosen = ((workspace.usecase.features.matrix(part.features), part.label) for part in (train, valid))
    return fit.scorer(Boosted.algorithm, workspace.usecase, fitted, chosen)


def _sample(part: Dataset, random: np.random.Generator) -> Dataset:
    """Its keys drawn with replacement, each with all of its examples."""
    keys, place = np.unique(part.key, return_inverse=True)
    times = np.bincount(random.integers(0, len(keys), len(keys)), minlength=len(keys))[place]
    return part.take(np.repeat(np.arange(len(part)), times))


def main(
    count: Annotated[int, typer.Option(help="Candidates of each kind.")] = 200,
    usecases: Annotated[list[str] | None, typer.Option("--usecase", help="Repeatable; default: telco, cdnow.")] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Whom the gate refuses."""
    out = Out(as_json)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-gate-") as home, out.progress() as progress:
        os.environ["HOLDFAST_HOME"] = home
        for name in usecases or ["telco", "cdnow"]:
            found[name] = rates(name, count, progress)
    rows = [
        [name, kind, f"{told['difference']:+.4f}", f"{told['refused']:.1%}"]
        for name, kinds in found.items()
        for kind, told in kinds.items()
    ]
    out.say(table(rows, ["use case", f"{count} candidates", "ROC-AUC", "refused"]))
    out.result(found)


if __name__ == "__main__":
    typer.run(main)
