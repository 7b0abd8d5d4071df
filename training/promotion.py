"""The promotion gate: whether a model is good enough to go live, and no worse than the one that is.

Absolute floors, and a paired comparison with the champion on the same held-out examples. The comparison asks for
non-inferiority with a margin, as a candidate is hardly ever better: retrained on the same data it is as good but for
noise, and to refuse it for noise would keep models old. It is refused where
- it is shown to be worse: its ROC-AUC + 2.33 bootstrapped standard errors of the difference is below the champion's by
  more than `Floors.margin` (99 %, one-sided); or where
- it is shown to have lost some of the champion's skill (95 %, one-sided), and on these examples has lost more than
  `Floors.loss` of it. Skill is the share of the log loss that it spares who knows only how many are positive. On few
  examples a model can be two points of ROC-AUC worse without being shown to be worse by the margin; skill tells such a
  one from a refitted one better than ROC-AUC does.
What the two let pass and refuse is measured by `python -m benchmarks.gate` (docs/adr/0021).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.store.base import EventStore
from model import gate
from model.artefact import read_manifest
from model.gate import GateRefused
from model.registry import Check
from model.scorer import Scorer
from training import metrics
from training.comparison import ComparisonError, Contender, Examples, differences, examples
from training.dataset import Dataset
from training.skill import excess_ece, skill_lost
from usecases import Floors, UseCase

SHOWN, LIKELY = 2.33, 1.645
"""Standard errors: 99 and 95 % of a normal distribution lie below so many."""
ALONE, ROWS, ROUNDS = 64, 256, 9
"""What is scored to measure what scoring costs: so many requests of one row and a batch of so many, and how often."""


@dataclass(frozen=True)
class Judged:
    """What the gate says of a candidate beside a champion (None: there is none yet): every check, passed or not."""

    tag: str
    content: str
    champion: str | None
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check["passed"] for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why not, in words."""
        return [check["said"] for check in self.checks if not check["passed"]]

    @property
    def failed(self) -> str:
        """The names of the checks that did not pass."""
        return ", ".join(check["check"] for check in self.checks if not check["passed"])

    @property
    def loads(self) -> bool:
        """Whether something could serve it here."""
        return all(check["passed"] for check in self.checks if check["check"] == "loads")

    @property
    def proof(self) -> str:
        """All of it in one line."""
        return "; ".join(check["said"] for check in self.checks)


def judge(
    usecase: UseCase,
    events: EventStore,
    candidate: Path,
    champion: Path | None,
    *,
    as_of: int,
    cache: Path,
) -> Judged:
    """Ask everything of the artefact in `candidate`, beside the one in `champion`, on what is known at `as_of`.

    Raises:
        ArtefactError: if one of them cannot be read. StoreError, LeakageError: if there are no sound examples.
    """
    manifest = read_manifest(candidate)
    tag, content = manifest.tag, manifest.content_digest
    other = None if champion is None else Contender.of(champion, usecase)
    before = None if other is None else other.manifest.tag
    try:
        loaded = gate.load(candidate, usecase.features)
    except GateRefused as error:
        return Judged(tag, content, before, [_check("loads", "; ".join(error.reasons), passed=False)])
    checks = [_check("loads", loaded.proof)]
    one = Contender(manifest, loaded.scorer, None)
    beside = one if other is None else other
    try:
        common = examples(usecase, events, one, beside, as_of=as_of, cache=cache)
    except ComparisonError as error:
        return Judged(tag, content, before, [*checks, _check("champion", str(error), passed=False)])
    if common.label.all() or not common.label.any():
        said = f"the {common.source} have only one outcome: nothing can be measured on them"
        return Judged(tag, content, before, [*checks, _check("examples", said, passed=False)])
    checks += measured(usecase.floors, common, before)
    if other is not None and other.scorer is not None and common.dataset is not None:
        checks.append(_cost(usecase.floors, loaded.scorer, other.scorer, common.dataset))
    return Judged(tag, content, before, checks)


