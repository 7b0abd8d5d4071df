"""`python -m benchmarks.search`: what searching for parameters is worth on the test part, which no trial has seen.

The defaults, the best trial and what was chosen, each fitted as `holdfast train` does. Fails where what was chosen is
worse than the defaults by more than chance: the 95 % interval of the difference, on the same draws of the test part.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.console import Out, table
from cli.workspace import Workspace
from model.estimators import Boosted
from training import fit, metrics
from training.dataset import build, label_times
from training.search import search
from training.split import split

SHOWN = ("roc_auc", "log_loss", "brier")
LESS = ("log_loss", "brier", "ece")
"""Metrics of which less is better."""


def measure(name: str, trials: int, algorithm: str, out: Out) -> dict[str, Any]:
    """Metrics of each, with 95 % intervals; and how much better than the defaults, on the same draws."""
    workspace = Workspace.open(name)
    workspace.prepare()
    usecase, events, now = workspace.usecase, workspace.events, workspace.now
    parts = split(usecase, build(usecase, events, label_times(usecase, events, now), now, workspace.cache)[0])
    matrices = {part: (usecase.features.matrix(own.features), own.label) for part, own in parts.parts().items()}
    with TemporaryDirectory(prefix="holdfast-search-") as directory, out.progress() as progress:
        found = search(usecase, parts, trials, Path(directory), progress, algorithm=algorithm)
    tried, best = found.summary["trials"], found.summary["best"]["number"]
    defaults = fit.DEFAULTS[algorithm]
    fitted = {"defaults": defaults, "best": {**defaults, **tried[best]["parameters"]}, "chosen": found.parameters}
    answers = {}
    for which, parameters in fitted.items():
        scorer = fit.scorer(algorithm, usecase, matrices["train"], matrices["valid"], parameters=parameters)
        answers[which] = scorer.score_features(parts.test.features).probability
    drawn = metrics.resampled(parts.test.label, answers)
    told: dict[str, Any] = {"search": found.line, "numbers": {"best": best, "chosen": found.summary["chosen"]}}
    for which, probability in answers.items():
        told[which] = {"metrics": metrics.measure(parts.test.label, probability), "interval": {}, "gain": {}}
        for metric, values in drawn[which].items():
            sign = -1 if metric in LESS else 1
            told[which]["interval"][metric] = metrics.interval(values)
            told[which]["gain"][metric] = metrics.interval(sign * (values - drawn["defaults"][metric]))
    told["holds"] = all(told["chosen"]["gain"][metric][1] >= 0 for metric in SHOWN)
    return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--algorithm", default=Boosted.algorithm, choices=sorted(fit.DEFAULTS))
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    out, results = Out(asked.json), {}
    for name in ("telco", "cdnow"):
        results[name] = measure(name, asked.trials, asked.algorithm, out)
        out.say(f"{name}: {results[name]['search']}")
        rows = []
        for which in ("defaults", "best", "chosen"):
            own = results[name][which]
            cells = [f"{own['metrics'][m]:.4f} ({own['gain'][m][0]:+.4f} to {own['gain'][m][1]:+.4f})" for m in SHOWN]
            rows.append([which, *cells])
        out.say(table(rows, ["", *(f"{metric} (gain)" for metric in SHOWN)]) + "\n")
    out.result(results)
    sys.exit(0 if all(one["holds"] for one in results.values()) else 1)


if __name__ == "__main__":
    main()
