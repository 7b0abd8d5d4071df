"""The card's figures, from the manifest's metrics."""

from __future__ import annotations

from typing import Any

from training.card.content import ranked
from training.card.plots import Line, bars, histogram, lines


def figures(metrics: dict[str, Any], decisions: tuple[str, str]) -> dict[str, str]:
    """SVG by title. `decisions`: what a negative and what a positive example is called."""
    titles = {"model": "model", "logistic": "logistic regression"}
    of = {name: words for name, words in titles.items() if name in metrics}
    curves = {words: metrics["curves"][name] for name, words in of.items()}
    areas = {words: metrics[name] for name, words in of.items()}
    reliability = metrics["calibration"]["curve"]
    counts, share = metrics["curves"]["histogram"], "share"

    def curve(x: str, y: str) -> dict[str, Line]:
        return {name: Line(one[x], one[y]) for name, one in curves.items()}

    said = "; ".join(f"{name} {one['roc_auc']:.3f}" for name, one in areas.items())
    precise = "; ".join(f"{name} {one['pr_auc']:.3f}" for name, one in areas.items())
    return {
        "ROC": lines(
            curve("fallout", "recall"),
            x="share of the negatives contacted",
            y="share of the positives",
            about=f"ROC curve; area: {said}",
            diagonal=True,
        ),
        "Precision and recall": lines(
            curve("recall", "precision"),
            x="share of the positives contacted",
            y="precision",
            about=f"Precision over recall; area: {precise}",
        ),
        "Gain": lines(
            curve(share, "recall"),
            x="share of the customers contacted, surest first",
            y="share of the positives",
            about="Cumulative gain: how many of the positives are among those contacted",
            diagonal=True,
        ),
        "Scores": histogram(
            {decisions[0]: counts["negative"], decisions[1]: counts["positive"]},
            x="probability",
            y="share of the outcome",
            about="How probabilities are spread, by outcome",
        ),
        "Reliability": lines(
            {
                "model": Line(
                    [one["probability"] for one in reliability],
                    [one["share"] for one in reliability],
                    [one["interval"] for one in reliability],
                )
            },
            x="mean probability",
            y="share of positives",
            about="Calibration: share of positives in bins of equal size, with 95 % intervals",
            diagonal=True,
        ),
        "Contributions": bars(
            dict(ranked(metrics["importance"])),
            x="mean size of the contribution, log-odds",
            about="Which inputs move the score most",
        ),
    }
