"""What the prediction log is told: its header, and an entry for each request, made of the request's part of a batch."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np

from features.featureset import FeatureSet
from model.gate import Loaded
from model.predictions import Entry, Header, cells, plain
from serving.call import Call
from serving.parts import Part
from serving.privacy import Privacy
from serving.recorder import Recorder
from serving.rows import FEW, Rows
from serving.schema import Schema
from settings import Settings
from usecases import UseCase


class Recording:
    """Records answers of one model.

    Attributes:
        recorder: writes what is recorded.
    """

    def __init__(self, usecase: UseCase, loaded: Loaded, schema: Schema, settings: Settings, privacy: Privacy) -> None:
        given = _given(usecase.features)
        self._own = [place for place, name in enumerate(usecase.features.columns) if name not in given]
        self._names, self._cells = schema.names, {field.name: cells(field) for field in schema.fields}
        self._privacy = privacy
        rule, manifest, aggregates = loaded.scorer.decision, loaded.manifest, usecase.features.aggregates
        header = Header(
            usecase=usecase.name,
            model=manifest.tag,
            fingerprint=manifest.fingerprint,
            threshold=rule.threshold,
            labels=(rule.negative, rule.positive),
            key=usecase.key,
            aggregates=[aggregate.name for aggregate in aggregates],
            floats=[aggregate.name for aggregate in aggregates if aggregate.function in ("min", "max")],
            features=list(usecase.features.columns),
            given=given,
            pod=socket.gethostname(),
            hashed=privacy.pseudonyms.mark,
            sample=privacy.sample.share,
        )
        home, bound = settings.home / usecase.name, settings.predictions_spool_mb * 1_000_000
        self.recorder = Recorder(settings.predictions_url, home, header, bound)

    def __call__(self, rows: Rows, part: Part, call: Call) -> None:
        """Record the answers of these rows, as far as they may be kept."""
        if self.recorder.off:
            return
        found, scores, here = part.batch.found, part.batch.scores, slice(part.start, part.stop)
        attributes: dict[str, Any] = dict(zip(self._names, rows.columns, strict=True))
        own = {name: column for name, column in attributes.items() if isinstance(column, np.ndarray)}
        if own and len(rows) < FEW:
            attributes |= {name: plain(self._cells[name], column) for name, column in own.items()}
            own = {}
        elif own:
            attributes |= dict.fromkeys(own, ())
        # the arrays' own memory, for a copy of it costs as much as writing it
        arrays: Any = {name: (self._cells[name], column.data.cast("B")) for name, column in own.items()}
        entry = self._privacy(
            Entry(
                id=call.id,
                request_id=call.request_id,
                route=call.route,
                time=time.time_ns() // 1_000,
                now=part.batch.now,
                latency=int(call.seconds * 1e6),
                keys=rows.keys,
                places=None if rows.places is None else list(rows.places),
                attributes=attributes,
                arrays=arrays,
                aggregates=part.batch.cells[here].tobytes(),
                features=scores.matrix[here, self._own].tobytes() if self._own else b"",
                margin=scores.margin[here].tobytes(),
                probability=scores.probability[here].tobytes(),
                positive=scores.positive[here].tobytes(),
                known=found.known[here].tobytes(),
                as_of=found.as_of[here].tolist(),
                batch=-1 if found.batch is None else found.batch,
                degraded=found.degraded,
            )
        )
        if entry is not None:
            self.recorder.append(entry)


def _given(features: FeatureSet) -> dict[str, tuple[str, str | None]]:
    """The matrix's columns that say an attribute or an aggregate again: which, and for a category which level."""
    plain = {*features.fields, *(aggregate.name for aggregate in features.aggregates)}
    said = [(name, level) for name, levels in features.levels.items() if name in plain for level in levels]
    return {name if level is None else f"{name}={level}": (name, level) for name, level in said}
