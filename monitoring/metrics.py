"""What Prometheus reads of a monitor: figures of the ledger, read when they are asked for, and of the passes made here.

Labels come from what is there: models (the last `MODELS` that answered), columns of their profiles, tracks, metrics,
kinds and reasons. Where the ledger cannot be read its figures are absent; those of the passes are there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features import clock
from features.clock import SECOND
from features.store.base import StoreError
from monitoring.ledger import Closed, Ledger
from monitoring.passes.asking import unanswered

log = logging.getLogger("holdfast.monitoring")

MODELS = 10
"""Models whose figures are told: those that answered last. Versions come without end."""
REASONS = 50
"""Reasons of refused requests that are told one by one, the most frequent ones; the others are `other`."""
TRACKS = ("inputs", "quality", "answers", "outcomes")
METRICS = ("roc_auc", "log_loss", "brier", "ece", "rate")
FACTS = 64
"""Facts of performance that are read of a model: among them is that of the newest window with an outcome."""


@dataclass
class Passes:
    """Of the passes that this process made: `failures` did not end well."""

    failures: int = 0


class Monitor(Collector):
    """The figures of one use case."""

    def __init__(self, usecase: str, ledger: Ledger, passes: Passes) -> None:
        self.usecase, self.ledger, self.passes = usecase, ledger, passes

    def describe(self) -> Iterator[Metric]:
        """Nothing: to be registered reads no ledger."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        yield from _passes(self.passes)
        try:
            yield from list(_ledger(self.usecase, self.ledger))
        except StoreError as error:
            log.error("metrics: %s", error)


def exposition(collector: Collector) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


def _passes(passes: Passes) -> Iterator[Metric]:
    about = "Passes of this process that did not end well."
    yield CounterMetricFamily("holdfast_monitor_pass_failures", about, passes.failures)


def _ledger(usecase: str, ledger: Ledger) -> Iterator[Metric]:
    yield from _counters(ledger.counters())
    yield from _last(ledger)
    asked = GaugeMetricFamily(
        "holdfast_monitor_retrain_asked",
        "1 while a new model is asked for, until another one answers.",
        labels=["usecase"],
    )
    asked.add_metric([usecase], int(unanswered(ledger) is not None))
    yield asked
    families = _families()
    opened = [one for one in (ledger.opened(model) for model in ledger.models()) if one is not None]
    newest = {one.model: next(iter(ledger.closed(one.model, 1)), None) for one in opened}

    def last(model: str, end: int) -> int:
        closed = newest[model]
        return max(end, closed.end if closed else 0)

    for one in sorted(opened, key=lambda one: -last(one.model, one.end))[:MODELS]:
        families["window_rows"].add_metric([one.model], one.rows)
        closed = newest[one.model]
        if closed is not None:
            _verdict(families, closed)
        _performance(families, one.model, ledger.facts("performance", one.model, FACTS))
        for skew in ledger.facts("skew", one.model, 1):
            families["skew_rows"].add_metric([one.model], skew["checked"])
            for name, found in skew["features"].items():
                families["skew"].add_metric([one.model, name], found["ratio"])
    yield from families.values()


def _last(ledger: Ledger) -> Iterator[Metric]:
    for said in ledger.facts("pass", last=1):
        about = "When the last pass ended, whoever made it."
        yield GaugeMetricFamily("holdfast_monitor_last_pass_timestamp_seconds", about, said["at"] / SECOND)
        yield GaugeMetricFamily("holdfast_monitor_pass_seconds", "What the last pass took.", said["seconds"])
        if said["newest"] is not None:
            behind = max(clock.now() - said["newest"], 0) / SECOND
            about = "Age of the newest answer that was read."
            yield GaugeMetricFamily("holdfast_monitor_log_behind_seconds", about, behind)


