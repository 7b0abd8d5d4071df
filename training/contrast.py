"""Two models side by side: what they were made of, how good they are on the same examples, and whom they treat
differently."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.store.base import EventStore
from model.artefact import Manifest, read_parts
from model.numeric import Floats
from model.scorer import Decision
from training import metrics
from training.card import TITLES
from training.card.blocks import Block, Figures, Section, Table
from training.card.page import rendered
from training.card.plots import Line, histogram, lines
from training.comparison import ComparisonError, Contender, Examples, differences, examples
from training.curves import curve
from usecases import UseCase

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Contrast:
    """Of two models: manifests, decision rules, and the examples that both answer; None, with `why` in words, where
    there are none."""

    usecase: UseCase
    first: Manifest
    second: Manifest
    rules: tuple[Decision, Decision]
    common: Examples | None
    why: str = ""

    def result(self) -> dict[str, Any]:
        """Everything, as plain values."""
        a, b = self.first, self.second
        return {
            "models": [a.tag, b.tag],
            "examples": None if self.common is None else self.common.source + self.common.beside,
            "why": self.why,
            "metrics": self._metrics(),
            "scores": self._scores(),
            "decisions": self._decisions(),
            "parameters": _differing(a.parameters, b.parameters),
            "features": {
                "same": a.fingerprint == b.fingerprint,
                "added": [name for name in b.inputs if name not in a.inputs],
                "removed": [name for name in a.inputs if name not in b.inputs],
            },
            "made_of": _differing(_made_of(a), _made_of(b)),
        }

    def _metrics(self) -> dict[str, Any]:
        if self.common is None:
            return {}
        label, answers = self.common.label, (self.common.first, self.common.second)
        values = [metrics.measure(label, probability) for probability in answers]
        spans = [metrics.intervals(label, probability) for probability in answers]
        apart = differences(Examples(label, answers[1], answers[0], None, ""))
        return {
            key: {
                "values": [one[key] for one in values],
                "intervals": [one[key] for one in spans],
                "difference": asdict(apart[key]),
            }
            for key in TITLES
        }

    def _scores(self) -> dict[str, Any]:
        if self.common is None:
            return {}
        shift = self.common.second - self.common.first
        quantiles = np.quantile(shift, QUANTILES)
        return {
            "means": [round(float(p.mean()), 6) for p in (self.common.first, self.common.second)],
            "shift": {f"{q:g}": round(float(v), 6) for q, v in zip(QUANTILES, quantiles, strict=True)},
            "mean_absolute_shift": round(float(np.abs(shift).mean()), 6),
        }

    def _decisions(self) -> dict[str, Any]:
        rules = {"thresholds": [round(rule.threshold, 6) for rule in self.rules]}
        if self.common is None:
            return rules
        one, other = self._positive(self.common.first, 0), self._positive(self.common.second, 1)
        return {
            **rules,
            "positive": [int(one.sum()), int(other.sum())],
            "to_positive": int((other & ~one).sum()),
            "to_negative": int((one & ~other).sum()),
            "examples": len(self.common),
        }

    def _positive(self, probability: Floats, which: int) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = probability >= self.rules[which].threshold
        return found

    def sections(self) -> list[Section]:
        """The same for people."""
        found = self.result()
        return [
            Section("On the same examples", self._measured(found)),
            *([Section("Whom they treat differently", self._treated(found))] if self.common is not None else []),
            Section("What they were made of", _made(found)),
        ]

    def _measured(self, found: dict[str, Any]) -> list[Block]:
        if self.common is None:
            return [f"They cannot be compared on the same examples: {self.why}"]
        rows = []
        for key, title in TITLES.items():
            one = found["metrics"][key]
            cells = [title]
            for value, (low, high) in zip(one["values"], one["intervals"], strict=True):
                cells += [f"{value:.4f}", f"{low:.4f} to {high:.4f}"]
            low, high = one["difference"]["interval"]
            rows.append([*cells, f"{one['difference']['difference']:+.4f}", f"{low:+.4f} to {high:+.4f}"])
        return [
            f"{self.common.source}{self.common.beside}.",
            Table(("metric", "A", "95 %", "B", "95 %", "B less A", "95 %"), rows, (1, 2, 3, 4, 5, 6)),
            Figures(("ROC", "Reliability")),
        ]

    def _treated(self, found: dict[str, Any]) -> list[Block]:
        decisions, scores, (negative, positive) = found["decisions"], found["scores"], self.usecase.decisions
        rows = [
            ["threshold", *(f"{value:.4f}" for value in decisions["thresholds"])],
            [f"decided `{positive}`", *(f"{value:,}" for value in decisions["positive"])],
            ["mean probability", *(f"{value:.4f}" for value in scores["means"])],
        ]
        flipped = decisions["to_positive"] + decisions["to_negative"]
        return [
            Table(("", "A", "B"), rows, (1, 2)),
            f"{flipped:,} of {decisions['examples']:,} decisions flip ({flipped / decisions['examples']:.2%}): "
            f"{decisions['to_positive']:,} from `{negative}` to `{positive}`, {decisions['to_negative']:,} back. The "
            f"probability moves by {scores['mean_absolute_shift']:.4f} on average: half of the moves lie between "
            f"{scores['shift']['0.25']:+.4f} and {scores['shift']['0.75']:+.4f}, nine of ten between "
            f"{scores['shift']['0.05']:+.4f} and {scores['shift']['0.95']:+.4f}.",
            Figures(("Scores", "Shift")),
        ]

    def figures(self) -> dict[str, str]:
        """SVG by title; none without common examples."""
        if self.common is None:
            return {}
        label, answers = self.common.label, {"A": self.common.first, "B": self.common.second}
        curves = {name: curve(label, probability) for name, probability in answers.items()}
        shift = answers["B"] - answers["A"]
        widest = max(float(np.abs(shift).max()), 1e-9)
        return {
            "ROC": lines(
                {name: Line(one["fallout"], one["recall"]) for name, one in curves.items()},
                x="share of the negatives contacted",
                y="share of the positives",
                about="ROC curves of both models",
                diagonal=True,
            ),
            "Reliability": lines(
                {name: _reliability(label, probability) for name, probability in answers.items()},
                x="mean probability",
                y="share of positives",
                about="Calibration of both models in bins of equal size",
                diagonal=True,
            ),
            "Scores": histogram(
                {name: _counts(probability, 0, 1) for name, probability in answers.items()},
                x="probability",
                y="share of the examples",
                about="How the probabilities of both models are spread",
            ),
            "Shift": histogram(
                {"B less A": _counts(shift, -widest, widest)},
                x="probability of B less that of A",
                y="share of the examples",
                about="How far probabilities move from A to B",
                low=-widest,
                high=widest,
            ),
        }

    def page(self) -> str:
        """A page of its own, as a card is."""
        name = self.usecase.name
        lead = f"A is `{self.first.tag}`, B is `{self.second.tag}`."
        return rendered(name, f"{self.first.version} and {self.second.version}", lead, self.sections(), self.figures())


def contrast(usecase: UseCase, events: EventStore, first: Path, second: Path, *, as_of: int, cache: Path) -> Contrast:
    """Compare the artefacts in two directories on what is known at `as_of`.

    Raises:
        ArtefactError: if one cannot be read. StoreError, LeakageError: if there are no sound examples.
    """
    one, other = (Contender.of(directory, usecase) for directory in (first, second))
    rules = (read_parts(first, one.manifest)[2], read_parts(second, other.manifest)[2])
    try:
        common = examples(usecase, events, one, other, as_of=as_of, cache=cache)
    except ComparisonError as error:
        return Contrast(usecase, one.manifest, other.manifest, rules, None, str(error))
    return Contrast(usecase, one.manifest, other.manifest, rules, common)


def _made(found: dict[str, Any]) -> list[Block]:
    features = found["features"]
    blocks: list[Block] = []
    rows = [
        [name, *("-" if value is None else str(value) for value in pair)]
        for name, pair in {**found["made_of"], **found["parameters"]}.items()
    ]
    blocks.append(Table(("", "A", "B"), rows) if rows else "Of the same data, with the same parameters.")
    named = [
        f"{what}: {', '.join(f'`{n}`' for n in features[what])}" for what in ("added", "removed") if features[what]
    ]
    if features["same"]:
        blocks.append("The same features, to the last line of their code.")
    else:
        blocks.append(f"Other features; {'; '.join(named) or 'of the same names, so their definitions differ'}.")
    return blocks


def _made_of(manifest: Manifest) -> dict[str, Any]:
    data = manifest.dataset
    return {
        "algorithm": manifest.algorithm,
        "created": manifest.created_at,
        "git commit": manifest.git_commit,
        "parent": manifest.parent,
        "fingerprint": manifest.fingerprint[:16],
        "training set": data.content[:16],
        **{f"{part} examples": f"{rows:,}" for part, rows in data.rows.items()},
        **{f"last label time, {part}": times[-1] for part, times in data.label_times.items() if times},
        **{name: library.version for name, library in manifest.libraries.items()},
    }


def _differing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys([*first, *second])
    return {name: [first.get(name), second.get(name)] for name in names if first.get(name) != second.get(name)}


def _reliability(label: np.ndarray[Any, Any], probability: Floats, bins: int = 10) -> Line:
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    filled = [part for part in parts if len(part)]
    return Line([float(probability[p].mean()) for p in filled], [float(label[p].mean()) for p in filled])


def _counts(values: Floats, low: float, high: float) -> list[int]:
    counted: list[int] = np.histogram(values, bins=40, range=(low, high))[0].tolist()
    return counted
