"""`train`: from the event store to an artefact in the model store, with what was proved on the way."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.clock import rfc3339, wall
from features.store.base import EventStore
from model import artefact, gate, golden, numeric
from model import store as model_store
from model.artefact import Manifest
from model.estimators import Boosted, Linear
from model.profile import profile
from model.scorer import Scorer
from training import fit, metrics
from training.card import card
from training.dataset import Dataset, build, check_cut, label_times
from training.progress import Step
from training.split import Split, split
from usecases import Absence, UseCase


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
    progress: Step = lambda *_: None,
) -> Trained:
    """Train a use case on everything known at `as_of` (microseconds) and store the artefact; `trees` fits the trees.

    The same events, code and settings give the same `content_digest`; a model that is in the store is not stored again.

    Raises:
        LeakageError, LabelError, StoreError: if there is no sound training set.
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
    matrices = {name: (usecase.features.matrix(p.features), p.label) for name, p in parts.parts().items()}
    scorers: dict[str, Scorer] = {}
    for step, name in enumerate((Boosted.algorithm, Linear.algorithm), start=1):
        progress(f"fit {name}", step, 5)
        scorers[name] = fit.scorer(name, usecase, matrices["train"], matrices["valid"], trees)
    progress("measure", 3, 5)
    measured = _measure(scorers[algorithm], scorers[Linear.algorithm], parts.test)
    proof.append(f"test on {len(parts.test):,} examples: {_said(measured, 'model')}; {_said(measured, 'logistic')}")
    progress("store", 4, 5)
    manifest, stored = _store(usecase, scorers[algorithm], parts, dataset, measured, parent)
    loaded = gate.load(model_store.path(manifest.tag), usecase.features)
    proof.append(f"{'stored' if stored else 'already stored'}: {loaded.proof}")
    progress("store", 5, 5)
    return Trained(loaded.manifest, stored, proof)


def _measure(model: Scorer, logistic: Scorer, test: Dataset) -> dict[str, Any]:
    answers = {"model": model.score_features(test.features), "logistic": logistic.score_features(test.features)}
    measured: dict[str, Any] = {n: metrics.measure(test.label, a.probability) for n, a in answers.items()}
    return measured | {f"{n}_interval": metrics.intervals(test.label, a.probability) for n, a in answers.items()}


def _said(measured: dict[str, Any], name: str) -> str:
    low, high = measured[f"{name}_interval"]["roc_auc"]
    own = measured[name]
    return f"{name} ROC-AUC {own['roc_auc']:.4f} ({low:.4f} to {high:.4f}), log loss {own['log_loss']:.4f}"


def _store(
    usecase: UseCase, scorer: Scorer, parts: Split, dataset: Dataset, measured: dict[str, Any], parent: str | None
) -> tuple[Manifest, bool]:
    about = artefact.Dataset(
        id=f"{usecase.name}-{dataset.content[:16]}",
        content=dataset.content,
        rows={name: len(part) for name, part in parts.parts().items()},
        positives={name: int(part.label.sum()) for name, part in parts.parts().items()},
        label_times={name: _times(usecase, part) for name, part in parts.parts().items()},
    )
    scores = scorer.score_features(dataset.features)
    chosen = dataset.take(golden.choose(scores, dataset.inputs))
    kept = chosen.inputs
    if not usecase.features.timed:  # the hour of training is no input: equal models have equal golden rows
        kept = golden.Inputs(kept.aggregates, kept.attributes, np.zeros_like(kept.request_time))
    rows = golden.record(kept, kept.score(scorer))
    own = {name: dataset.features[name] for name in usecase.features.inputs}
    columns = own | {"score": scores.probability, "decision": scores.positive}
    reference = profile(columns, {n: c.levels for n, c in usecase.features.fields.items() if c.levels})
    fields: dict[str, Any] = {
        "format": artefact.FORMAT,
        "name": usecase.name,
        "algorithm": scorer.model.algorithm,
        "created_at": wall(),
        "git_commit": git_commit(),
        "parent": parent,
        "fingerprint": usecase.features.fingerprint,
        "inputs": list(usecase.features.inputs),
        "dataset": about.model_dump(),
        "libraries": {name: library.model_dump() for name, library in gate.installed().items()},
        "numeric": numeric.baseline(),
        "parameters": _parameters(scorer),
        "metrics": measured,
    }
    return _write(fields, usecase, scorer, rows, reference, about)


def _write(
    fields: dict[str, Any], usecase: UseCase, scorer: Scorer, rows: Any, reference: Any, about: artefact.Dataset
) -> tuple[Manifest, bool]:
    """Write the artefact once to learn its digest, hence its tag, and to ask the gate; then move it into the store."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as temporary:
        draft = Path(temporary)
        artefact.write_parts(draft, scorer, rows, reference)
        (draft / "card.md").write_text(card(usecase, scorer, about, fields["metrics"]))
        files = {path.name: artefact.digest(path) for path in sorted(draft.iterdir())}
        content = artefact.content_digest(fields, files)
        there = _same(usecase.name, content)
        if there is not None:
            return there, False
        version = f"{fields['created_at'][:10].replace('-', '')}-{content[:8]}"
        manifest = Manifest(**fields, version=version, files=files, content_digest=content)
        artefact.seal(draft, manifest)
        gate.load(draft, usecase.features)

        def write(directory: Path) -> None:
            for path in draft.iterdir():
                (directory / path.name).write_bytes(path.read_bytes())
            artefact.seal(directory, manifest)

        return manifest, model_store.save(manifest, write)


def _same(name: str, content: str) -> Manifest | None:
    """The stored model of that content; one that cannot be read is not it."""
    there, _ = model_store.manifests(name)
    return next((manifest for manifest in there if manifest.content_digest == content), None)


def _parameters(scorer: Scorer) -> dict[str, Any]:
    if isinstance(scorer.model, Boosted):
        booster, workers = scorer.model.booster, scorer.model.booster.attr("workers")
        together = {"workers": int(workers)} if workers else {}
        return {**fit.PARAMETERS, "trees": booster.num_boosted_rounds(), "patience": fit.PATIENCE, **together}
    return {"C": fit.PENALTY, "penalty": "l2"}


def _times(usecase: UseCase, part: Dataset) -> list[str]:
    """Label times of a part; none where the label has no time of its own, as then t is only the hour of training."""
    return [rfc3339(int(t)) for t in np.unique(part.t)] if isinstance(usecase.label, Absence) else []


def git_commit() -> str | None:
    """The commit of the working directory, with `-dirty` where it has changes; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # fixed words
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
