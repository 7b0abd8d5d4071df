"""Checks for leaks: what a training set may know of its labels without cheating. A leak fails the run, by name.

What else keeps the future out: labels are decided before they are used (`dataset.build`), aggregates are the same ones
when the events from the label time on are hidden (`dataset.check_cut`), and the label's column is no field of the
request (`usecases.UseCase`).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from features.clock import rfc3339
from features.contract import column_of
from features.featureset import FeatureSet
from features.rows import REQUEST_TIME
from features.store.base import EventStore
from model.numeric import Floats
from training.dataset import Dataset, LeakageError
from training.split import Split
from usecases import Absence, UseCase

LIMIT, SHIELDED = 0.95, 0.99
"""ROC-AUC that an input may have alone. Shielded are those made of events before the label time, for a label about what
comes after it: an absence is often plain from the absence before. Fields of the request that they are made of too must
be inputs, which are tried alone. Measured: cdnow's highest is .83 and telco's .78; of a gym whose members just stop
coming, .989, honestly (docs/adr/0020-leaks.md)."""
CERTAIN, SHARE = 0.99, 0.05
"""A value marks the rarer outcome if so many of its examples have it, and it holds such a share of that outcome."""
VALUES = 20
"""Of an input with at most so many different values, each is looked at."""
LEAST = 20
"""Examples of either outcome that a part needs for its figures to tell anything."""
SEVERAL = 100
"""Examples of one value in the test part that tell enough alone, whatever those of the training part say."""
UNDATED = (
    "cannot be checked: what fields of records tell of the future, as records have no time of their own and were "
    "loaded as history: they count as known from the beginning, whenever they were written"
)
DEPTH, ROWS = 4, 20_000
"""Of the tree that one input gets alone: up to 16 pieces, on as many examples."""


def check(usecase: UseCase, store: EventStore, parts: Split) -> list[str]:
    """Every check; what was found, in a line each.

    Raises:
        LeakageError: naming the input, or the parts of the split, and what to do.
    """
    check_parts(usecase, parts)
    values = alone(usecase, parts)
    name = max(values, key=lambda one: values[one]) if values else ""
    found = f"{name} alone has ROC-AUC {values[name]:.4f}" if values else "too few examples to try each input alone"
    undated = _undated(usecase, store)
    limit = ", as far as can be checked" if undated else ""
    return [f"no leak found in {len(usecase.features.inputs)} inputs{limit}: {found}", *undated]


def check_parts(usecase: UseCase, parts: Split) -> None:
    """No example is in two parts; no key where the label has no time, no label window where it has.

    Raises:
        LeakageError: naming the two parts and what they share.
    """
    for (one, left), (other, right) in combinations(parts.parts().items(), 2):
        if not isinstance(usecase.label, Absence):
            shared = np.intersect1d(left.key, right.key)
            if len(shared):
                raise LeakageError(
                    f"{usecase.name}: {len(shared):,} keys are in the {one} part and in the {other} part, such as "
                    f"{str(shared[0])!r}: each key belongs on one side"
                )
        elif int(left.t.max()) + usecase.label.horizon > int(right.t.min()):
            raise LeakageError(
                f"{usecase.name}: the {one} part has labels of {rfc3339(int(left.t.max()))}, which look "
                f"{usecase.label.horizon // 86_400_000_000} days ahead, into the {other} part, which begins at "
                f"{rfc3339(int(right.t.min()))}: leave a horizon between label times of different parts"
            )
    for name, part in parts.parts().items():
        example = np.lexsort((part.t, part.key))
        again = (part.key[example][1:] == part.key[example][:-1]) & (part.t[example][1:] == part.t[example][:-1])
        if again.any():
            key = str(part.key[example][1:][again][0])
            raise LeakageError(f"{usecase.name}: {key!r} is in the {name} part twice at one label time")


def alone(usecase: UseCase, parts: Split) -> dict[str, float]:
    """ROC-AUC of a shallow tree on each input, by name, on the valid or the test part, whichever is larger; empty where
    there are too few examples.

    A tree finds what is not monotone too, what is missing, and one level of a category. What was written once the
    labels of one part were known tells those, and the other ones less: so both parts are looked at.

    Raises:
        LeakageError: naming an input that is the label, tells nearly all of it, or marks an outcome.
    """
    features = usecase.features
    if REQUEST_TIME in features.inputs:
        raise LeakageError(
            f"{usecase.name}: input {REQUEST_TIME!r} is another one in each part and whenever the model is asked, so "
            "it tells which examples these are and nothing else: make a row feature of what matters about it"
        )
    some = {name: _some(part) for name, part in parts.parts().items()}
    told = {name: one for name, one in some.items() if min(one.label.sum(), (~one.label).sum()) >= LEAST}
    if "train" not in told or len(told) == 1:
        return {}
    matrices = {name: features.matrix(one.features) for name, one in told.items()}
    values, start = {}, 0
    for name in features.inputs:
        columns = slice(start, start + len(features.levels[name]))
        start = columns.stop
        values[name] = _alone(usecase, name, told, {part: matrix[:, columns] for part, matrix in matrices.items()})
    return values


def _alone(usecase: UseCase, name: str, parts: dict[str, Dataset], matrices: dict[str, Floats]) -> float:
    """The largest ROC-AUC of one input on the parts, by name, that are not train."""
    if all(_same(matrices[part], one.label) for part, one in parts.items()):
        raise LeakageError(f"{usecase.name}: input {name!r} is the label itself: take it out of the model's inputs")
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAST, random_state=0)
    tree.fit(matrices["train"], parts["train"].label)
    found = {
        part: float(roc_auc_score(one.label, tree.predict_proba(matrices[part])[:, 1]))
        for part, one in parts.items()
        if part != "train"
    }
    if name in usecase.telling:
        return max(found.values())
    features, origins = usecase.features, _origins(usecase.features, name)
    carried, absence = origins & set(features.fields), isinstance(usecase.label, Absence)
    shielded = absence and origins != carried and carried <= {*features.inputs} - {name}
    limit = SHIELDED if shielded else LIMIT
    remedy = (
        f"find out when it is written: what is known only after the label must not be an input. If it is right, "
        f"declare telling=({name!r},) in the use case, with the reason"
    )
    for part, auc in found.items():
        if _surely(auc, parts[part].label) > limit:
            raise LeakageError(
                f"{usecase.name}: input {name!r} alone nearly tells the label: ROC-AUC {auc:.4f} on the {part} part, "
                f"where {limit} is believable; {remedy}"
            )
    if carried or not absence:
        _unmarked(usecase, name, parts, remedy)
    return max(found.values())


def _unmarked(usecase: UseCase, name: str, parts: dict[str, Dataset], remedy: str) -> None:
    """Refuse an input of which one value, or being there or missing, is certain of the rarer outcome: in train and in
    another part, or in many examples of the test part."""
    rarer = bool(parts["train"].label.mean() < 0.5)
    pieces = {part: _pieces(one.features[name]) for part, one in parts.items()}

    def certain(part: str, value: str, least: int, share: float) -> bool:
        here = parts[part].label[pieces[part].get(value, [])] == rarer
        whole = (parts[part].label == rarer).sum()
        return len(here) >= least and bool(here.mean() >= CERTAIN and here.sum() >= share * whole)

    for value in {**pieces["train"], **pieces.get("test", {})}:
        again = any(certain(part, value, LEAST // 2, 0) for part in parts if part != "train")
        if again and certain("train", value, LEAST, SHARE):
            marked, kind = "train", "training"
        elif "test" in parts and certain("test", value, SEVERAL, SHARE):
            marked, kind = "test", "test"
        else:
            continue
        here = parts[marked].label[pieces[marked][value]] == rarer
        raise LeakageError(
            f"{usecase.name}: input {name!r} marks an outcome: of {len(here):,} {kind} examples where it is {value}, "
            f"{here.mean():.1%} are {usecase.decisions[int(rarer)]!r}, which is the rarer outcome; {remedy}"
        )


def _pieces(values: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Positions of each value, by its name, where there are at most VALUES; and of what is there, and missing."""
    missing = values == "" if values.dtype.kind == "U" else values != values
    different = np.unique(values[~missing])
    found = {"missing": np.flatnonzero(missing), "there": np.flatnonzero(~missing)}
    if len(different) <= VALUES:
        found |= {repr(value.item()): np.flatnonzero(values == value) for value in different}
    return {name: rows for name, rows in found.items() if len(rows)}