def measured(floors: Floors, common: Examples, champion: str | None) -> list[Check]:
    """What the answers of a candidate (the first) say of it, and beside those of the champion of that tag (the second).

    Raises:
        ValueError: if the examples have only one outcome.
    """
    return [*_floors(floors, common), *([] if champion is None else _beside(floors, common, champion))]


def _floors(floors: Floors, common: Examples) -> list[Check]:
    own = metrics.measure(common.label, common.first)
    auc, excess = own["roc_auc"], excess_ece(common.label, common.first)
    nothing = metrics.measure(common.label, np.full(len(common), common.label.mean()))["log_loss"]
    return [
        _check(
            "roc_auc",
            f"ROC-AUC {auc:.4f}, at least {floors.roc_auc:g} is asked for; on {common.source}",
            auc,
            floors.roc_auc,
            passed=auc >= floors.roc_auc,
        ),
        _check(
            "log_loss",
            f"log loss {own['log_loss']:.4f}, {nothing:.4f} for who knows the share of positives and no more",
            own["log_loss"],
            nothing,
            passed=own["log_loss"] < nothing,
        ),
        _check(
            "ece",
            f"calibration error {excess:.4f} beyond what chance gives, at most {floors.ece:g} is allowed",
            excess,
            floors.ece,
            passed=excess <= floors.ece,
        ),
    ]


def _beside(floors: Floors, common: Examples, champion: str) -> list[Check]:
    found = differences(common)["roc_auc"]
    low, high = found.interval
    shown = found.difference + SHOWN * found.error < -floors.margin
    lost, error = skill_lost(common)
    return [
        _check(
            "champion",
            f"ROC-AUC {found.difference:+.4f} ({low:+.4f} to {high:+.4f}) beside {champion}{common.beside}: "
            f"{'' if shown else 'not '}shown to be worse by more than {floors.margin:g}",
            found.difference,
            -floors.margin,
            passed=not shown,
        ),
        _check(
            "skill",
            f"{abs(lost):.1%} {'less' if lost > 0 else 'more'} skill than {champion}, at most {floors.loss:.1%} less "
            f"is allowed (standard error {error:.1%}; skill is the log loss spared, once calibrated to these examples)",
            round(-lost, 6),
            -floors.loss,
            passed=not lost > max(floors.loss, LIKELY * error),
        ),
    ]


def _cost(floors: Floors, candidate: Scorer, champion: Scorer, dataset: Dataset) -> Check:
    batch = dataset.take(np.arange(ROWS) % len(dataset)).inputs
    asked = [*(batch.take(np.array([row])) for row in range(ALONE)), batch]

    def work(scorer: Scorer) -> None:
        for inputs in asked:
            inputs.score(scorer)

    factor = slowdown(lambda: work(candidate), lambda: work(champion))
    return _check(
        "cost",
        f"{ALONE} requests of one row and a batch of {ROWS} take {factor:.2f} x the champion's CPU time, at most "
        f"{floors.slowdown:g} x is allowed",
        factor,
        floors.slowdown,
        passed=factor <= floors.slowdown,
    )


def slowdown(one: Callable[[], object], other: Callable[[], object]) -> float:
    """CPU time of a call over that of another: the least of each, taken in turns, as what disturbs only adds."""
    taken: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        marks = [time.thread_time_ns()]
        for call in (one, other):
            call()
            marks.append(time.thread_time_ns())
        taken.append((marks[1] - marks[0], marks[2] - marks[1]))
    return round(min(t for t, _ in taken) / max(min(t for _, t in taken), 1), 3)


def _check(
    name: str,
    said: str,
    value: float | str | None = None,
    limit: float | str | None = None,
    *,
    passed: bool = True,
) -> Check:
    return Check(check=name, value=value, limit=limit, passed=passed, said=said)
