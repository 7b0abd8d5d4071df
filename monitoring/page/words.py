"""Findings as sentences, and figures as people read them. Text between backquotes is a name."""

from __future__ import annotations

import math

from model.profile import Profile
from model.profile.counting import Counts
from monitoring.verdict import Finding

TRACKS = {
    "inputs": "Inputs",
    "quality": "Quality",
    "answers": "Answers",
    "outcomes": "Outcomes",
}
"""What findings are about, in words."""
ASKED = {
    "inputs": "are they spread as in the reference?",
    "quality": "is more missing, unseen or out of range?",
    "answers": "are scores and decisions spread as before?",
    "outcomes": "does what scores say still become true?",
}
"""What a track's verdict answers."""
SPACE = "\u00a0"
"""Where no line breaks."""
METRICS = {
    "roc_auc": "ROC-AUC",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "rate": "Share that happened",
    "flagged": "Share decided positively",
    "precision": "Precision of decisions",
    "recall": "Recall of decisions",
    "cost": "Cost per answer",
}
"""Metrics of outcomes, in the order in which they are shown."""


def sentence(found: Finding, then: Counts | None = None, now: Counts | None = None) -> str:
    """What a finding says.

    Args:
        then, now: counts of a number's bins, from which the direction of a shift is told; None: it is left open.
    """
    name = f"`{found.column}`"
    first, _, second = found.column.partition(" ~ ")
    up = found.after > found.before
    said = {
        "shape": f"{name} is spread differently",
        "mix": f"{name} has another mix of levels",
        "location": f"{name} is {_moved(then, now)} than it was",
        "spread": f"{name} is {_wider(then, now)} than it was",
        "pair": f"`{first}` and `{second}` no longer go together as they did",
        "missing": f"{name} is missing {'more' if up else 'less'} often",
        "unseen": f"{name} has levels that the reference does not know",
        "range": f"{name} lies outside of the range of the reference more often",
        "level": f"It happened {'more' if up else 'less'} often than such scores meant before",
        "slope": f"Scores part customers {'more' if found.effect > 0 else 'less'} sharply than they did",
        "omnibus": "What happens no longer follows the scores as it did",
    }.get(found.test, f"{name}: {found.test}")
    return f"{said}{_where(found)}."


def chance(p: float) -> str:
    """A p-value."""
    if p < 1e-300:
        return "< 1e-300"
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def share(value: float) -> str:
    """A share of rows, in percent, with the digits that small ones need."""
    percent = value * 100
    if percent and abs(percent) < 0.1:
        return f"{percent:.2g}{SPACE}%"
    return f"{percent:.1f}{SPACE}%"


def plain(value: float) -> str:
    """A number as on an axis: four digits of it, and no exponent unless it is too long without."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.4g}"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{float(f'{value:.4g}'):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def figure(value: float | None, digits: int = 3) -> str:
    """A metric; a dash for none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"  # noqa: RUF001  # no hyphen


def duration(seconds: float) -> str:
    """A length of time, in the unit that fits it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g}{SPACE}{unit}"
    return f"{seconds:.3g}{SPACE}s"


def many(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def windows(scale: int) -> str:
    """How many were pooled."""
    return "one window" if scale == 1 else f"{scale} windows"


def bins(reference: Profile, counts: Counts, name: str) -> tuple[Counts, Counts] | None:
    """Of a number: the bins of the reference and of these counts; None for any other column."""
    place = next((i for i, one in enumerate(reference.columns) if one.name == name and one.kind == "number"), None)
    if place is None:
        return None
    body, layout = reference.columns[place].body, reference.layout
    return layout.column(reference.counts, place)[:body], layout.column(counts, place)[:body]


def _where(found: Finding) -> str:
    before, after = share(found.before), share(found.after)
    if found.test in ("missing", "unseen", "range"):
        return f": in {after} of the rows, where it was {before}"
    if found.test in ("level", "slope", "omnibus"):
        return f": in {after} of the cases, where {before} were to be expected"
    cell = found.cell.replace(" ", SPACE) if len(found.cell) < 24 else found.cell
    return f": `{cell}` had {before} of the rows and now has {after}" if found.cell else ""


def _moved(then: Counts | None, now: Counts | None) -> str:
    if then is None or now is None or not then.sum() or not now.sum():
        return "higher or lower"
    return "higher" if _mean(now) > _mean(then) else "lower"


def _wider(then: Counts | None, now: Counts | None) -> str:
    if then is None or now is None or not then.sum() or not now.sum():
        return "wider or narrower"
    return "more spread out" if _width(now, then) > _width(then, then) else "closer together"


def _mean(counts: Counts) -> float:
    return sum(place * int(count) for place, count in enumerate(counts)) / int(counts.sum())


def _width(counts: Counts, then: Counts) -> float:
    middle = _mean(then)
    return sum(int(count) * (place - middle) ** 2 for place, count in enumerate(counts)) / int(counts.sum())
