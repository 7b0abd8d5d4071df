"""Two models on the same held-out examples: neither has seen one of them, and both have answered each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features import clock
from features.store.base import EventStore
from model import gate, heldout
from model.artefact import RESTORE, ArtefactError, Manifest, check_files, read_manifest
from model.gate import GateRefused
from model.heldout import Rows
from model.numeric import Floats
from model.scorer import Scorer
from settings import HoldfastError
from training import metrics
from training.dataset import Dataset, build, label_times
from training.fit import Labels
from training.split import held_out
from usecases import Absence, UseCase

DRAWS = 400


class ComparisonError(HoldfastError, LookupError):
    """Two models have no held-out examples in common; the message says why, and what to do."""


@dataclass(frozen=True)
class Contender:
    """A model to compare: `scorer` is None where the code here computes other features, `refused` says why, and then
    there are only the answers that it has stored; None for those of an older format."""

    manifest: Manifest
    scorer: Scorer | None
    stored: Rows | None
    refused: str = ""

    @staticmethod
    def of(directory: Path, usecase: UseCase) -> Contender:
        """The model in `directory`.

        Raises:
            ArtefactError: if it cannot be read, or its files are not what its manifest says.
        """
        manifest = read_manifest(directory)
        try:
            return Contender(manifest, gate.load(directory, usecase.features).scorer, heldout.read(directory))
        except GateRefused as error:
            broken = check_files(directory, manifest)
            if broken:
                raise ArtefactError(f"{manifest.tag}: {'; '.join(broken)}: {RESTORE}") from None
            return Contender(manifest, None, heldout.read(directory), str(error))

    def seen_until(self, usecase: UseCase) -> int:
        """Up to when it has seen what happened: the end of the last label window it was fitted or chosen on."""
        if not isinstance(usecase.label, Absence):
            return 0
        times = self.manifest.dataset.label_times
        return max(clock.parse(t) for t in (*times["train"], *times["valid"])) + usecase.label.horizon


@dataclass(frozen=True)
class Examples:
    """n held-out examples: labels (bool), the probabilities of two models, and the rows' features where they were
    computed here. `source` says in words which examples they are, `beside` how a model answered them if not here."""

    label: Labels
    first: Floats
    second: Floats
    dataset: Dataset | None
    source: str
    beside: str = ""

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Difference:
    """How far a metric of the first model lies above that of the second on the same examples: the difference, its 95 %
    percentile interval and its standard error, both bootstrapped over examples."""

    difference: float
    interval: list[float]
    error: float


def differences(common: Examples, draws: int = DRAWS) -> dict[str, Difference]:
    """Of every metric.

    Raises:
        ValueError: if the examples have only one outcome.
    """
    answers = {"first": common.first, "second": common.second}
    exact = {name: metrics.measure(common.label, probability) for name, probability in answers.items()}
    drawn = metrics.resampled(common.label, answers, draws)
    return {
        name: Difference(
            round(exact["first"][name] - exact["second"][name], 6),
            metrics.interval(drawn["first"][name] - drawn["second"][name]),
            round(float(np.std(drawn["first"][name] - drawn["second"][name])), 6),
        )
        for name in metrics.METRICS
    }


def examples(
    usecase: UseCase, events: EventStore, first: Contender, second: Contender, *, as_of: int, cache: Path
) -> Examples:
    """The held-out examples that both answer: those known at `as_of` where the code here computes the features of
    either, else those that they have stored.

    Raises:
        ComparisonError: if there are none.
        StoreError, LeakageError: if there is no sound set of examples.
    """
    if first.scorer is None and second.scorer is None:
        return _both_stored(first, second)
    stored = next((one for one in (first, second) if one.scorer is None), None)
    if stored is not None and stored.stored is None:
        raise ComparisonError(
            f"{stored.manifest.tag} cannot answer here ({stored.refused}), and it is of an older format, which kept no "
            "answers on held-out examples: it cannot be compared"
        )
    t = _time(usecase, events, as_of, None if stored is None else stored.stored)
    for side in (first, second):
        if side.seen_until(usecase) > t:
            raise ComparisonError(
                f"{side.manifest.tag} has seen what happened until {clock.rfc3339(side.seen_until(usecase))}, so the "
                f"examples of {clock.rfc3339(t)} are not held out from it: train it on data that end earlier "
                "(HOLDFAST_NOW), or compare on later data"
            )
    fresh, hashed = _fresh(usecase, events, t, as_of, cache)
    at = f"label time {clock.rfc3339(t)}" if isinstance(usecase.label, Absence) else "keys that training never takes"
    if stored is None or stored.stored is None:
        said = f"{len(fresh):,} held-out examples ({at})"
        return Examples(fresh.label, _probability(first, fresh), _probability(second, fresh), fresh, said)
    _, mine, theirs = np.intersect1d(hashed, stored.stored["key"], assume_unique=True, return_indices=True)
    if not len(mine):
        raise ComparisonError(
            f"none of the {len(stored.stored):,} examples that {stored.manifest.tag} has stored is here"
        )
    common = fresh.take(mine)
    kept = stored.stored["probability"][theirs]
    one, other = (kept if side is stored else _probability(side, common) for side in (first, second))
    beside = f" (as {stored.manifest.tag} answered when it was trained)"
    return Examples(common.label, one, other, common, f"{len(common):,} held-out examples ({at})", beside)


def _probability(one: Contender, dataset: Dataset) -> Floats:
    assert one.scorer is not None  # noqa: S101  # the other one is the stored one
    return one.scorer.score_features(dataset.features).probability


def _time(usecase: UseCase, events: EventStore, as_of: int, stored: Rows | None) -> int:
    """The label time of the examples: the newest one that is decided, or that of the stored answers."""
    if stored is not None and isinstance(usecase.label, Absence):
        return int(stored["t"].max())
    return label_times(usecase, events, as_of)[-1]


def _fresh(usecase: UseCase, events: EventStore, t: int, as_of: int, cache: Path) -> tuple[Dataset, NDArray[np.uint64]]:
    """The held-out examples at t and their hashed keys: at most `heldout.MOST`, those of the smallest hashes."""
    dataset, _ = build(usecase, events, [t], as_of, cache)
    dataset = held_out(usecase, dataset)
    hashed = heldout.hashed(dataset.key)
    kept = np.argsort(hashed, kind="stable")[: heldout.MOST]
    return dataset.take(kept), hashed[kept]


def _both_stored(first: Contender, second: Contender) -> Examples:
    if first.stored is None or second.stored is None:
        raise ComparisonError(
            f"the code here computes the features of neither {first.manifest.tag} nor {second.manifest.tag}, and not "
            "both have stored what they answered on held-out examples: check out the code of one of them"
        )
    _, mine, theirs = np.intersect1d(first.stored["key"], second.stored["key"], assume_unique=True, return_indices=True)
    same = first.stored["t"][mine] == second.stored["t"][theirs]
    one, other = first.stored[mine[same]], second.stored[theirs[same]]
    if not len(one):
        raise ComparisonError(
            f"{first.manifest.tag} and {second.manifest.tag} have no held-out example in common, and the code here "
            "computes the features of neither: check out the code of one of them"
        )
    said = f"{len(one):,} held-out examples, as both answered them when they were trained"
    return Examples(one["label"], one["probability"], other["probability"], None, said)
