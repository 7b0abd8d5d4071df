"""Two small use cases for the tests of model/ and training/: `pulse` has events, `plan` has attributes only."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features import clock
from features.aggregates import Aggregate, Where
from features.clock import DAY
from features.contract import Contract, Key, Money, Timestamp
from features.etl.ingest import ingest
from features.featureset import FeatureSet
from features.source import Source
from features.store.parquet import ParquetStore
from model import artefact
from training import fit
from training.train import Trained, train
from usecases import Absence, Costs, Outcome, UseCase

Array = NDArray[Any]
START = clock.parse("2020-01-01T00:00:00Z")
DAYS = 240
AS_OF = START + DAYS * DAY
COSTS = Costs(contact=1.0, loss=20.0, rescued=0.2)


class Visit(Contract):
    """One visit."""

    customer_id: Key
    visited_at: Timestamp
    pages: Annotated[int, Field(ge=1, le=1_000)]
    paid: Annotated[Money, Field(ge=0, le=1_000_00)]
    device: Literal["phone", "desktop"]


class Member(Contract):
    """What a request says of a member."""

    months: Annotated[int, Field(ge=0, le=600)]
    region: Literal["north", "south", "west"]
    premium: bool
    rating: Annotated[float, Field(ge=0, le=5)] | None


class MemberRecord(Member):
    """A member, and whether they left."""

    member_id: Key
    gone: bool


def mean_paid(paid: Array, visits: Array) -> Array:
    """Mean cents per visit; 0 without visits."""
    return np.divide(paid, visits, out=np.zeros(len(visits)), where=visits > 0)


def log_visits(visits: Array) -> Array:
    """log(1 + visits)."""
    return np.log1p(visits)


def recency_days(last_visit_at: Array, request_time: Array) -> Array:
    """Days since the last visit."""
    return (request_time - last_visit_at) / DAY


def recency_weeks(last_visit_at: Array, request_time: Array) -> Array:
    """Weeks since the last visit: what a changed feature looks like."""
    return (request_time - last_visit_at) / DAY / 7


def above_mean(visits: Array) -> Array:
    """A feature that depends on the rows beside it: a mistake."""
    return np.asarray(visits - visits.mean())


def log_months(months: Array) -> Array:
    """log(1 + months)."""
    return np.log1p(months)


AGGREGATES = (
    Aggregate.count("visits"),
    Aggregate.count("visits_30d", window=30 * DAY),
    Aggregate.count("phone_visits_60d", window=60 * DAY, where=[Where("device", "=", "phone")]),
    Aggregate.sum("paid", "paid"),
    Aggregate.max("most_pages", "pages", window=90 * DAY),
    Aggregate.count_distinct("page_counts", "pages"),
    Aggregate.max("last_visit_at", "visited_at"),
)
INPUTS = ("visits", "visits_30d", "phone_visits_60d", "paid", "most_pages", "mean_paid", "log_visits")
VISITS = Source(Visit)
MEMBERS = Source(MemberRecord)


def pulse(
    *,
    recency: Any = recency_days,
    more: Sequence[Any] = (),
    label: Absence | None = None,
    cadence: int = DAY,
    costs: Costs = COSTS,
) -> UseCase:
    """Visitors who stop coming; `recency` and `more` are row features."""
    rows = (mean_paid, log_visits, recency, *more)
    return UseCase(
        name="pulse",
        title="Pulse: no visit in the next 30 days",
        sources={"events": VISITS},
        features=FeatureSet(
            events=Visit,
            aggregates=AGGREGATES,
            rows=rows,
            inputs=(*INPUTS, recency.__name__, *(function.__name__ for function in more)),
        ),
        label=label or Absence(horizon=30 * DAY, every=30 * DAY, first=60 * DAY),
        costs=costs,
        cadence=cadence,
    )


def plan() -> UseCase:
    """Members who left, told by their attributes."""
    return UseCase(
        name="plan",
        title="Plan: the member leaves",
        sources={"records": MEMBERS},
        features=FeatureSet(
            attributes=Member, rows=(log_months,), inputs=("months", "region", "premium", "rating", "log_months")
        ),
        label=Outcome("gone"),
        costs=COSTS,
    )


@dataclass(frozen=True)
class Toy:
    """A use case with its events, ready to train."""

    usecase: UseCase
    store: ParquetStore
    cache: Path
    as_of: int = AS_OF

    def train(self, algorithm: str = "xgboost", parent: str | None = None) -> Trained:
        """A model of everything known."""
        return train(self.usecase, self.store, as_of=self.as_of, cache=self.cache, algorithm=algorithm, parent=parent)


def visits(seed: int, customers: int = 220, days: int = DAYS) -> list[tuple[str, int, int, int, str]]:
    """Visits of customers who come at their own pace until, mostly, they stop."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(customers):
        first = int(random.integers(0, days // 2))
        last = min(days, first + 10 + int(random.exponential(120)))
        pace = float(random.uniform(3, 14))
        moments = first + np.cumsum(random.exponential(pace, 200))
        for moment in moments[moments < last]:
            device = "phone" if random.random() < 0.6 else "desktop"
            rows.append(
                (
                    f"c{number}",
                    START + int(moment * DAY),
                    int(random.integers(1, 30)),
                    int(random.integers(0, 9_000)),
                    device,
                )
            )
    return rows


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """A CSV file as a team would hand it over."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def ingest_visits(
    usecase: UseCase, root: Path, rows: Iterable[tuple[str, int, int, int, str]], *, now: int = AS_OF
) -> ParquetStore:
    """A store under `root` after one more batch of visits, loaded as history."""
    store = ParquetStore(root / "store", usecase.features, usecase.sources)
    root.mkdir(parents=True, exist_ok=True)
    written = [(key, clock.rfc3339(at), pages, f"{paid / 100:.2f}", device) for key, at, pages, paid, device in rows]
    path = write_csv(root / "visits.csv", list(Visit.model_fields), written)
    outcome = ingest(store, "events", path, now=now, backfill=True)
    if outcome.quarantined:
        raise AssertionError(f"the toy's own rows were quarantined: {store.quarantined()[:3]}")
    return store


def pulse_toy(root: Path, seed: int = 1, usecase: UseCase | None = None, customers: int = 220) -> Toy:
    """`pulse` with generated visits, under `root`."""
    own = usecase or pulse()
    return Toy(own, ingest_visits(own, root, visits(seed, customers)), root / "training")


def plan_toy(root: Path, seed: int = 1, members: int = 700, usecase: UseCase | None = None) -> Toy:
    """`plan` with generated members, under `root`."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(members):
        months, premium = int(random.integers(0, 72)), bool(random.random() < 0.4)
        region = ["north", "south", "west"][int(random.integers(0, 3))]
        rating = "" if random.random() < 0.2 else f"{random.uniform(0, 5):.3f}"
        left = random.random() < 1 / (1 + np.exp(0.05 * months - 1 + premium - (region == "west")))
        rows.append((months, region, premium, rating, f"m{number}", bool(left)))
    root.mkdir(parents=True, exist_ok=True)
    own = usecase or plan()
    store = ParquetStore(root / "store", own.features, own.sources)
    outcome = ingest(
        store, "records", write_csv(root / "members.csv", list(MemberRecord.model_fields), rows), now=AS_OF
    )
    if outcome.new != members:
        raise AssertionError(f"the toy's own rows were quarantined: {store.quarantined()[:3]}")
    return Toy(own, store, root / "training")


def copy_of(directory: Path, to: Path) -> Path:
    """A copy of an artefact, to be broken."""
    return Path(shutil.copytree(directory, to / directory.parent.name / directory.name))


def reseal(directory: Path, **changes: Any) -> artefact.Manifest:
    """Seal an artefact anew after its files or its manifest changed, so that every digest is right again."""
    stored = artefact.read_manifest(directory).model_dump() | changes
    stored["files"] = {name: artefact.digest(directory / name) for name in stored["files"]}
    stored["content_digest"] = artefact.content_digest(stored, stored["files"])
    manifest = artefact.Manifest(**stored)
    artefact.seal(directory, manifest)
    return manifest


def edit_json(path: Path, change: Any) -> None:
    """Load a JSON file, let `change` alter it in place, and write it back."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def retrain(root: str) -> str:
    """In a process of its own, with all threads: ingest and train both toys; digests and files as JSON."""
    fit.ONE_THREAD = 0
    manifests = {
        "pulse": pulse_toy(Path(root) / "pulse").train("xgboost").manifest,
        "plan": plan_toy(Path(root) / "plan").train("logistic").manifest,
    }
    return json.dumps({name: [manifest.content_digest, manifest.files] for name, manifest in manifests.items()})
