"""The card: what a model is, in Markdown. It holds no time and no version, so that equal models have equal cards."""

from __future__ import annotations

from typing import Any

from model.artefact import Dataset
from model.scorer import Scorer
from usecases import UseCase

TITLES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "log_loss": "log loss", "brier": "Brier score", "ece": "ECE"}


def card(usecase: UseCase, scorer: Scorer, dataset: Dataset, metrics: dict[str, Any]) -> str:
    """Markdown: data, metrics with 95 % intervals beside the logistic regression's, the rule, the inputs."""
    rule = scorer.decision
    lines = [
        f"# {usecase.name}: {usecase.title}",
        "",
        f"{scorer.model.algorithm}, {len(usecase.features.inputs)} inputs ({len(usecase.features.columns)} columns), "
        f"feature fingerprint `{usecase.features.fingerprint[:16]}`.",
        "",
        "## Data",
        "",
        "| part | label times | examples | positive |",
        "|---|---|---|---|",
    ]
    for part, rows in dataset.rows.items():
        times = dataset.label_times[part]
        span = " to ".join(dict.fromkeys([times[0], times[-1]])) if times else "-"
        lines.append(f"| {part} | {span} | {rows:,} | {dataset.positives[part] / rows:.1%} |")
    lines += ["", "## Measured on the test part", ""]
    lines += ["| metric | model | 95 % | logistic regression | 95 % |", "|---|---|---|---|---|"]
    for key, title in TITLES.items():
        cells = [title]
        for name in ("model", "logistic"):
            low, high = metrics[f"{name}_interval"][key]
            cells += [f"{metrics[name][key]:.4f}", f"{low:.4f} to {high:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Intervals are bootstrapped over customers; that of the ECE leans upward."]
    lines += [
        "",
        "## Decision",
        "",
        f"`{rule.positive}` where the probability is at least {rule.threshold:.4f}, else `{rule.negative}`. "
        "From the costs: " + ", ".join(f"{name} {value:g}" for name, value in rule.costs.items()) + ".",
        "",
        "## Inputs",
        "",
        *[f"- `{name}`: {_definition(usecase, name)}" for name in usecase.features.inputs],
    ]
    return "\n".join(lines) + "\n"


def _definition(usecase: UseCase, name: str) -> str:
    for aggregate in usecase.features.aggregates:
        if aggregate.name == name:
            of = f" of {aggregate.column}" if aggregate.column else ""
            window = (
                f" over {aggregate.window / 86_400_000_000:g} days" if aggregate.window else " over all of the past"
            )
            where = "".join(f", where {w.column} {w.operator} {w.value!r}" for w in aggregate.where)
            return f"{aggregate.function}{of}{window}{where}"
    for function in usecase.features.rows:
        if function.__name__ == name:
            return (function.__doc__ or "row feature").strip().splitlines()[0]
    return usecase.features.fields[name].description or "carried by the request"
