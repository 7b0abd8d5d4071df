"""`train`: from the event store to an artefact in the model store, with what was proved on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.store.base import EventStore
from model import gate
from model import store as model_store
from model.artefact import Manifest
from model.estimators import Boosted, Linear
from model.scorer import Scorer
from training import fit, leakage
from training.dataset import build, check_cut, label_times
from training.evaluation import evaluation, said
from training.progress import Step
from training.publish import Draft, publish
from training.split import split
from usecases import UseCase


@dataclass(frozen=True)
class Trained:
    """A trained model: its manifest, whether it is new to the store, and what was proved, line by line."""

    manifest: Manifest
    stored: bool
    proof: list[str]


def train(
    usecase: UseCase,
    events: EventStore,
    *,
    as_of: int,
    cache: Path,
    algorithm: str = Boosted.algorithm,
    parent: str | None = None,
    trees: fit.Boosting = fit.boosted,
    trials: int = 0,
    progress: Step = lambda *_: None,
) -> Trained:
    """Train a use case on everything known at `as_of` (microseconds) and store the artefact; `trees` fits the trees.

    The same events, code and settings give the same `content_digest`; a model that is in the store is not stored again.

    Args:
        trials: how many to search the algorithm's parameters with, on train and valid and in this process; 0 takes the
            defaults. What was tried is kept in `search`, beside `cache`, and need not be tried again.

    Raises:
        LeakageError, LabelError, StoreError: if there is no sound training set.
        SearchError: if `trials` is negative. StoreError: if another process is at the same search.
        GateRefused: if the model fails its own gate.
    """
    progress("training set", 0, 5)
    times = label_times(usecase, events, as_of)
    dataset, cached = build(usecase, events, times, as_of, cache)
    compared = check_cut(events, dataset, times[-1])
    parts = split(usecase, dataset)
    proof = [
        f"training set {dataset.content[:16]}: {len(dataset):,} examples at {len(times)} label time(s)"
        f"{f', {cached} of them from the cache' if cached else ''}"
        f"{f'; {compared:,} rows unchanged with the future hidden' if compared else ''}"
    ]
    proof += leakage.check(usecase, events, parts)
    matrices = {name: (usecase.features.matrix(p.features), p.label) for name, p in parts.parts().items()}
    parameters, summary = dict(fit.DEFAULTS), None
    if trials:
        from training.search import search  # late: Optuna takes long to import

        found = search(usecase, parts, trials, cache.with_name("search"), progress, algorithm=algorithm)
        parameters[algorithm], summary = found.parameters, found.summary
        proof.append(found.line)
    scorers: dict[str, Scorer] = {}
    for step, name in enumerate((Boosted.algorithm, Linear.algorithm), start=1):
        progress(f"fit {name}", step, 5)
        scorers[name] = fit.scorer(name, usecase, matrices["train"], matrices["valid"], trees, parameters[name])
    progress("measure", 3, 5)
    measured = evaluation(usecase, scorers[algorithm], scorers[Linear.algorithm], parts.test)
    proof += said(measured, len(parts.test))
    progress("store", 4, 5)
    draft = Draft(usecase, scorers[algorithm], dataset, parts, measured, parent, parameters[algorithm], summary)
    manifest, stored = publish(draft)
    loaded = gate.load(model_store.path(manifest.tag), usecase.features)
    proof.append(f"{'stored' if stored else 'already stored'}: {loaded.proof}")
    progress("store", 5, 5)
    return Trained(loaded.manifest, stored, proof)
