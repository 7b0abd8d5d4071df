"""A use case: sources, features, label, costs. A module of usecases/ that defines `USECASE` is one."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from features import clock
from features.clock import DAY
from features.contract import ContractError, column_of, columns
from features.etl.fetch import Sample
from features.featureset import FeatureSet
from features.source import Source
from settings import HoldfastError
from usecases._error import UseCaseError
from usecases._watch import Watch

HERE = Path(__file__).parent
BESIDE = frozenset(
    """
    attributes explain top row probability decision threshold model fingerprint as_of known degraded request_id
    prediction_id explanation
    """.split()
)
"""What stands beside the key in a request or an answer, and so is no name for a key."""


@dataclass(frozen=True)
class Absence:
    """Label: true where the key has no event in [t, t + horizon), in microseconds.

    Args:
        every: distance of label times in training; first: how much history the first one needs.
    """

    horizon: int
    every: int
    first: int


@dataclass(frozen=True)
class Outcome:
    """Label: a flag of the record contract, known with the record; such a use case has one label time, now."""

    column: str


@dataclass(frozen=True)
class Costs:
    """What a decision costs or earns, in any one currency; the threshold is where acting starts to pay.

    Args:
        contact: of acting on one customer; loss: of one churner left alone;
        rescued: share of contacted churners who then stay.
    """

    contact: float
    loss: float
    rescued: float

    def __post_init__(self) -> None:
        if not (self.contact >= 0 and self.loss > 0 and 0 < self.rescued <= 1):
            raise UseCaseError(f"{self}: a contact costs nothing or more, a loss something, and some are rescued")

    @property
    def threshold(self) -> float:
        """Act where p * rescued * loss > contact: the probability above which the expected gain is positive."""
        return self.contact / (self.rescued * self.loss)


@dataclass(frozen=True)
class Slice:
    """A way to part examples, each part measured by itself: by the levels of a category, by a flag, or by a number.

    Args:
        feature: an input or a field of the request.
        at: where parts of a number begin, ascending: (2, 5) makes < 2, 2 to < 5, >= 5. What is missing is a part too.
    """

    feature: str
    at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Floors:
    """What a model must reach to be promoted; no floor is part of a model or of its fingerprint.

    Args:
        roc_auc: at least, on held-out examples; ece: expected calibration error, at most;
        margin: a ROC-AUC that is shown to be lower than the champion's by more is refused; less is noise;
        loss: which share of the champion's skill (training/promotion.py) may be lost at most;
        slowdown: how many times the champion's CPU time scoring may take.
    """

    roc_auc: float = 0.6
    ece: float = 0.06
    margin: float = 0.005
    loss: float = 0.068
    slowdown: float = 3.0

    def __post_init__(self) -> None:
        beside = 0 <= self.margin < 0.5 and 0 <= self.loss <= 1 and self.slowdown >= 1
        if not (beside and 0.5 <= self.roc_auc < 1 and 0 < self.ece <= 1):
            raise UseCaseError(
                f"{self}: roc_auc in [.5, 1), ece in (0, 1], margin in [0, .5), loss in [0, 1], slowdown 1 or more"
            )


@dataclass(frozen=True)
class UseCase:
    """Everything that makes one model, declared.

    Args:
        name: also the name of its model; sources: `events` and `records`, either or both.
        label_time: RFC 3339 time of `holdfast evaluate`'s cross-validation; None means as late as labels allow.
        cadence: microseconds between materializations; label times are snapped to it, as serving's will be.
        decisions: what the answer says below and above the threshold.
        slices: what the metrics are also told by; floors: what a model must reach to be promoted.
        telling: inputs that may nearly tell the label by themselves, where the leakage check would refuse them.
        watch: how monitoring watches the model.

    Raises:
        UseCaseError: if the parts do not fit together. ContractError: if the key has a name that is taken.
    """

    name: str
    title: str
    sources: Mapping[str, Source]
    features: FeatureSet
    label: Absence | Outcome
    costs: Costs
    label_time: str | None = None
    cadence: int = DAY
    decisions: tuple[str, str] = ("stay", "churn")
    sample: Sample | None = None
    slices: tuple[Slice, ...] = ()
    floors: Floors = Floors()
    telling: tuple[str, ...] = ()
    watch: Watch = field(default_factory=Watch)
    key: str = field(init=False)

    def now(self, fixed: datetime | None) -> int:
        """The data's clock, microseconds: `fixed` (HOLDFAST_NOW), else the end of historical sample data, else now."""
        if fixed is None and self.sample is not None and self.sample.now is not None:
            return clock.parse(self.sample.now)
        return clock.now(fixed)

    def __post_init__(self) -> None:
        unknown = set(self.sources) - {"events", "records"}
        if unknown or not self.sources:
            raise UseCaseError(f"{self.name}: sources are 'events' and 'records', not {sorted(unknown)}")
        keys = {column.name for s in self.sources.values() if (column := column_of(s.contract, "key"))}
        if len(keys) != 1:
            raise UseCaseError(f"{self.name}: events and records name the key differently: {', '.join(sorted(keys))}")
        object.__setattr__(self, "key", keys.pop())
        if self.key in BESIDE:
            raise ContractError(
                f"{self.name}: the key cannot be called {self.key!r}: requests and answers have a field of that name "
                "beside it; choose another name"
            )
        events = self.sources.get("events")
        if (events.contract if events else None) is not self.features.events:
            raise UseCaseError(f"{self.name}: the feature set and the source of events have different contracts")
        if self.features.attributes is not None:
            if "records" not in self.sources:
                raise UseCaseError(f"{self.name}: requests carry attributes, so training needs a source of records")
            stored = {column.name: column for column in columns(self.sources["records"].contract)}
            for column in columns(self.features.attributes):
                if stored.get(column.name) != column:
                    raise UseCaseError(f"{self.name}: attribute {column.name!r} is not the same in the record contract")
        if isinstance(self.label, Absence) and events is None:
            raise UseCaseError(f"{self.name}: a label by absence needs events")
        if isinstance(self.label, Outcome):
            if "records" not in self.sources:
                raise UseCaseError(f"{self.name}: the outcome {self.label.column!r} needs a source of records")
            recorded = columns(self.sources["records"].contract)
            if self.label.column not in [c.name for c in recorded if c.kind == "flag" and not c.nullable]:
                raise UseCaseError(f"{self.name}: the outcome {self.label.column!r} is no bool of the record contract")
            if self.label.column in self.features.fields:
                raise UseCaseError(f"{self.name}: the outcome {self.label.column!r} is carried by the request: a leak")
        taken = sorted({"score", "decision", "outcome"} & set(self.features.inputs))
        if taken:
            raise UseCaseError(
                f"{self.name}: the input {taken[0]!r} has the name of an answer, as monitoring watches them: rename it"
            )
        for name in self.telling:
            if name not in self.features.inputs:
                raise UseCaseError(f"{self.name}: telling {name!r} is no input of the model")
        for one in self.slices:
            self._check(one)

    def _check(self, one: Slice) -> None:
        features, where = self.features, f"{self.name}: slice by {one.feature!r}"
        if one.feature not in features.inputs and one.feature not in features.fields:
            known = ", ".join(dict.fromkeys([*features.inputs, *features.fields]))
            raise UseCaseError(f"{where}, which is no input and no field of the request; there are {known}")
        if [other.feature for other in self.slices].count(one.feature) > 1:
            raise UseCaseError(f"{where} is declared twice")
        kind = features.fields[one.feature].kind if one.feature in features.fields else "number"
        if kind in ("key", "id"):
            raise UseCaseError(f"{where}, a {kind}: every example would be a part of its own")
        if kind in ("category", "flag") and one.at:
            raise UseCaseError(f"{where}, a {kind}, which has its parts already: leave out at={one.at}")
        if kind not in ("category", "flag") and not one.at:
            raise UseCaseError(f"{where}, a number: say where its parts begin, as in Slice({one.feature!r}, at=(2, 5))")
        if any(not low < high for low, high in pairwise((-math.inf, *one.at, math.inf))):
            raise UseCaseError(f"{where}: at={one.at} is not ascending, or not finite")


