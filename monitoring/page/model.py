"""The page of a model version: its windows, what alarms, what moved, and what became true of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features import clock
from model.profile import Profile
from monitoring.ledger import Closed
from monitoring.page import words
from monitoring.page.charts import Curve, Sample, curve
from monitoring.page.columns import drawn, is_pair, moved
from monitoring.page.rendering import rendered
from monitoring.page.strip import SYMBOLS, state, strip
from monitoring.page.watched import Watched, moment, pool
from monitoring.page.words import ASKED, METRICS, TRACKS
from monitoring.passes.asking import unanswered
from monitoring.verdict import RING, Finding, Verdict
from monitoring.window import Window

HISTOGRAMS = 6
"""Columns that are drawn; a window's own page has all."""
FACTS = 400
"""Facts of performance that are read: every pass that outcomes mature in tells two."""
CURVES = ("rate", "roc_auc", "log_loss", "ece")
DIGITS = {"log_loss": 3, "brier": 3, "roc_auc": 3, "ece": 3, "cost": 2}
SHARES = frozenset({"rate", "flagged", "precision", "recall"})


@dataclass(frozen=True)
class Told:
    """A finding in words."""

    title: str
    track: str
    details: str
    pair: bool


@dataclass(frozen=True)
class Realised:
    """A metric in figures, as text."""

    name: str
    value: str
    interval: str
    expected: str
    ahead: str
    apart: bool


def page(watched: Watched, tag: str) -> str:
    """HTML.

    Raises:
        NotThere: if no answer of that model was read.
        StoreError: if the ledger cannot be read.
    """
    ring, profile = watched.ring(watched.model(tag)), watched.profile(tag)
    opened = watched.ledger.opened(tag)
    newest = ring[-1] if ring else None
    reference = watched.reference(tag, newest) if newest else profile
    verdict = Verdict.from_json(newest.verdict) if newest else None
    ranked = moved(verdict, profile.use if profile else {}) if verdict else []
    performance = latest(watched.ledger.facts("performance", tag, FACTS))
    return rendered(
        "model.html.j2",
        watched=watched,
        tag=tag,
        known=profile is not None,
        newest=newest,
        opened=opened,
        state=state(newest) if newest else "waiting",
        symbol=SYMBOLS[state(newest)] if newest else "○",
        needed=closing(watched),
        strip=strip(ring),
        tracks=list(TRACKS.values()),
        asked={TRACKS[track]: asked for track, asked in ASKED.items()},
        verdict=verdict,
        findings=told(verdict, reference, ring),
        columns=ranked,
        alarmed=sum(one.alarm for one in ranked),
        use=bool(profile and profile.use),
        histograms=drawn(reference, ring, verdict, [one.name for one in ranked[:HISTOGRAMS]])
        if reference and verdict
        else [],
        answers=answers(watched, reference, ring),
        performance=realised(performance),
        curves=curves(performance),
        outcomes=outcomes(performance),
        skew=next(iter(watched.ledger.facts("skew", tag, 1)), None),
        quality=next(iter(watched.ledger.facts("quality", tag, 1)), None),
        reference=referred(newest, profile),
        reports=reports(watched, tag),
        retrain=unanswered(watched.ledger),
    )


def closing(watched: Watched) -> str:
    """When a window closes, in words."""
    watch = watched.usecase.watch
    return f"{watch.rows:,} answers" if watch.every is None else span(watch.every)


