"""From a fitted scorer to an artefact in the model store: what training hands over, written once and sealed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from features.clock import rfc3339, wall
from model import artefact, gate, golden, heldout, numeric
from model import store as model_store
from model.artefact import Manifest
from model.estimators import Boosted
from model.profile import Kind, Profile
from model.scorer import Scorer, Scores
from training import fit
from training.card import page
from training.dataset import Dataset
from training.split import Split
from usecases import Absence, UseCase

EXPLAINED = 1_000
"""Examples whose explanations tell what the model makes of each input."""


@dataclass(frozen=True)
class Draft:
    """What an artefact is made of.

    Attributes:
        dataset: all examples; parts: those that were fitted, chosen and measured on.
        metrics: what was measured on the test part. parameters: what the model was fitted with.
        search: the summary of the search for parameters, None without one.
    """

    usecase: UseCase
    scorer: Scorer
    dataset: Dataset
    parts: Split
    metrics: dict[str, Any]
    parent: str | None
    parameters: fit.Parameters
    search: dict[str, Any] | None = None

    @property
    def about(self) -> artefact.Dataset:
        """The training set, as the manifest tells it."""
        parts = self.parts.parts()
        return artefact.Dataset(
            id=f"{self.usecase.name}-{self.dataset.content[:16]}",
            content=self.dataset.content,
            rows={name: len(part) for name, part in parts.items()},
            positives={name: int(part.label.sum()) for name, part in parts.items()},
            label_times={name: _times(self.usecase, part) for name, part in parts.items()},
        )

    def fields(self) -> dict[str, Any]:
        """The manifest, less what the files decide."""
        features = self.usecase.features
        return {
            "format": artefact.FORMAT,
            "name": self.usecase.name,
            "algorithm": self.scorer.model.algorithm,
            "created_at": wall(),
            "git_commit": git_commit(),
            "parent": self.parent,
            "fingerprint": features.fingerprint,
            "inputs": list(features.inputs),
            "dataset": self.about.model_dump(),
            "libraries": {name: library.model_dump() for name, library in gate.installed().items()},
            "numeric": numeric.baseline(),
            "parameters": _parameters(self.scorer, self.parameters),
            "search": self.search,
            "metrics": self.metrics,
        }

    def write(self, directory: Path) -> None:
        """Every file of the content: not the manifest, its seal and the cards."""
        scores = self.scorer.score_features(self.dataset.features)
        reference = self.reference(scores).to_json()
        kept = self.dataset.take(golden.choose(scores, self.dataset.inputs)).inputs
        if not self.usecase.features.timed:  # the hour of training is no input: equal models have equal golden rows
            kept = golden.Inputs(kept.aggregates, kept.attributes, np.zeros_like(kept.request_time))
        rows = golden.record(kept, kept.score(self.scorer))
        artefact.write_parts(directory, self.scorer, rows, reference)
        test = self.parts.test
        probability = self.scorer.score_features(test.features).probability
        t = test.t if isinstance(self.usecase.label, Absence) else np.zeros_like(test.t)
        heldout.write(directory, heldout.record(test.key, t, test.label, probability))

    def reference(self, scores: Scores) -> Profile:
        """What monitoring holds windows against: all examples, in blocks by label time; outcomes of the test part only,
        for the model fits those it was trained on better than it will fit anybody else.
        """
        features, rule = self.usecase.features, self.scorer.decision
        frame: dict[str, np.ndarray[Any, Any]] = {}
        schema: dict[str, Kind | tuple[str, ...]] = {"score": "score", "decision": "decision", "outcome": "outcome"}
        for name in features.inputs:
            field = features.fields.get(name)
            frame[name] = self.dataset.features[name]
            schema[name] = "number"
            if field is not None and field.levels:
                schema[name] = field.levels
            elif field is not None and field.kind == "flag":  # an optional one is stored as a number
                frame[name], schema[name] = _flags(frame[name]), ("false", "true")
        outcome = np.full(len(self.dataset), np.nan)
        at = {(key, t): place for place, (key, t) in enumerate(zip(self.dataset.key, self.dataset.t, strict=True))}
        test = self.parts.test
        places = [at[both] for both in zip(test.key, test.t, strict=True)]
        outcome[places] = test.label
        frame |= {
            "score": scores.probability,
            "decision": np.where(scores.positive, rule.positive, rule.negative),
            "outcome": outcome,
        }
        if isinstance(self.usecase.label, Absence):
            frame["label time"], schema["label time"] = self.dataset.t, "time"
        return Profile.from_frame(frame, schema, self._use(scores))

    def _use(self, scores: Scores) -> dict[str, float]:
        """The share of each input in the mean absolute contribution, of rows spread over the examples."""
        some = scores if len(scores) <= EXPLAINED else _spread(scores, EXPLAINED)
        told = self.scorer.explain(some)
        mean = np.abs(told.contributions).mean(axis=0)
        total = mean.sum() or 1.0
        return {name: float(f"{value / total:.6g}") for name, value in zip(told.inputs, mean, strict=True)}


def _flags(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Flags as true, false and missing, whether they are stored as such or as numbers."""
    return np.array([None if value != value else bool(value) for value in values.tolist()], object)


def _spread(scores: Scores, most: int) -> Scores:
    """So many rows, evenly spread."""
    step = len(scores) // most
    return Scores.joined([scores.cut(row, row + 1) for row in range(0, step * most, step)])


def publish(draft: Draft) -> tuple[Manifest, bool]:
    """Store the artefact; its manifest, and whether it is new. Of equal models the first one stays.

    It is written once to learn its digest, hence its tag, and to ask the gate; then moved into the store.

    Raises:
        GateRefused: if the model fails its own gate.
    """
    with TemporaryDirectory() as temporary:
        directory, fields = Path(temporary), draft.fields()
        draft.write(directory)
        content = artefact.content_digest(fields, _digests(directory))
        there = _same(draft.usecase.name, content)
        if there is not None:
            return there, False
        page.write(directory, draft.usecase, draft.scorer.decision, fields)
        files = _digests(directory)
        version = f"{fields['created_at'][:10].replace('-', '')}-{content[:8]}"
        manifest = Manifest(**fields, version=version, files=files, content_digest=content)
        artefact.seal(directory, manifest)
        gate.load(directory, draft.usecase.features)

        def write(stored: Path) -> None:
            for path in directory.iterdir():
                (stored / path.name).write_bytes(path.read_bytes())
            artefact.seal(stored, manifest)

        return manifest, model_store.save(manifest, write)


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: artefact.digest(path) for path in sorted(directory.iterdir())}


def _same(name: str, content: str) -> Manifest | None:
    """The stored model of that content; one that cannot be read is not it."""
    there, _ = model_store.manifests(name)
    return next((manifest for manifest in there if manifest.content_digest == content), None)


def _parameters(scorer: Scorer, given: fit.Parameters) -> fit.Parameters:
    """What was given, and what fitting made of it."""
    if isinstance(scorer.model, Boosted):
        booster, workers = scorer.model.booster, scorer.model.booster.attr("workers")
        together = {"workers": int(workers)} if workers else {}
        return {**given, "trees": booster.num_boosted_rounds(), "patience": fit.PATIENCE, **together}
    return dict(given)


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
