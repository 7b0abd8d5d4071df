"""Replay: a logged answer is computed again with the artefact of then, in three stages, each compared to the last bit.

answer      margin, probability, decision and threshold, from the logged features: takes the artefact alone
features    from the logged aggregates, attributes and request time: takes the feature code of then
aggregates  from the events, as of the logged time and batch: takes the feature code and the plain key
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from features import aggregates as agg
from features.clock import parse, rfc3339
from features.featureset import FeatureSet
from features.store.base import EventStore, Spine
from model import gate, golden
from model.estimators import spelled
from model.numeric import Floats, ulps
from model.predictions import Prediction
from model.scorer import answers

Value = str | int | float | bool | None
Name = Literal["answer", "features", "aggregates"]


@dataclass(frozen=True)
class Difference:
    """What is in the log, and what it is now; None where there is no such value. `ulps`: how many floats lie between
    two numbers."""

    name: str
    logged: Value
    now: Value
    ulps: int | None = None


@dataclass(frozen=True)
class Stage:
    """How many values were compared, which of them differ, and, where none was, why not."""

    name: Name
    compared: int
    differences: Sequence[Difference] = ()
    why: str = ""
    about: str = ""
    """As of when, or under which condition, it was computed again."""


@dataclass(frozen=True)
class Replayed:
    """A prediction and its stages."""

    prediction: Prediction
    stages: tuple[Stage, ...]

    @property
    def equal(self) -> bool:
        """Whether all that was computed again is what was logged."""
        return not any(stage.differences for stage in self.stages)


@dataclass
class Events:
    """What aggregates are computed from again.

    Args:
        key: the plain key of a prediction, or None where nobody knows it.
        secret: why not, in words.
    """

    store: EventStore
    key: Callable[[Prediction], str | None]
    secret: str = ""
    _committed: list[tuple[int, int]] = field(default_factory=list)

    def upto(self, one: Prediction) -> int:
        """The last batch that the answer could see: the logged one; where none was, the last one committed by then."""
        if one.batch is not None:
            return one.batch
        return max((number for number, t in self._times() if t <= one.answered_at), default=0)

    def last(self) -> int:
        """Number of the last batch there is."""
        return max((number for number, _ in self._times()), default=0)

    def _times(self) -> list[tuple[int, int]]:
        if not self._committed:
            self._committed = [(batch.number, parse(batch.committed_at)) for batch in self.store.batches()]
        return self._committed


class Replay:
    """Computes again what one model answered.

    Args:
        directory: of its artefact. features: of the code here, be they the model's or others.
        enforce: as `gate.load` takes it.

    Attributes:
        other: why the features are not computed again; "" where the code here is the model's.
        how: how close is equal, in words.

    Raises:
        GateRefused: if the artefact would not answer here as it did when it was trained.
    """

    def __init__(self, directory: Path, features: FeatureSet, *, enforce: bool = True) -> None:
        self.answering = gate.load_answering(directory, enforce=enforce)
        manifest = self.manifest = self.answering.manifest
        self.features, self.other = features, ""
        if manifest.fingerprint == features.fingerprint:
            gate.load(directory, features, enforce=enforce)  # the golden rows through every feature
            self.columns = list(features.columns)
        else:
            self.other = (
                f"{manifest.tag} has other features ({manifest.fingerprint[:16]}) than the code here computes "
                f"({features.fingerprint[:16]}): check out {_commit(manifest.git_commit)}, and replay there"
            )
            self.columns = self.answering.model.columns
        self.tolerance = 0 if self.answering.exact else golden.ULPS
        self.how = "to the last bit" if self.answering.exact else f"within {golden.ULPS} ulp (another numeric baseline)"

    def __call__(self, predictions: Sequence[Prediction], events: Events | None) -> list[Replayed]:
        """The predictions of this model, each with its stages; `events` is None where the use case has none.

        Raises:
            StoreError: if the events cannot be read.
        """
        logged = [self._row(one) for one in predictions]
        stages = [self._answers(predictions, logged), self._features(predictions, logged)]
        if events is not None and self.features.sql:
            stages.append(self._aggregates(predictions, events))
        return [Replayed(one, own) for one, own in zip(predictions, zip(*stages, strict=True), strict=True)]

    def _row(self, one: Prediction) -> Floats | list[Difference]:
        """The logged features in the model's order, or which are missing or no numbers."""
        known = {spelled(name): value for name, value in one.features.items()} | one.features
        wrong = [Difference(name, known.get(name), None) for name in self.columns if not _number(known.get(name))]
        wrong += [Difference(name, one.features[name], None) for name in self._beyond(one)]
        return wrong or np.array([known[name] for name in self.columns], dtype=np.float64)

    def _beyond(self, one: Prediction) -> list[str]:
        there = set(self.columns)
        return [name for name in one.features if name not in there and spelled(name) not in there]

    def _answers(self, predictions: Sequence[Prediction], logged: Sequence[Floats | list[Difference]]) -> list[Stage]:
        a, whole = self.answering, [row for row in logged if isinstance(row, np.ndarray)]
        margin = a.model.margin(np.stack(whole)) if whole else np.empty(0)
        probability, positive = answers(margin, a.calibration, a.decision)
        words = (a.decision.negative, a.decision.positive)
        computed = iter(zip(margin.tolist(), probability.tolist(), positive.tolist(), strict=True))
        stages = []
        for one, row in zip(predictions, logged, strict=True):
            if isinstance(row, list):
                stages.append(Stage("answer", 0, row))
                continue
            m, p, yes = next(computed)
            now = {"margin": m, "probability": p, "decision": words[yes], "threshold": a.decision.threshold}
            now["fingerprint"] = self.manifest.fingerprint
            stages.append(self._stage("answer", {name: getattr(one, name) for name in now}, now))
        return stages

    def _features(self, predictions: Sequence[Prediction], logged: Sequence[Floats | list[Difference]]) -> list[Stage]:
        if self.other:
            return [Stage("features", 0, why=self.other)] * len(predictions)
        stages = []
        for row, now in zip(logged, self._computed(predictions), strict=True):
            if isinstance(row, list):
                stages.append(Stage("features", 0, why="the log does not hold every feature"))
            elif isinstance(now, str):
                stages.append(Stage("features", 0, (Difference("inputs", None, now),)))
            else:
                same = (row.view(np.int64) == now.view(np.int64)) | (np.isnan(row) & np.isnan(now))
                places = [] if same.all() else np.flatnonzero(~same).tolist()
                found = {self.columns[n]: (row[n].item(), now[n].item()) for n in places}
                differ = [self._difference(name, *both) for name, both in found.items()]
                stages.append(Stage("features", len(row), [one for one in differ if one is not None]))
        return stages

    def _computed(self, predictions: Sequence[Prediction]) -> list[Floats | str]:
        """The features of each, float64 of p; or, in words, what in its inputs is such that there are none."""
        rows = [
            {"aggregates": one.aggregates, "attributes": one.attributes, "request_time": one.request_time}
            for one in predictions
        ]
        try:
            inputs = golden.restore(rows, self.features)
            features = self.features.evaluate(inputs.aggregates, inputs.attributes, inputs.request_time)
            return list(self.features.matrix(features))
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # FeatureError is a TypeError
            if len(predictions) == 1:
                return [f"{type(error).__name__}: {error}"]
            return [found for one in predictions for found in self._computed([one])]

    def _aggregates(self, predictions: Sequence[Prediction], events: Events) -> list[Stage]:
        stages: list[Stage] = [Stage("aggregates", 0, why=self.other)] * len(predictions)
        if self.other:
            return stages
        asked: dict[int, list[tuple[int, str]]] = {}
        none = {name: values[0].item() for name, values in agg.nothing(self.features.aggregates, 1).items()}
        last = events.last()
        for place, one in enumerate(predictions):
            key, upto = events.key(one), events.upto(one)
            if one.degraded:
                about = "the online store was out of reach: as of a key without events"
                stages[place] = self._told(one, {**none, "known": False}, about)
            elif key is None:
                stages[place] = Stage("aggregates", 0, why=events.secret)
            elif not last:
                stages[place] = Stage("aggregates", 0, why="there are no events here: run it where they are")
            elif upto > last:
                stages[place] = Stage("aggregates", 0, (Difference("batch", upto, last),))
            else:
                asked.setdefault(upto, []).append((place, key))
        for upto, found in asked.items():
            times = np.array([predictions[place].as_of for place, _ in found], dtype=np.int64)
            lookup = events.store.aggregate(Spine(np.array([key for _, key in found], dtype=np.str_), times), upto=upto)
            columns = {name: values.tolist() for name, values in lookup.aggregates.items()}
            columns["known"] = lookup.known.tolist()
            for number, (place, _) in enumerate(found):
                one = predictions[place]
                about = f"as of {rfc3339(one.as_of)}, of batches up to {upto}"
                about += "" if one.batch is not None else " (not logged: the last one committed by then)"
                stages[place] = self._told(one, {name: column[number] for name, column in columns.items()}, about)
        return stages

    def _told(self, one: Prediction, now: Mapping[str, Value], about: str) -> Stage:
        return self._stage("aggregates", {**one.aggregates, "known": one.known}, now, about)

    def _stage(self, name: Name, logged: Mapping[str, Value], now: Mapping[str, Value], about: str = "") -> Stage:
        names = dict.fromkeys([*now, *logged])
        found = [self._difference(one, logged.get(one), now.get(one)) for one in names]
        return Stage(name, len(names), [one for one in found if one is not None], about=about)

    def _difference(self, name: str, logged: Value, now: Value) -> Difference | None:
        if isinstance(logged, float) and isinstance(now, float):
            if (logged != logged and now != now) or logged.hex() == now.hex():
                return None
            far = None if logged != logged or now != now else int(ulps(np.array([logged]), np.array([now]))[0])
            near = self.tolerance > 0 and far is not None and far <= self.tolerance
            return None if near else Difference(name, logged, now, far)
        return None if type(logged) is type(now) and logged == now else Difference(name, logged, now)


def _number(value: Any) -> bool:
    return isinstance(value, float | int)


def _commit(commit: str | None) -> str:
    if commit is None:
        return "the code it was trained with"
    own = commit.removesuffix("-dirty")
    return f"commit {own}" if own == commit else f"commit {own} (it was trained with changes that are not in it)"
