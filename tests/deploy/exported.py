"""Every metric that a server and a monitor export, with its labels and the values known of them, as JSON on stdout.

Run in a process of its own: the registry of metrics is one per process.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from monitoring.metrics import Monitor, Passes
from monitoring.page.overview import LABELS
from serving import metrics
from serving.recorder import Recorder
from tests.model.answers import HEADER
from tests.monitoring.page.stage import staged

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def main() -> None:
    """Ask the real collectors."""
    names: dict[str, dict[str, set[str]]] = {}
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):  # one without samples yet has its labels all the same
            (family,) = one.describe()
            for suffix in SUFFIXES[family.type]:
                bucket = {"le": set[str]()} if suffix == "_bucket" else {}
                names[family.name + suffix] = {**{label: set() for label in one._labelnames}, **bucket}
    names["holdfast_requests_total"]["outcome"] |= set(metrics.OUTCOMES)
    names["holdfast_request_seconds_bucket"]["le"] |= {str(float(bound)) for bound in metrics.REQUEST}
    with tempfile.TemporaryDirectory() as directory:
        metrics.watch_log(Recorder("none:", Path(directory), HEADER, 0))
        watched = staged(Path(directory), 6, 3)
        monitor = Monitor(watched.usecase.name, watched.ledger, Passes())
        _add(names, [*REGISTRY.collect(), *monitor.collect()])
    for kind, value in LABELS:  # those that nothing was counted of yet
        names[f"holdfast_monitor_{kind}_total"]["kind"].add(value)
    print(json.dumps(names, default=sorted))  # noqa: T201  # what this program is for


def _add(names: dict[str, dict[str, set[str]]], families: Iterable[Metric]) -> None:
    for family in families:
        for sample in family.samples:
            for label, value in sample.labels.items():
                names.setdefault(sample.name, {}).setdefault(label, set()).add(value)
            names.setdefault(sample.name, {})


if __name__ == "__main__":
    main()
