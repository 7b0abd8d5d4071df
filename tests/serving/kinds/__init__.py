"""A use case with a field of every kind: rows of it, and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from features import clock
from features.contract import SAFE_INTEGER, columns
from features.etl.ingest import ingest
from features.store.parquet import ParquetStore
from tests.model.toys import AS_OF, write_csv
from tests.serving.kinds.kinds import USECASE, Fields
from training.train import train

DIRECTORY = Path(__file__).parent
COLUMNS = {column.name: column for column in columns(Fields)}


def rows(count: int, seed: int = 0, *, extreme: bool = True) -> list[dict[str, Any]]:
    """Requests; a value that may be missing is so in one of four, and bounds come often."""
    random = np.random.default_rng(seed)

    def one(name: str) -> Any:
        column = COLUMNS[name]
        if (column.nullable or column.blank is not None) and random.random() < 0.25:
            return None
        if column.kind == "category":
            return str(random.choice(column.levels))
        if column.kind == "flag":
            return bool(random.random() < 0.5)
        low = -SAFE_INTEGER if column.low is None else int(column.low)
        high = SAFE_INTEGER if column.high is None else int(column.high)
        if column.kind == "number":
            return float(random.choice([low, -0.0, random.random()]) if extreme else random.random())
        if extreme and random.random() < 0.2:
            return int(random.choice([low, high]))
        return int(random.integers(max(low, -500), min(high, 500)))

    return [{"who": f"Kunde {i} ü", "attributes": {name: one(name) for name in COLUMNS}} for i in range(count)]


def trained(root: Path) -> str:
    """The tag of a model of 600 rows, whose label leans on what is missing too."""
    store = ParquetStore(root / "store", USECASE.features, USECASE.sources)
    random, lines = np.random.default_rng(1), []
    for place, row in enumerate(rows(600, seed=1, extreme=False)):
        given = row["attributes"]
        lean = 2.0 * given["flag"] + 3 * (given["maybe_count"] is None) - 3 * (given["maybe_level"] == "a")
        gone = random.random() < 1 / (1 + np.exp(1 - lean))
        lines.append([*(_text(name, value) for name, value in given.items()), f"k{place}", _text("flag", gone)])
    path = write_csv(root / "records.csv", [*COLUMNS, "who", "gone"], lines)
    outcome = ingest(store, "records", path, now=AS_OF, backfill=True)
    if outcome.new != 600:
        raise AssertionError(f"the use case's own rows were quarantined: {store.quarantined()[:3]}")
    return train(USECASE, store, as_of=AS_OF, cache=root / "training").manifest.tag


def _text(name: str, value: Any) -> str:
    """A value as a file has it."""
    if value is None:
        return ""
    kind = COLUMNS[name].kind
    if kind == "time":
        return clock.rfc3339(value)
    if kind == "flag":
        return "yes" if value else "no"
    return f"{value / 100:.2f}" if kind == "money" else str(value)