def names(own: Path | None = None) -> list[str]:
    """Names of all use cases: the built-in ones and those of the directory `own`.

    Raises:
        UseCaseError: if there is no such directory.
    """
    if own is not None and not own.is_dir():
        raise UseCaseError(f"HOLDFAST_USECASES={own}: no such directory")
    files = [*HERE.glob("*.py"), *(own.glob("*.py") if own else [])]
    return sorted({file.stem for file in files if file.stem not in ("__init__", "usecase") and file.stem[0] != "_"})


def load(name: str, own: Path | None = None) -> UseCase:
    """The use case of that name; a module in `own` goes before a built-in one.

    Raises:
        UseCaseError: if there is none, or its module defines no USECASE of that name.
    """
    if name not in names(own):
        raise UseCaseError(f"no use case {name!r}; there are {', '.join(names(own))} (HOLDFAST_USECASES adds yours)")
    file = own.absolute() / f"{name}.py" if own else None
    try:
        module = _module(f"usecases.{name}", file if file is not None and file.exists() else None)
    except HoldfastError as error:
        raise UseCaseError(f"use case {name}: {error}") from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = error.lineno if isinstance(error, SyntaxError) else where.lineno
        raise UseCaseError(
            f"use case {name} cannot be imported: {type(error).__name__}: {error} "
            f"({getattr(error, 'filename', None) or where.filename}, line {line})"
        ) from error
    usecase = getattr(module, "USECASE", None)
    if not isinstance(usecase, UseCase) or usecase.name != name:
        found = f"its USECASE is named {usecase.name!r}" if isinstance(usecase, UseCase) else "it has no USECASE"
        raise UseCaseError(f"{module.__file__} defines no USECASE named {name!r}: {found}")
    return usecase


def _module(name: str, file: Path | None) -> types.ModuleType:
    """The module of that name; from `file`, if given, also where another one has been loaded under the name."""
    if file is None or getattr(sys.modules.get(name), "__file__", None) == str(file):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UseCaseError(f"{file} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
