"""One part of a batch run: keys in, answers out, and apart from them the rows that have none."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import usecases
from batch import reasons
from batch.plan import Run
from features.rows import Arrays
from features.store.base import EventStore, Lookup, NoRecord, Spine
from model import gate
from model.artefact import MANIFEST, SEAL, read_manifest
from model.gate import Loaded
from model.golden import Inputs
from usecases import UseCase

STAMPS = ("as_of", "known", "probability", "decision", "threshold", "model", "fingerprint", "run_id")
"""Columns of a score, after the key, which has the use case's own name for it."""
LONGEST = 200
"""Characters of a reason; a whole traceback is no reason."""


@dataclass(frozen=True)
class Scoring:
    """A model as a function of rows, for `EventStore.transform`.

    It carries the artefact's bytes: a process that has the code but not the model store can call it, and passes the
    model through the gate before its first row.
    """

    usecase: str
    own: Path | None
    digest: str
    files: dict[str, bytes] = field(compare=False, repr=False)
    explain: int = field(default=0, compare=False, kw_only=True)
    """How many contributions of each row are told."""

    @staticmethod
    def of(usecase: str, directory: Path, own: Path | None = None) -> Scoring:
        """The artefact in `directory`; `own` is the user's directory of use cases.

        Raises:
            ArtefactError: if it holds none.
        """
        names = [*read_manifest(directory).files, MANIFEST, SEAL]
        files = {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}
        return Scoring(usecase, own, hashlib.sha256(files[MANIFEST]).hexdigest(), files)

    def load(self) -> Loaded:
        """The model; it passes the gate once in a process.

        Raises:
            GateRefused: with every reason.
        """
        return _loaded(self)

    def __call__(self, keys: np.ndarray[Any, Any], found: Lookup, fields: Arrays) -> Arrays:
        """`known` (bool), `probability` (float64), `positive` (bool) and `problem` (str, "" for none) of every row,
        and why, as `batch.reasons` has it, where that is asked for.

        A row whose features raise, or whose score is no finite number, has a problem; the rows beside it have none.
        """
        scorer = self.load().scorer
        inputs = Inputs(found.aggregates, {name: fields[name] for name in scorer.features.fields}, found.as_of)
        probability, positive = np.full(len(keys), np.nan), np.zeros(len(keys), dtype=np.bool_)
        problems: dict[int, str] = {}
        why: list[dict[str, Any] | None] = [None] * len(keys)
        waiting = [np.arange(len(keys))] if len(keys) else []
        while waiting:
            rows = waiting.pop()
            try:
                scores = (inputs if len(rows) == len(keys) else inputs.take(rows)).score(scorer)
                told = scorer.explain(scores).top(self.explain) if self.explain else []
            except Exception as error:  # a row feature is anybody's code
                if len(rows) == 1:
                    problems[int(rows[0])] = _line(f"{type(error).__name__}: {error}")
                else:
                    waiting += np.array_split(rows, 2)
                continue
            for row, one in zip(rows.tolist(), told, strict=bool(told)):
                why[row] = one
            probability[rows], positive[rows] = scores.probability, scores.positive
            problems |= dict.fromkeys(rows[~np.isfinite(scores.margin)].tolist(), "the score is no finite number")
        problem = np.array(
            [problems.get(row, "") for row in range(len(keys))] if problems else [""] * len(keys), np.str_
        )
        answered = {"known": found.known, "probability": probability, "positive": positive, "problem": problem}
        most = min(self.explain, len(scorer.features.inputs))
        return answered | reasons.flat(why, most) if self.explain else answered


def part(
    usecase: UseCase, events: EventStore, run: Run, scoring: Scoring, keys: np.ndarray[Any, Any]
) -> tuple[pa.Table, pa.Table]:
    """Scores of those keys that have one, and the others with a reason, both in the order of the keys."""
    scoring = replace(scoring, explain=run.explain)
    spine, reason = Spine.at(keys, run.t), np.full(len(keys), "", dtype=np.object_)
    try:
        found = _transform(usecase, events, scoring, spine)
    except NoRecord as error:
        reason[error.rows] = f"no record was known at {run.as_of}"
        rest = reason == ""
        found = _transform(usecase, events, scoring, Spine(spine.key[rest], spine.t[rest]))
    reason[reason == ""] = found["problem"]
    good = found["problem"] == ""
    return (
        _scores(usecase.key, keys[reason == ""], {name: values[good] for name, values in found.items()}, run, scoring),
        _rejected(usecase.key, keys[reason != ""], reason[reason != ""], run),
    )


def _transform(usecase: UseCase, events: EventStore, scoring: Scoring, spine: Spine) -> Arrays:
    if not len(spine):
        nobody = Lookup({}, np.zeros(0, dtype=np.bool_), spine.t)
        return scoring(spine.key, nobody, dict.fromkeys(usecase.features.fields, spine.t))
    return events.transform(spine, scoring, records=usecase.features.attributes is not None)


def _scores(key: str, keys: np.ndarray[Any, Any], found: Arrays, run: Run, scoring: Scoring) -> pa.Table:
    decision, rows = scoring.load().scorer.decision, len(keys)
    labels = pa.array([decision.negative, decision.positive])
    columns = (
        _time(run.t, rows),
        pa.array(found["known"]),
        pa.array(found["probability"]),
        pa.DictionaryArray.from_arrays(pa.array(found["positive"].astype(np.int8)), labels),
        pa.array(np.full(rows, decision.threshold)),
        *(_same(text, rows) for text in (run.model, run.fingerprint, run.id)),
    )
    why = {reasons.COLUMN: reasons.nested(found)} if run.explain else {}
    return pa.table({key: pa.array(keys, pa.string()), **dict(zip(STAMPS, columns, strict=True)), **why})


def _rejected(key: str, keys: np.ndarray[Any, Any], reason: np.ndarray[Any, Any], run: Run) -> pa.Table:
    columns = {key: pa.array(keys, pa.string()), "as_of": _time(run.t, len(keys))}
    return pa.table({**columns, "reason": pa.array(reason, pa.string()), "run_id": _same(run.id, len(keys))})


def _time(t: int, rows: int) -> pa.Array:
    return pa.array(np.full(rows, t), pa.timestamp("us", "UTC"))


def _same(text: str, rows: int) -> pa.Array:
    """One text in every row, kept once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int8)), pa.array([text]))


def _line(text: str) -> str:
    """What every sink can hold: one line, no control character, no half of a surrogate pair."""
    line = " ".join(text.replace("\0", " ").split())
    return line.encode("utf-8", "backslashreplace").decode()[:LONGEST]


@lru_cache(maxsize=1)
def _loaded(scoring: Scoring) -> Loaded:
    name = scoring.usecase
    with tempfile.TemporaryDirectory(prefix="holdfast-model-") as temporary:
        directory = Path(temporary) / name
        directory.mkdir()
        for file, content in scoring.files.items():
            (directory / file).write_bytes(content)
        return gate.load(directory, usecases.load(name, scoring.own).features)
