"""`python -m benchmarks.retrain`: what one more day of data costs, and a whole retrain against pandas from all events.

A grocer: 20,000 customers with about 400 orders each over two years, in daily batches; a label time every two weeks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks import shop
from cli.console import Json, Out, table
from features.clock import DAY
from features.store.parquet import ParquetStore
from model.estimators import Boosted
from model.golden import Inputs
from settings import HoldfastError
from training import fit, metrics
from training.dataset import Dataset, build, label_times
from training.split import split
from training.train import train
from usecases import Absence, UseCase, load

CUSTOMERS, ORDERS, DAYS, NEW = 20_000, 400, 720, 3
LABEL = Absence(horizon=90 * DAY, every=14 * DAY, first=90 * DAY)
WINDOWS = ((None, ""), (30, "_30d"), (90, "_90d"), (180, "_180d"))


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and its answer."""
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def by_pandas(usecase: UseCase, store: ParquetStore, times: list[int]) -> Dataset:
    """The training set as one writes it in a notebook: read everything; for each label time filter, then group."""
    files = sorted(store.directory.glob("*/rows.parquet"))
    events = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    parts = [_at(events, t) for t in times]
    frame = pd.concat(parts, ignore_index=True)
    names = [aggregate.name for aggregate in usecase.features.aggregates]
    inputs = Inputs({name: frame[name].to_numpy() for name in names}, {}, frame["t"].to_numpy())
    features = usecase.features.evaluate(inputs.aggregates, {}, inputs.request_time)
    key = frame["key"].to_numpy().astype(np.str_)
    return Dataset(key, inputs.request_time, frame["label"].to_numpy(), inputs, features, "")


def _at(events: pd.DataFrame, t: int) -> pd.DataFrame:
    seen = events[(events.ts < t) & (events.ingested_at <= t)]
    found = pd.DataFrame(index=pd.Index(sorted(seen.key.unique()), name="key"))
    for window, suffix in WINDOWS:
        part = seen if window is None else seen[seen.ts > t - window * DAY]
        sums = part.groupby("key").agg(orders=("ts", "size"), spend=("spend", "sum"), cds=("cds", "sum"))
        sums = sums.reindex(found.index, fill_value=0)
        found[f"orders{suffix}"] = sums.orders
        if window != 30:
            found["total_spend" if window is None else f"spend{suffix}"] = sums.spend
        if window in (None, 90):
            found["total_cds" if window is None else f"cds{suffix}"] = sums.cds
    ends = seen.groupby("key").agg(largest=("spend", "max"), first=("ts", "min"), last=("ts", "max"))
    found["largest_order"] = ends.largest.astype(float)
    found["first_order_at"], found["last_order_at"] = ends["first"].astype(float), ends["last"].astype(float)
    ahead = events[(events.ts >= t) & (events.ts < t + LABEL.horizon)]
    found["label"] = ~found.index.isin(ahead.key.unique())
    return found.reset_index().assign(t=t)


def by_hand(usecase: UseCase, dataset: Dataset) -> dict[str, float]:
    """The same split, trees, calibration and metrics, and nothing that Holdfast adds."""
    parts = split(usecase, dataset)
    train_set, valid = ((usecase.features.matrix(part.features), part.label) for part in (parts.train, parts.valid))
    scorer = fit.scorer(Boosted.algorithm, usecase, train_set, valid)
    return metrics.measure(parts.test.label, scorer.score_features(parts.test.features).probability)


def same(ours: Dataset, theirs: Dataset) -> None:
    """Both hold the same examples.

    Raises:
        HoldfastError: naming what differs.
    """
    pairs = {"key": (ours.key, theirs.key), "label": (ours.label, theirs.label), "t": (ours.t, theirs.t)}
    pairs |= {name: (values, theirs.features[name]) for name, values in ours.features.items()}
    for name, (one, other) in pairs.items():
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            raise HoldfastError(f"{name} differs between Holdfast and pandas: nothing to compare the cost of")


def batches(orders: shop.Orders) -> tuple[list[shop.Orders], list[shop.Orders]]:
    """Daily batches of the history, and of NEW days after it; the last brings a hundredth of the week before, late."""
    ends = [shop.START + day * DAY for day in range(DAYS + NEW + 1)]
    late = (np.random.default_rng(1).random(len(orders)) < 0.01) & (orders.ts >= ends[-2] - 7 * DAY)
    late &= orders.ts < ends[-2]
    punctual = orders.take(~late)
    daily = [punctual.between(*day) for day in pairwise(ends)]
    daily[-1] = orders.take(late | (orders.ts >= ends[-2]))
    return daily[:DAYS], daily[DAYS:]