def _surely(auc: float, label: Any) -> float:
    """The least it may be, given how few examples it was measured on: one-sided, 95 % (Hanley and McNeil, Radiology
    1982, equation 1)."""
    positive, negative = int(label.sum()), int((~label).sum())
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positive - 1) * (first - auc**2) + (negative - 1) * (second - auc**2)
    return auc - 1.645 * float(np.sqrt(max(variance, 0.0) / (positive * negative)))


def _same(matrix: Floats, label: Any) -> bool:
    """Whether some column says just what the label says, in other words or not."""
    for column in matrix.T:
        missing = np.isnan(column)
        plain = np.where(missing, np.inf, column)
        if len(np.unique(plain)) == 2 and len(np.unique(plain[label])) == len(np.unique(plain[~label])) == 1:
            return True
    return False


def _origins(features: FeatureSet, name: str) -> set[str]:
    """The fields of the request, aggregates and times that an input is, or is made of."""
    made = {function.__name__: parameters for function, parameters in features.resolved}
    return set().union(*(_origins(features, one) for one in made[name])) if name in made else {name}


def _some(part: Dataset) -> Dataset:
    """At most ROWS of the examples, evenly."""
    if len(part) <= ROWS:
        return part
    return part.take(np.linspace(0, len(part) - 1, ROWS).astype(np.int64))


def _undated(usecase: UseCase, store: EventStore) -> list[str]:
    """What cannot be checked: records without a time of their own that were loaded as history."""
    source = usecase.sources.get("records")
    if source is None or usecase.features.attributes is None or not isinstance(usecase.label, Absence):
        return []
    if column_of(source.contract, "time") or column_of(source.contract, "arrival"):
        return []
    if not any(batch.table == "records" and batch.ingested_at == "backfill" for batch in store.batches()):
        return []
    return [UNDATED]
