"""Skew: the features of logged answers, computed again from the events, are those that were answered with.

A sample of the answers that a pass reads is replayed (`model.replay`): aggregates from the events as of the logged time
and batch, row features from aggregates, logged attributes and request time. The one to blame is named: where an
aggregate of an online row is wrong, that aggregate, and not all that is made of it; so a row feature differs if it is
neither what the logged aggregates give nor what the right ones do. The ratio of a feature is the share of the answers
compared in which it differs in any bit; on a system that is right it is 0.

A fact of kind "skew" is of one model, and of this hour and the one before, so that nobody has to look in the very
moment of it:

    {"model": TAG, "since": microseconds, "how": how close is equal, in words,
     "checked": answers of which something was compared,
     "answers": answers whose score or decision is not what the model makes of the logged features,
     "features": {NAME: {"compared", "differing", "ratio", "example": {"prediction_id", "logged", "now"}}},
     "not_compared": {REASON: answers}}

An example is of the first answer that differs, and is there only if one does; a missing number is null in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from features.featureset import FeatureSet
from features.store.base import StoreError
from model import store
from model.artefact import ArtefactError
from model.gate import GateRefused
from model.predictions import Prediction
from model.predictions.block import Block
from model.predictions.entry import exact
from model.replay import Difference, Events, Replay, Replayed
from monitoring.passes.passing import Pass
from monitoring.passes.recent import recent

MOST = 1_000
"""So many answers of a model are checked of what is read at once, unless a share is asked for: .14 s."""
PART = 20_000
"""Answers that are computed again at once."""
DEGRADED = "degraded: the online store was out of reach, and nothing was read from it"
BEHIND = "they saw a batch that is not among the events here"


class Found(msgspec.Struct, kw_only=True):
    """What came of answers of one model since a time (microseconds); counts by the names of features, or by reasons."""

    since: int = 0
    how: str = ""
    checked: int = 0
    answers: int = 0
    compared: dict[str, int] = {}
    differing: dict[str, int] = {}
    examples: dict[str, dict[str, Any]] = {}
    not_compared: dict[str, int] = {}

    def __add__(self, later: Found) -> Found:
        """Both together."""
        return Found(
            since=min(self.since, later.since),
            how=later.how or self.how,
            checked=self.checked + later.checked,
            answers=self.answers + later.answers,
            compared=Counter(self.compared) + Counter(later.compared),
            differing=Counter(self.differing) + Counter(later.differing),
            examples=later.examples | self.examples,
            not_compared=Counter(self.not_compared) + Counter(later.not_compared),
        )

    def body(self, model: str) -> dict[str, Any]:
        """The fact."""
        return {
            "model": model,
            "since": self.since,
            "how": self.how,
            "checked": self.checked,
            "answers": self.answers,
            "features": {name: self._feature(name) for name in self.compared | self.differing},
            "not_compared": self.not_compared,
        }

    def _feature(self, name: str) -> dict[str, Any]:
        differing = self.differing.get(name, 0)
        compared = max(self.compared.get(name, 0), differing)
        told = {"compared": compared, "differing": differing, "ratio": differing / compared}
        return told | {"example": self.examples[name]} if differing else told


class Skew:
    """Checks answers as they are read, each at most once: a watcher of a pass.

    Args:
        features: of the code here; answers of models with others are not compared.
        events: opens what aggregates are computed from, at each commit anew; None where the use case has no events.
        share: of all answers, by a hash of their ids; None: at most `MOST` of what is read at once.
        enforce: as `gate.load` takes it. find: the directory of the model of a tag.
    """

    def __init__(
        self,
        features: FeatureSet,
        events: Callable[[], Events] | None,
        share: float | None = None,
        *,
        enforce: bool = True,
        find: Callable[[str], Path] = store.path,
    ) -> None:
        self.features, self.events, self.share, self.enforce, self._find = features, events, share, enforce, find
        self._models: dict[str, Replay] = {}

    def watch(self, pass_: Pass) -> None:
        """Compare a sample of what was read, and say what came of it in the last hours."""
        own: dict[str, list[Block]] = {}
        for block in pass_.chunk.blocks:
            own.setdefault(block.model, []).append(block)
        for model, blocks in own.items():
            found, rest = Found(), self._chosen(blocks)
            while part := list(islice(rest, PART)):
                found += self.check(model, part)
            found.since = pass_.now
            pass_.fact("skew", recent(pass_, f"skew {model}", found).body(model), model)

    def check(self, model: str, predictions: Sequence[Prediction]) -> Found:
        """What comes of these answers of one model."""
        try:
            replay = self._models.get(model) or Replay(self._find(model), self.features, enforce=self.enforce)
            self._models[model] = replay
            return compare(replay, predictions, None if self.events is None else self.events())
        except (
            store.ModelNotFound,
            ArtefactError,
            GateRefused,
            StoreError,
        ) as error:  # told, and windows are counted all the same
            return Found(not_compared={str(error): len(predictions)})

    def _chosen(self, blocks: Sequence[Block]) -> Iterator[Prediction]:
        """The sample's predictions, block by block."""
        ids = np.concatenate([block.ids for block in blocks])
        below = None  # all
        if self.share is not None and self.share < 1:
            below = np.uint64(self.share * 2.0**64)
        elif self.share is None and len(ids) > MOST:
            below = np.partition(ids, MOST)[MOST]
        for block in blocks:
            yield from block.predictions(None if below is None else np.flatnonzero(block.ids < below))