def span(micros: int) -> str:
    """A length of time in words."""
    for unit, name in ((clock.DAY, "day"), (clock.HOUR, "hour"), (clock.MINUTE, "minute")):
        if micros >= unit and not micros % unit:
            return words.many(micros // unit, name)
    return f"{micros / clock.SECOND:g} seconds"


def told(verdict: Verdict | None, reference: Profile | None, ring: Sequence[Closed]) -> list[Told]:
    """What alarms: a sentence per column, about its strongest test; pairs of columns come last."""
    found: dict[str, list[Finding]] = {}
    for one in verdict.findings if verdict else ():
        found.setdefault(one.column, []).append(one)
    scales = {tests[0].scale for tests in found.values()}
    pools = {scale: pool(reference, list(ring[-scale:])) for scale in scales} if reference else {}
    told_ = []
    for column, tests in found.items():
        first, pooled = tests[0], pools.get(tests[0].scale)
        bins = words.bins(reference, pooled.counts, column) if reference and pooled else None
        others = list(dict.fromkeys(one.test for one in tests if one.test != first.test))
        details = (
            f"{first.test} over {words.windows(first.scale)}, {first.rows:,} rows; effect {first.effect:.3f}; "
            f"{words.share(first.share)} of the rows moved; adjusted p {words.chance(first.adjusted)}"
        )
        also = f"; also {', '.join(others)}" if others else ""
        told_.append(
            Told(words.sentence(first, *(bins or (None, None))), TRACKS[first.track], details + also, is_pair(column))
        )
    return sorted(told_, key=lambda one: one.pair)


def answers(watched: Watched, reference: Profile | None, ring: Sequence[Closed]) -> Curve | None:
    """The share of positive decisions over windows, beside that of the reference."""
    place = next((i for i, one in enumerate(reference.columns) if one.role == "decision"), None) if reference else None
    positive = watched.usecase.decisions[1]
    if reference is None or place is None or positive not in reference.columns[place].levels:
        return None
    level = reference.columns[place].levels.index(positive)

    def rate(counts: Any) -> float | None:
        own = reference.layout.column(counts, place)
        return float(own[level] / own.sum()) if own.sum() else None

    before, samples = rate(reference.counts), []
    for one in ring:
        if pool(reference, [one]) is None:
            return None
        samples.append(Sample(one.number, rate(Window.from_bytes(reference, one.window).counts), other=before))
    return curve(f"Decided “{positive}”", samples, percent=True) if len(samples) > 1 else None


def latest(facts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last one of each window, as many windows as a verdict looks at; and that of all so far, which is None."""
    own = {one["window"]: one for one in facts}
    numbers = sorted(number for number in own if number is not None)[-RING:]
    return [*(own[number] for number in numbers), *([own[None]] if None in own else [])]


def realised(facts: Sequence[Mapping[str, Any]]) -> list[Realised]:
    """The metrics of all outcomes so far, or of the newest window that says any."""
    found = next((one for one in reversed(facts) if one["window"] is None), facts[-1] if facts else None)
    if found is None:
        return []
    rows = []
    for name, title in METRICS.items():
        one = found["metrics"].get(name)
        if one is None or all(one[key] is None for key in ("value", "expected", "ahead")):
            continue
        low, high, expected = one["low"], one["high"], one["expected"]
        apart = expected is not None and low is not None and high is not None and not low <= expected <= high
        interval = f"{_figure(name, low)} to {_figure(name, high)}" if low is not None and high is not None else ""
        rows.append(
            Realised(
                title,
                _figure(name, one["value"]),
                interval,
                _figure(name, expected),
                _figure(name, one["ahead"]),
                apart,
            )
        )
    return rows


def outcomes(facts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The fact that `realised` is of."""
    return next((one for one in reversed(facts) if one["window"] is None), facts[-1] if facts else None)


def curves(facts: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """Some metrics over windows: realised with their intervals, and what their scores promised."""
    own = [one for one in facts if one["window"] is not None]
    drawn_: list[Curve] = []
    for name in CURVES if len(own) > 1 else ():
        samples = [
            Sample(one["window"], figures["value"], figures["low"], figures["high"], figures["expected"])
            for one in own
            for figures in [one["metrics"][name]]
        ]
        if any(one.value is not None for one in samples) and (
            found := curve(METRICS[name], samples, DIGITS.get(name, 3), percent=name in SHARES)
        ):
            drawn_.append(found)
    return drawn_


def referred(newest: Closed | None, profile: Profile | None) -> str:
    """What windows are held against, in words."""
    if newest is None:
        return ""
    if newest.reference == "training":
        rows = f" ({profile.rows:,} rows)" if profile else ""
        return f"the training set{rows}, as the model's artefact counts it"
    if newest.reference == "settling":
        return "nothing yet: the first windows that are served become the reference"
    numbers = newest.reference.removeprefix("served ")
    return f"the first windows that were served ({numbers})"


def reports(watched: Watched, tag: str) -> list[tuple[str, str]]:
    """Evidently's reports on windows of that model: file and when it was written, the newest first."""
    own = f"{tag.replace(':', '-')}-"
    found = [path for path in watched.reports.glob("*.html") if path.name.startswith(own)]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [(path.name, moment(int(path.stat().st_mtime * clock.SECOND))) for path in found]


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001  # no hyphen
    return words.share(value) if name in SHARES else words.figure(value, DIGITS.get(name, 3))
