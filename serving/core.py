"""The transport-free core: accepted rows in, answers out. HTTP and gRPC call it, and every later protocol will."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from features.contract import array
from model import gate
from model.gate import GateRefused, Loaded
from model.scorer import Scores
from serving import metrics
from serving.answers import Answers
from serving.call import Call
from serving.decode import Decoder
from serving.errors import Failed, NotReady
from serving.feedback import Feedback
from serving.online import Found, Online
from serving.parts import Batch, Part, Scored, Told
from serving.privacy import Privacy
from serving.recording import Recording
from serving.refusals import Refusing
from serving.rows import Rows, joined
from serving.runner import ModelRunner
from serving.schema import Schema
from settings import Settings
from usecases import UseCase

T = TypeVar("T")
log = logging.getLogger("holdfast.serving")
EXPLAINED, EXPLAINED_QUEUE = 16, 10
"""Rows that are explained in one go, some hundredths of a second; and full requests that may wait for that."""


class Core:
    """A use case, a gated model and an online store, ready to answer.

    Args:
        directory: of the artefact. A model that the gate refuses leaves the core standing but not ready.
        record: whether answers go to the prediction log.
    """

    def __init__(self, usecase: UseCase, directory: Path, settings: Settings, *, record: bool = True) -> None:
        self.usecase, self.settings, self.schema = usecase, settings, Schema(usecase)
        self.decoder = Decoder(self.schema, settings.max_rows, settings.max_explained_rows)
        self.answers = Answers(usecase)
        self.fields = self.schema.fields
        self.loaded: Loaded | None = None
        self.refused: list[str] = []
        self.draining = False
        self.tag = f"{directory.parent.name}:{directory.name}"
        self._counted = {yes: metrics.PREDICTIONS.labels(usecase.decisions[yes]) for yes in (False, True)}
        self.online = Online(usecase, settings)
        try:
            self.loaded = gate.load(directory, usecase.features, enforce=settings.gate == "enforce")
            log.info("gate: %s", self.loaded.proof)
        except GateRefused as refusal:
            self.refused = [str(refusal)]
            log.error("gate: %s", refusal)
        privacy = Privacy(settings)
        self._record: Recording | None = None
        if record and self.loaded is not None:
            self._record = Recording(usecase, self.loaded, self.schema, settings, privacy)
        self.recorder = None if self._record is None else self._record.recorder
        self.feedback = Feedback(usecase, settings.max_rows, privacy.pseudonyms, self.recorder)
        self.refusing = Refusing((self.schema.key, *self.schema.names), self.recorder)
        self.runner: ModelRunner[Rows, Part] = ModelRunner(
            self._run,
            size=len,
            max_batch_size=settings.max_batch_size,
            max_queue_rows=settings.max_queue_rows,
            max_latency_ms=settings.max_latency_ms,
            threaded=lambda _: self.online.waits,  # what only computes is quicker on the loop, at any size
            parallel=min(2, settings.online_pool) if self.online.waits else 1,
            observe=metrics.Batches(),
        )
        # on a thread, in few rows at a time, with a queue of its own: predictions never wait for explanations
        self.explainer: ModelRunner[tuple[Part, int], Part] = ModelRunner(
            self._explain,
            size=lambda asked: asked[0].stop - asked[0].start,
            max_batch_size=EXPLAINED,
            max_queue_rows=EXPLAINED_QUEUE * settings.max_explained_rows,
            max_latency_ms=settings.max_latency_ms,
            threaded=lambda _: True,
        )

    def ready(self) -> dict[str, Any]:
        """What /readyz says: the model, and why answers are degraded, if they are.

        Raises:
            NotReady: with every reason why no answer can be given now.
        """
        loaded = self._loaded()
        if self.draining:
            raise NotReady("the server is stopping", ["it answers what it has accepted"])
        problems = self.online.check()
        told = {"ready": True, "model": loaded.manifest.tag, "proof": loaded.proof}
        return {**told, "degraded": bool(problems), "problems": problems}

    def models(self) -> dict[str, Any]:
        """What is live: the manifest, the fingerprint and the decision rule.

        Raises:
            NotReady: if the gate refused the model.
        """
        loaded = self._loaded()
        rule = loaded.scorer.decision
        live = {
            "name": loaded.manifest.tag,
            "usecase": self.usecase.name,
            "title": self.usecase.title,
            "fingerprint": loaded.manifest.fingerprint,
            "decision": {
                "rule": f"{rule.positive} where probability >= {rule.threshold!r}, else {rule.negative}",
                "threshold": rule.threshold,
                "positive": rule.positive,
                "negative": rule.negative,
                "costs": dict(rule.costs),
            },
            "inputs": list(self.usecase.features.inputs),
            "golden": asdict(loaded.golden),
            "proof": loaded.proof,
            "manifest": loaded.manifest.model_dump(mode="json"),
        }
        return {"models": [live]}

    async def predict(self, rows: Rows, call: Call, *, packed: bool = False) -> Told:
        """Answers of accepted rows, in order; they are in the prediction log when this returns.

        Args:
            packed: as `Answers.told` has it.

        Raises:
            RequestError: if no answer can be given now, or none of these rows can be scored.
        """
        scored = await self.scored(rows, call)
        loaded = self._loaded()
        told = (self.answers.told(loaded, own, part, call, packed=packed) for own, part in scored.parts)
        return Told([*chain.from_iterable(told)], scored.errors)

    async def scored(self, rows: Rows, call: Call) -> Scored:
        """The same as arrays, for a protocol that tells columns.

        Raises:
            RequestError: likewise.
        """
        self._loaded()
        most, failed = self.settings.max_batch_size, list[dict[str, Any]]()
        if rows.explain:
            most = min(most, EXPLAINED)
            self.explainer.admit(len(rows), call.deadline)
        if len(rows) <= most:
            parts = await self._score(rows, call, failed)
        else:  # others take their turn in between
            self.runner.admit(len(rows), call.deadline)
            cut = [rows.cut(start, start + most) for start in range(0, len(rows), most)]
            parts = [part for found in await _all([self._score(one, call, failed) for one in cut]) for part in found]
        if not parts:
            raise Failed(f"none of the {len(rows)} rows can be scored", failed)
        started = time.perf_counter()
        for own, part in parts:
            if self._record is not None:
                self._record(own, part, call)
            yes = int(np.count_nonzero(part.batch.scores.positive[part.start : part.stop]))
            self._counted[True].inc(yes)
            self._counted[False].inc(len(own) - yes)
            _count(part, alone=len(rows) == 1)
        metrics.stage["record"](time.perf_counter() - started)
        if rows.errors:
            self.refusing.rows(rows.errors)
        return Scored(parts, sorted([*rows.errors, *failed], key=itemgetter("row")) if failed else rows.errors)

    def compute(self, rows: Rows, now: int) -> tuple[Found, Scores]:
        """Aggregates and scores of rows at one time (microseconds): what a batch does.

        Raises:
            NotReady: if the store is out of reach, or does not hold what is read.
        """
        scorer = self._loaded().scorer
        started = time.perf_counter()
        found = self.online.read(rows.keys, now)
        read = time.perf_counter()
        attributes = {field.name: array(field, column) for field, column in zip(self.fields, rows.columns, strict=True)}
        features = scorer.features.evaluate(found.aggregates, attributes, np.full(len(rows), now, dtype=np.int64))
        made = time.perf_counter()
        scores = scorer.score_features(features)
        metrics.stage["read"](read - started)
        metrics.stage["features"](made - read)
        metrics.stage["compute"](time.perf_counter() - made)
        return found, scores

    async def close(self, seconds: float) -> None:
        """Answer what was accepted, then let go of the store and seal the log."""
        until = time.monotonic() + seconds
        await self.runner.close(seconds)
        await self.explainer.close(max(0.0, until - time.monotonic()))
        self.online.close()
        if self.recorder is not None:
            self.refusing.flush()
            await asyncio.get_running_loop().run_in_executor(None, self.recorder.close)

    def _loaded(self) -> Loaded:
        if self.loaded is None:
            raise NotReady("no answer can be given now", self.refused)
        return self.loaded

    def _run(self, asked: list[Rows]) -> list[Part]:
        """One batch: the rows of several requests at one time."""
        now = self.usecase.now(self.settings.now)
        rows = asked[0] if len(asked) == 1 else joined(asked, self.fields)
        found, scores = self.compute(rows, now)
        named = [found.aggregates[a.name].view(np.int64) for a in self.usecase.features.aggregates]
        cells = np.stack(named, axis=1) if named else np.empty((len(rows), 0), dtype=np.int64)
        batch = Batch(now, found, scores, cells)
        stops = list(accumulate(map(len, asked), initial=0))
        return [Part(batch, start, stop) for start, stop in pairwise(stops)]

    def _explain(self, asked: list[tuple[Part, int]]) -> list[Part]:
        """The parts with as many reasons for each row as are asked for."""
        started = time.perf_counter()
        scores = [part.batch.scores.cut(part.start, part.stop) for part, _ in asked]
        why = self._loaded().scorer.explain(Scores.joined(scores))  # one call: each costs half a row more
        stops = accumulate(map(len, scores), initial=0)
        told = [
            replace(part, reasons=why.top(most, start, stop))
            for (part, most), (start, stop) in zip(asked, pairwise(stops), strict=True)
        ]
        metrics.stage["explain"](time.perf_counter() - started)
        return told

    async def _score(self, rows: Rows, call: Call, failed: list[dict[str, Any]]) -> list[tuple[Rows, Part]]:
        """The rows with their part of a batch; what fails is halved, until only the rows to blame are left out."""
        try:
            part = await self.runner.async_run(rows, deadline=call.deadline, turns=call.turns)
            if rows.explain:
                part = await self.explainer.async_run((part, rows.explain), deadline=call.deadline)
            return [(rows, part)]
        except Failed as error:
            if rows.places is None:
                raise
            if len(rows) == 1:
                failed.append({"row": rows.places[0], "problems": [{"field": "row", "problem": error.detail}]})
                return []
            half = len(rows) // 2
            first = await self._score(rows.cut(0, half), call, failed)
            return first + await self._score(rows.cut(half, len(rows)), call, failed)


def _count(part: Part, *, alone: bool) -> None:
    """Let the scores' histogram have a part; `alone` is the only row of its request."""
    probability = part.batch.scores.probability
    if alone:
        metrics.SCORES.one(float(probability[part.start]))
    else:
        metrics.SCORES.many(probability[part.start : part.stop])


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each of them returns; when one raises, the others are cancelled and its error is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