def compare(replay: Replay, predictions: Sequence[Prediction], events: Events | None) -> Found:
    """What comes of these answers of one model.

    Args:
        events: what aggregates are computed from; None where the use case has none.

    Raises:
        StoreError: if the events cannot be read.
    """
    names = _names(replay.features)
    inputs = {column: name for name, levels in replay.features.levels.items() for column in _columns(name, levels)}
    checked, answers = 0, 0
    compared, differing, left = Counter[str](), Counter[str](), Counter[str]()
    examples: dict[str, dict[str, Any]] = {}
    whole = [one for one in predictions if not one.degraded]
    left[DEGRADED] += len(predictions) - len(whole)
    found = replay(whole, events)
    excused = _excused(replay, found)
    for place, one in enumerate(found):
        stages = []
        for stage in one.stages[1:]:
            why = BEHIND if [each.name for each in stage.differences] == ["batch"] else stage.why
            if why:
                left[why] += 1
            else:
                stages.append(stage)
        checked += bool(stages)
        compared.update(stage.name for stage in stages)
        if one.equal:
            continue
        answers += bool(one.stages[0].differences)
        own: dict[str, Difference] = {}
        for stage in stages:
            for each in stage.differences:
                if stage.name == "aggregates" or each.name not in excused.get(place, ()):
                    own.setdefault(inputs.get(each.name, each.name), each)
        differing.update(own.keys())
        for name, each in own.items():
            told = exact({"logged": each.logged, "now": each.now})
            examples.setdefault(name, {"prediction_id": one.prediction.prediction_id, **told})
    return Found(
        how=replay.how,
        checked=checked,
        answers=answers,
        compared={name: compared[stage] for stage, own in names.items() if compared[stage] for name in own},
        differing=differing,
        examples=examples,
        not_compared=+left,
    )


def _names(features: FeatureSet) -> dict[str, list[str]]:
    """What each stage of a replay compares, a feature in one of them."""
    read = [aggregate.name for aggregate in features.aggregates]
    return {"aggregates": [*read, "known"], "features": [name for name in features.inputs if name not in read]}


def _columns(name: str, levels: Sequence[str | None]) -> list[str]:
    return [name if level is None else f"{name}={level}" for level in levels]


def _excused(replay: Replay, found: Sequence[Replayed]) -> dict[int, set[str]]:
    """By place: the columns that differ from what the logged aggregates give, and not from what the right ones do."""
    mended, places = list[Prediction](), list[int]()
    for place, one in enumerate(found):
        logged = one.prediction.aggregates
        now = {each.name: each.now for each in one.stages[-1].differences if each.name in logged}
        if now and one.stages[1].differences and len(one.stages) > 2:
            mended.append(replace(one.prediction, aggregates={**logged, **now}))
            places.append(place)
    return {
        place: {each.name for each in found[place].stages[1].differences}
        - {each.name for each in again.stages[1].differences}
        for place, again in zip(places, replay(mended, None), strict=True)
    }
