"""What a card says, for both of its files. Text between backquotes is a name or a value as it stands in code.

Nothing here is a time of training or a version of
the model itself: models of equal content, commit, parent and libraries have equal cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.clock import DAY
from model.scorer import Decision
from training.card import TITLES, definitions
from training.card.blocks import Block, Figures, Points, Section, Source, Table
from usecases import Absence, UseCase


@dataclass(frozen=True)
class Subject:
    """What a card is about: the use case, the rule, and the manifest's fields but those that the files decide."""

    usecase: UseCase
    rule: Decision
    fields: Mapping[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured: training.evaluation."""
        found: dict[str, Any] = self.fields["metrics"]
        return found


def sections(about: Subject) -> list[Section]:
    """Everything that the card says."""
    return [
        Section("What it is for", _purpose(about)),
        Section("Data", _data(about)),
        Section("Measured on the test part", _measured(about)),
        Section("Decision", _decision(about)),
        Section("Calibration", _calibration(about)),
        *([Section("Slices", _slices(about))] if about.metrics["slices"] else []),
        Section("Inputs", _inputs(about)),
        Section("Parameters", _parameters(about)),
        Section("Limits", [Points(_limits(about))]),
        Section("Lineage", _lineage(about)),
    ]


def lead(about: Subject) -> str:
    """The sentence under the title."""
    features = about.usecase.features
    return (
        f"{about.fields['algorithm']}, {len(features.inputs)} inputs ({len(features.columns)} columns), feature "
        f"fingerprint `{features.fingerprint[:16]}`."
    )


def _purpose(about: Subject) -> list[Block]:
    usecase, rule = about.usecase, about.rule
    if isinstance(usecase.label, Absence):
        label = f"has no event in the {usecase.label.horizon / DAY:g} days from then on"
        when = "What it knows is what had happened and arrived before that time."
    else:
        label = f"has `{usecase.label.column}` set in its record"
        events = ", and the events until then" if usecase.features.events is not None else ""
        when = f"What it knows is the newest record{events}."
    return [
        f"For one `{usecase.key}` at one time, the probability that it {label}: `{rule.positive}`, or else "
        f"`{rule.negative}`. {when}",
        "It is made to choose whom to contact, by the costs below. It is not made to tell why a customer behaves so, "
        "nor to decide what a person is owed.",
    ]


def _data(about: Subject) -> list[Block]:
    data, rows = about.fields["dataset"], []
    for part in ("train", "valid", "test"):
        n = data["rows"][part]
        times = data["label_times"][part]
        span = " to ".join(dict.fromkeys([times[0], times[-1]])) if times else "-"
        rows.append([part, span, f"{n:,}", f"{data['positives'][part] / n:.1%}"])
    how = "by label time, with a horizon between them" if isinstance(about.usecase.label, Absence) else "by key"
    return [
        Table(("part", "label times", "examples", "positive"), rows, (2, 3)),
        f"The parts are split {how}: train is fitted on, valid chooses and calibrates, test only measures. Content "
        f"hash `{data['content']}`.",
    ]


def _measured(about: Subject) -> list[Block]:
    metrics, rows = about.metrics, []
    compared = "gain" in metrics
    for key, title in TITLES.items():
        cells = [title]
        for name in ("model", "logistic") if compared else ("model",):
            cells += [f"{metrics[name][key]:.4f}", _span(metrics[f"{name}_interval"][key])]
        if compared:
            gain = metrics["gain"][key]
            cells += [f"{gain['value']:+.4f}", _span(gain["interval"], "+.4f")]
        rows.append(cells)
    header: tuple[str, ...] = ("metric", "model", "95 %")
    words = "Intervals are bootstrapped over examples; that of the ECE leans upward."
    if compared:
        header += ("logistic regression", "95 %", "difference", "95 %")
        words += (
            " The difference is of the same draws: where its interval holds 0, the model is no better and no worse "
            "than a logistic regression of the same inputs."
        )
    return [
        Table(header, rows, tuple(range(1, len(header)))),
        words,
        Figures(("ROC", "Precision and recall", "Gain", "Scores")),
    ]


def _decision(about: Subject) -> list[Block]:
    rule, cost = about.rule, about.metrics["cost"]
    best = cost["best_threshold"]
    rows = [
        [f"the rule, from {rule.threshold:.4f}", f"{cost['at_threshold']:,.2f}", f"{cost['share']:.1%} contacted"],
        [
            "the best threshold in hindsight",
            f"{cost['at_best']:,.2f}",
            "contact nobody" if best is None else f"{best:.4f}",
        ],
        ["do nothing", f"{cost['nothing']:,.2f}", ""],
        ["contact everybody", f"{cost['everybody']:,.2f}", ""],
    ]
    return [
        f"`{rule.positive}` where the probability is at least {rule.threshold:.4f}, else `{rule.negative}`. "
        "From the costs: " + ", ".join(f"{name} {value:g}" for name, value in rule.costs.items()) + ".",
        Table(("on the test part", "cost per 1,000", ""), rows, (1,)),
        f"The rule saves {cost['saving']:,.2f} per 1,000 against doing nothing "
        f"({_span(cost['saving_interval'], ',.2f')}), and {cost['saving_against_everybody']:,.2f} against contacting "
        f"everybody ({_span(cost['saving_against_everybody_interval'], ',.2f')}).",
    ]


def _calibration(about: Subject) -> list[Block]:
    found, words = about.metrics["calibration"], []
    for name, right, told in (
        ("slope", 1, "below 1 probabilities are too extreme, above 1 too timid"),
        ("intercept", 0, "above 0 probabilities are too low on the whole, below 0 too high"),
    ):
        one = found[name]
        value = "none, as an outcome is told without an error"
        if one is not None:
            value = f"{one['value']:.3f} ({_span(one['interval'], '.3f')})"
        words.append(f"{name}: {value}; {right} is right, {told}")
    rows = [
        [f"{one['probability']:.4f}", f"{one['share']:.4f}", _span(one["interval"]), f"{one['n']:,}"]
        for one in found["curve"]
    ]
    header = ("mean probability", "share of positives", "95 %", "examples")
    return [Points(words), Figures(("Reliability",)), Table(header, rows, (0, 1, 2, 3))]


def _slices(about: Subject) -> list[Block]:
    rows, without = [], []
    for one in about.metrics["slices"]:
        cells = [
            f"`{one['feature']}`",
            one["part"],
            f"{one['n']:,}",
            f"{one['share']:.1%}",
            f"{one['probability']:.1%}",
        ]
        if one["reason"] is None:
            auc, *others = (
                f"{one[key]['value']:.3f} ({_span(one[key]['interval'], '.3f')})"
                for key in ("roc_auc", "log_loss", "ece")
            )
            worse = ", ".join(one["worse"]) or "no"
            rows.append([*cells, auc, f"{one['promised']:.3f}", worse, *others])
        else:
            rows.append([*cells, *"-----"])
            without.append(f"`{one['feature']}`, {one['part']}, is not measured: {one['reason']}")
    header = ("by", "part", "examples", "positive", "probability", "ROC-AUC", "promised", "worse", "log loss", "ECE")
    return [
        Table(header, rows, (2, 3, 4, 5, 6, 8, 9)),
        "Promised is the ROC-AUC that the part's own probabilities would have if they were right: customers who are "
        "alike are harder to rank, whatever the model. Worse is judged by two things only. Ranking: the ROC-AUC falls "
        "significantly short of what is promised, and further than that of all customers. Level: mean probability and "
        "share of positives are significantly further apart than for all customers.",
        *([Points(without)] if without else []),
    ]


def _inputs(about: Subject) -> list[Block]:
    features = about.usecase.features
    own, made = definitions.inputs(features), definitions.others(features)
    blocks: list[Block] = [Points([f"`{one.name}`: {one.words}" for one in own])]
    if made:
        blocks += ["They are made of these too:", Points([f"`{one.name}`: {one.words}" for one in made])]
    blocks.append(Figures(("Contributions",)))
    most = ", ".join(f"`{name}` {value:.3f}" for name, value in ranked(about.metrics["importance"])[:10])
    blocks.append(f"Mean size of what an input adds to the log-odds, before calibration: {most}.")
    blocks += [Source(one.name, one.source) for one in (*own, *made) if one.source]
    return blocks


def _parameters(about: Subject) -> list[Block]:
    rows = [[f"`{name}`", str(value)] for name, value in sorted(about.fields["parameters"].items())]
    blocks: list[Block] = [Table(("parameter", "value"), rows)]
    search = about.fields["search"]
    if search is None:
        return [*blocks, "They were not searched for: these are the defaults."]
    chosen = f"trial {search['chosen']}" if search["chosen"] else "the defaults, as no trial was better beyond luck"
    return [
        *blocks,
        f"Of {len(search['trials'])} trials ({search['pruned']} pruned) by {len(search['folds'])} fold(s) inside train "
        f"and valid, {search['objective']}: the best {search['best']['value']:.4f}, the defaults "
        f"{search['default']['value']:.4f}, a gain of {search['gain']['value']:.4f} with a standard error of "
        f"{search['gain']['error']:.4f}. Chosen: {chosen}. Every trial is in the manifest.",
    ]


def _limits(about: Subject) -> list[str]:
    usecase, data = about.usecase, about.fields["dataset"]
    timed = isinstance(usecase.label, Absence)
    time = data["label_times"]["test"][-1] if timed else ""
    limits = [
        f"The figures are of {data['rows']['test']:,} examples at one label time, {time}: they do not say how other "
        "seasons differ, nor what has changed since."
        if timed
        else f"The figures are of {data['rows']['test']:,} other customers at the time of the training data: they do "
        "not say what will hold later.",
        "The intervals take the model as it is: they leave out how it would differ had it been trained on other "
        "customers or at other times, so two trainings differ by more. That of the ECE leans upward.",
        "A best threshold in hindsight is chosen on the examples it is measured on, so it flatters itself. The costs "
        "are the use case's own statement, the same for every customer; whether a contact rescues anybody was not "
        "measured.",
        "Contributions tell how the model computes, not what causes what.",
        "Slices that are not declared were not looked at; nor were people compared by anything that is no input.",
    ]
    if usecase.features.events is not None:
        limits.append(
            "Customers without events are answered as such (`known: false`), and none were in the training data. "
            "Events that were loaded as history count as known once they had happened, plus the source's declared "
            "delay: where they really came later, the past looks better than it was."
        )
    if usecase.features.attributes is not None and timed:
        limits.append(
            "Records that were loaded as history and have no time of their own count as known from the beginning: what "
            "changed in them since a label time leaks into it, and no check can see that."
        )
    return limits


def _lineage(about: Subject) -> list[Block]:
    fields = about.fields
    libraries = ", ".join(f"{name} {one['version']}" for name, one in sorted(fields["libraries"].items()))
    rows = [
        ["dataset", f"`{fields['dataset']['id']}`"],
        ["feature fingerprint", f"`{fields['fingerprint']}`"],
        ["git commit", f"`{fields['git_commit'] or 'none'}`"],
        ["parent", f"`{fields['parent'] or 'none'}`"],
        ["libraries", libraries],
    ]
    return [Table(("", ""), rows)]


def ranked(importance: Mapping[str, float]) -> list[tuple[str, float]]:
    """The largest first; equal ones by name."""
    return sorted(importance.items(), key=lambda one: (-one[1], one[0]))


def _span(interval: list[float], form: str = ".4f") -> str:
    low, high = interval
    return f"{low:{form}} to {high:{form}}"
