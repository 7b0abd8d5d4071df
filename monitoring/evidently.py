"""Evidently's report of a window against rows of its reference: the only module that knows Evidently.

A report is made after an alarm or on request, never to decide whether there is one: what Evidently calls drift, its
thresholds and its flag of the whole data set are its own rules, and the report says so at its top. It is one HTML file
that asks for nothing from elsewhere. Rows are a sample by the hash of their prediction's id, the same ones each time.
"""

from __future__ import annotations

import heapq
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from model.predictions import Prediction
from model.profile import Column
from model.profile.column import text
from settings import HoldfastError

ROWS = 20_000
"""Most rows of either side: Evidently takes seconds for these, and minutes for a hundred times as many."""
KEPT = 20
"""Reports of a model that are kept, 5 MB each; older ones go."""
NOTE = (
    "What is called drift here, and the flag of the whole data set, is Evidently's own rule and no alarm: the verdict "
    "is on the monitor's page."
)


class ReportError(HoldfastError, ValueError):
    """There are no rows to make a report of."""


def frame(predictions: Iterable[Prediction], columns: Sequence[Column], most: int = ROWS) -> pd.DataFrame:
    """The watched columns of at most so many predictions, those whose ids have the smallest hashes; NaN for missing."""
    kept: list[tuple[int, int, Prediction]] = []
    for place, one in zip(count(), predictions, strict=False):
        entry = (-int.from_bytes(blake2b(one.prediction_id.encode(), digest_size=8).digest()), place, one)
        (heapq.heappush if len(kept) < most else heapq.heappushpop)(kept, entry)
    rows = [[_value(one, column) for column in columns] for _, _, one in sorted(kept, key=lambda entry: -entry[0])]
    return typed(pd.DataFrame(rows, columns=[column.name for column in columns]), columns)


def typed(rows: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Numbers as float64, categories as text; what is missing stays so."""
    for column in columns:
        own = rows[column.name]
        if column.kind == "number":
            rows[column.name] = pd.to_numeric(own, errors="coerce").astype("float64")
        else:
            flag = set(column.levels) <= {"false", "true"}  # an optional one is a number among features
            rows[column.name] = own.map(_flag if flag else _text, na_action="ignore").astype("object")
    return rows


def write(path: Path, reference: pd.DataFrame, window: pd.DataFrame, columns: Sequence[Column], title: str) -> None:
    """The report, whole or not at all.

    Args:
        reference, window: rows as `frame` gives them. title: what they are, in words.

    Raises:
        ReportError: if one side has no row, or no column has a value on both sides.
    """
    if reference.empty or window.empty:
        raise ReportError(f"{title}: there are {len(reference):,} rows of the reference and {len(window):,} of it")
    usable = [one for one in columns if reference[one.name].notna().any() and window[one.name].notna().any()]
    if not usable:
        raise ReportError(f"{title}: no column has a value on both sides")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _run(reference, window, usable).save_html(name)
        text = Path(name).read_text(encoding="utf-8")
        told = f'<p style="margin:1rem;font-family:sans-serif"><strong>{escape(title)}</strong><br>{escape(NOTE)}</p>'
        Path(name).write_text(text.replace("<body>", f"<body>{told}", 1), encoding="utf-8")
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sweep(directory: Path, prefix: str, keep: int = KEPT) -> None:
    """Remove all but the newest reports whose names begin so."""
    own = [path for path in directory.glob("*.html") if path.name.startswith(prefix)]
    for path in sorted(own, key=lambda path: path.stat().st_mtime)[:-keep]:
        path.unlink(missing_ok=True)


def flags(reference: pd.DataFrame, window: pd.DataFrame, columns: Sequence[Column]) -> tuple[set[str], bool]:
    """Which columns Evidently's defaults call drifted, and whether half of them are: what benchmarks compare with."""
    found, whole = set(), False
    for metric in _run(reference, window, columns).dict()["metrics"]:
        said, value = metric["config"], metric["value"]
        if "column" not in said:
            whole = value["share"] >= said["drift_share"]
        elif (value < said["threshold"]) == ("p_value" in said["method"]):
            found.add(said["column"])
    return found, whole


def _run(reference: pd.DataFrame, window: pd.DataFrame, columns: Sequence[Column]) -> Any:
    os.environ["DO_NOT_TRACK"] = "1"  # nothing is told to its makers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that it imports, and of columns that are constant
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        names: Mapping[str, list[str]] = {
            kind: [column.name for column in columns if column.kind == kind] for kind in ("number", "category")
        }
        about = DataDefinition(numerical_columns=names["number"], categorical_columns=names["category"])
        order = [column.name for column in columns]
        sides = [Dataset.from_pandas(side[order], data_definition=about) for side in (window, reference)]
        return Report([DataDriftPreset()]).run(*sides)


def _value(one: Prediction, column: Column) -> Any:
    if column.role == "score":
        return one.probability
    if column.role == "decision":
        return one.decision
    for own in (one.attributes, one.aggregates, one.features):
        if column.name in own:
            return own[column.name]
    return None


def _flag(value: Any) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def _text(value: Any) -> str:
    return text(value) or ""