def _counters(counters: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    for name, label, about in (
        ("records", "kind", "Answers of the log that were read: counted, and of those late; left out as duplicates."),
        ("outcomes", "kind", "Outcomes: matched, unmatched, corrected; immature and missing go down again."),
    ):
        family = CounterMetricFamily(f"holdfast_monitor_{name}", about, labels=[label])
        for (kind, value), total in sorted(counters.items()):
            if kind == name:
                family.add_metric([value], total)
        yield family
    reasons = sorted(((total, label) for (name, label), total in counters.items() if name == "rejected"), reverse=True)
    family = CounterMetricFamily("holdfast_monitor_rejected", "Requests refused, by reason.", labels=["reason"])
    for total, reason in reasons[:REASONS]:
        family.add_metric([reason], total)
    if reasons[REASONS:]:
        family.add_metric(["other"], sum(total for total, _ in reasons[REASONS:]))
    yield family


def _families() -> dict[str, Any]:
    own = "holdfast_monitor_"
    return {
        "windows": CounterMetricFamily(f"{own}windows", "Windows that were closed and judged.", labels=["model"]),
        "alarm": GaugeMetricFamily(
            f"{own}alarm", "1 where the newest closed window alarms.", labels=["model", "track"]
        ),
        "adjusted_p": GaugeMetricFamily(
            f"{own}adjusted_p",
            "The smallest p of the newest closed window, adjusted for all tests; 1 where there is none.",
            labels=["model", "track"],
        ),
        "effect": GaugeMetricFamily(
            f"{own}effect", "How far a column has moved in the newest closed window.", labels=["model", "column"]
        ),
        "window_rows": GaugeMetricFamily(f"{own}window_rows", "Answers in the open window.", labels=["model"]),
        "window_end": GaugeMetricFamily(
            f"{own}window_end_timestamp_seconds", "Last answer of the newest closed window.", labels=["model"]
        ),
        "performance": GaugeMetricFamily(
            f"{own}performance",
            "What outcomes tell of the newest window that has any, with a 95 % interval.",
            labels=["model", "metric", "bound"],
        ),
        "expected": GaugeMetricFamily(
            f"{own}expected",
            "What scores alone promise of the same answers, or of the newest ones while no outcome is known; blind to "
            "concept drift.",
            labels=["model", "metric"],
        ),
        "skew": GaugeMetricFamily(
            "holdfast_feature_skew_ratio",
            "Share of answers whose feature is another one when it is computed again from the events.",
            labels=["model", "feature"],
        ),
        "skew_rows": GaugeMetricFamily(
            "holdfast_skew_checked_rows", "Answers that were computed again in the last hours.", labels=["model"]
        ),
    }


def _verdict(families: Mapping[str, Any], closed: Closed) -> None:
    model, verdict = closed.model, closed.verdict
    families["windows"].add_metric([model], closed.number)
    families["window_end"].add_metric([model], closed.end / SECOND)
    findings, columns = verdict["findings"], verdict["columns"]
    for track in TRACKS:
        own = [one["adjusted"] for one in [*findings, *columns.values()] if one["track"] == track]
        families["alarm"].add_metric([model, track], any(one["track"] == track for one in findings))
        families["adjusted_p"].add_metric([model, track], min(own, default=1.0))
    for name, one in columns.items():
        if " ~ " not in name:
            families["effect"].add_metric([model, name], one["effect"])


def _performance(families: Mapping[str, Any], model: str, facts: list[dict[str, Any]]) -> None:
    own = [one for one in facts if one["window"] is not None]
    newest = next((one for one in reversed(own) if one["labelled"]), own[-1] if own else None)
    for name in METRICS if newest is not None else ():
        figures = newest["metrics"][name] if newest else {}
        for bound in ("value", "low", "high"):
            if figures[bound] is not None:
                families["performance"].add_metric([model, name, bound], figures[bound])
        expected = figures["ahead"] if figures["expected"] is None else figures["expected"]
        if expected is not None:
            families["expected"].add_metric([model, name], expected)