class Bench:
    """The shop's store, its cache and its clock, which goes on by a day."""

    def __init__(self, usecase: UseCase, root: Path) -> None:
        self.usecase, self.root, self.now = usecase, root, shop.START + DAYS * DAY
        self.history, self.new = batches(shop.orders(CUSTOMERS, ORDERS, DAYS + NEW))
        shop.commit(usecase, root / "store", self.history)

    def store(self) -> ParquetStore:
        """Opened anew, as each run of a command does."""
        return ParquetStore(self.root / "store", self.usecase.features, self.usecase.sources)

    def build(self, cache: str) -> tuple[Dataset, int, int]:
        """The training set, its label times, and how many of them were computed."""
        store = self.store()
        times = label_times(self.usecase, store, self.now)
        dataset, found = build(self.usecase, store, times, self.now, self.root / cache)
        return dataset, len(times), len(times) - found

    def day(self, batch: shop.Orders) -> dict[str, Any]:
        """One more day: CPU seconds with yesterday's parts and from scratch; `before` keeps yesterday's parts.

        Raises:
            HoldfastError: if the two training sets differ.
        """
        self.now += DAY
        shop.commit(self.usecase, self.root / "store", [batch])
        for used in ("scratch", "before"):
            shutil.rmtree(self.root / used, ignore_errors=True)
        shutil.copytree(self.root / "cache", self.root / "before")
        spent, (dataset, times, computed) = seconds(lambda: self.build("cache"))
        whole, (scratch, _, _) = seconds(lambda: self.build("scratch"))
        if dataset.content != scratch.content:
            raise HoldfastError("the training set of one more day is not that of a build from scratch")
        return {"label_times": times, "computed": computed, "day": spent, "scratch": whole, "ratio": spent / whole}

    def retrain(self) -> dict[str, Any]:
        """The newest day once more, as `holdfast train`, against pandas; CPU seconds, and metrics."""
        marks: list[tuple[str, float]] = []
        ours, trained = seconds(
            lambda: train(
                self.usecase,
                self.store(),
                as_of=self.now,
                cache=self.root / "before",
                progress=lambda what, *_: marks.append((what, time.process_time())),
            )
        )
        steps: dict[str, float] = {}
        for (what, start), (_, end) in pairwise(marks):
            steps[what] = steps.get(what, 0.0) + end - start
        times = label_times(self.usecase, self.store(), self.now)
        rebuilt, theirs = seconds(lambda: by_pandas(self.usecase, self.store(), times))
        same(self.build("cache")[0], theirs)
        fitted, measured = seconds(lambda: by_hand(self.usecase, theirs))
        found = trained.manifest.metrics
        return {
            "ours": {"seconds": ours, "steps": steps, "metrics": found["model"], "interval": found["model_interval"]},
            "before": {"seconds": rebuilt + fitted, "rebuild": rebuilt, "fit": fitted, "metrics": measured},
            "ratio": ours / (rebuilt + fitted),
            "inside": all(low <= measured[name] <= high for name, (low, high) in found["model_interval"].items()),
        }


def main(as_json: Annotated[bool, Json] = False) -> None:
    """Compare, and print ratios."""
    out, usecase = Out(as_json), replace(load("cdnow"), label=LABEL)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        os.environ["BENTOML_HOME"] = directory
        bench = Bench(usecase, Path(directory))
        dataset, times, _ = bench.build("cache")
        sizes = {"orders": sum(map(len, bench.history)), "examples": len(dataset), "label_times": times}
        out.say(
            f"{sizes['orders']:,} orders of {CUSTOMERS:,} customers in {DAYS} daily batches; {len(dataset):,} examples "
            f"at {times} label times\n"
        )
        days = [bench.day(batch) for batch in bench.new]
        out.say(table([_day(number, day) for number, day in enumerate(days, start=1)], DAY_HEADER))
        whole = bench.retrain()
    ours, before = whole["ours"], whole["before"]
    trees = ours["steps"]["fit xgboost"]
    others = ours["seconds"] - trees - ours["steps"]["training set"]
    rows = [
        ["training set", f"{ours['steps']['training set']:.1f}", f"{before['rebuild']:.1f}"],
        ["fit and calibrate the trees, measure them", f"{trees:.1f}", f"{before['fit']:.1f}"],
        ["logistic regression, intervals, artefact, gate", f"{others:.1f}", ""],
        ["together, CPU s", f"{ours['seconds']:.1f}", f"{before['seconds']:.1f}"],
        ["share of the trees", f"{trees / ours['seconds']:.0%}", f"{before['fit'] / before['seconds']:.0%}"],
        *(
            [name, f"{own:.4f} {ours['interval'][name]}", f"{before['metrics'][name]:.4f}"]
            for name, own in ours["metrics"].items()
        ),
    ]
    out.say("\n" + table(rows, ["a retrain after one more day", "Holdfast", "pandas"]))
    out.say(
        f"\none more day {max(day['ratio'] for day in days):.1%} of a build from scratch at most; a retrain "
        f"{whole['ratio']:.0%} of before; metrics {'inside' if whole['inside'] else 'OUTSIDE'} the interval"
    )
    out.result({"sizes": sizes, "days": days, "retrain": whole})


DAY_HEADER = ["one more day", "label times computed", "CPU s", "from scratch, CPU s", ""]


def _day(number: int, day: dict[str, Any]) -> list[str]:
    late = ", with orders up to a week late" if number == NEW else ""
    computed = f"{day['computed']} of {day['label_times']}"
    return [f"{number}{late}", computed, f"{day['day']:.2f}", f"{day['scratch']:.2f}", f"{day['ratio']:.1%}"]


if __name__ == "__main__":
    typer.run(main)
