"""The transport-free core: bytes in, an answer or a problem out. HTTP calls it, and so will every other protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

from features import clock
from features.contract import arrays
from features.store.base import Lookup
from model import gate
from model.gate import GateRefused, Loaded
from model.scorer import Scores
from serving.errors import Malformed, NotAccepted, NotReady, TooLarge
from serving.online import Found, Online
from serving.schema import Schema, problems
from settings import Settings
from usecases import UseCase

log = logging.getLogger("holdfast.serving")


class Core:
    """A use case, a gated model and an online store, ready to answer.

    Args:
        directory: of the artefact. A model that the gate refuses leaves the core standing but not ready.
    """

    def __init__(self, usecase: UseCase, directory: Path, settings: Settings) -> None:
        self.usecase, self.settings, self.schema = usecase, settings, Schema(usecase)
        self.loaded: Loaded | None = None
        self.refused: list[str] = []
        self.online = Online(usecase, settings)
        try:
            self.loaded = gate.load(directory, usecase.features, enforce=settings.gate == "enforce")
            log.info("gate: %s", self.loaded.proof)
        except GateRefused as refusal:
            self.refused = [str(refusal)]
            log.error("gate: %s", refusal)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the request's attributes, in the contract's order."""
        return tuple(self.usecase.features.fields)

    def ready(self) -> dict[str, Any]:
        """What /readyz says: the model, and why answers are degraded, if they are.

        Raises:
            NotReady: with every reason why no answer can be given now.
        """
        if self.loaded is None or self.refused:
            raise NotReady("no answer can be given now", self.refused)
        problems = self.online.check()
        told = {"ready": True, "model": self.loaded.manifest.tag, "proof": self.loaded.proof}
        return {**told, "degraded": bool(problems), "problems": problems}

    def predict(self, body: bytes, request_id: str) -> dict[str, Any]:
        """One row's answer.

        Raises:
            RequestError: with every problem of the row, or of the service.
        """
        row, found = self.accept(_parse(body))
        if row is None:
            raise NotAccepted("the row was not accepted", found)
        return self._answers([row], request_id)[0]

    def bulk(self, body: bytes, request_id: str) -> dict[str, Any]:
        """Answers of the rows that were accepted, and the problems of the others.

        Raises:
            RequestError: if the request as a whole is wrong, or no row of it was accepted.
        """
        rows = self._rows(_parse(body))
        accepted: list[dict[str, Any]] = []
        places: list[int] = []
        errors: list[dict[str, Any]] = []
        for place, given in enumerate(rows):
            row, found = self.accept(given)
            if row is None:
                errors.append({"row": place, "problems": found})
            else:
                accepted.append(row)
                places.append(place)
        if not accepted:
            raise NotAccepted(f"none of the {len(rows)} rows was accepted", errors)
        answers = self._answers(accepted, request_id)
        return {"predictions": [{"row": p, **a} for p, a in zip(places, answers, strict=True)], "errors": errors}

    def score(self, rows: Sequence[Mapping[str, Any]], now: int, lookup: Lookup) -> Scores:
        """Scores of validated rows, given their aggregates; `now` (microseconds) is the request's time."""
        if self.loaded is None:
            raise NotReady("the model was refused", self.refused)
        attributes: dict[str, np.ndarray[Any, Any]] = {}
        if self.usecase.features.attributes is not None:
            attributes = arrays(self.usecase.features.attributes, [row["attributes"] for row in rows])
        return self.loaded.scorer.score(lookup.aggregates, attributes, np.full(len(rows), now, dtype=np.int64))

    def lookup(self, keys: Sequence[str], now: int) -> Found:
        """The keys' aggregates from the online store, read as the settings say.

        Raises:
            NotReady: if the store is out of reach, or does not hold what is read.
        """
        return self.online.read(keys, now)

    def close(self) -> None:
        """Let go of the online store."""
        self.online.close()

    def accept(self, given: Any) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The row as the contract reads it, or None and every problem it has."""
        try:
            return self.schema.Predict.model_validate(given).model_dump(), []
        except ValidationError as error:
            return None, problems(error, self.schema.money)

    def _rows(self, given: Any) -> Sequence[Any]:
        if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in ("rows", "columns"):
            raise NotAccepted('a bulk request is {"rows": [...]} or {"columns": {...}}')
        rows = given["rows"] if "rows" in given else self._by_row(given["columns"])
        if not isinstance(rows, list) or not rows:
            raise NotAccepted("`rows` is a list of at least one row")
        if len(rows) > self.settings.max_rows:
            raise TooLarge(f"{len(rows)} rows; one request carries at most {self.settings.max_rows}")
        return rows

    def _by_row(self, given: Any) -> list[dict[str, Any]]:
        """Columns turned into rows; a column that is missing or unknown is so in every row, and told there."""
        if not isinstance(given, dict):
            raise NotAccepted("`columns` is an object of lists")
        own = {name: values for name, values in given.items() if name != "attributes"}
        attributes = given.get("attributes", {})
        if not isinstance(attributes, dict) or not all(
            isinstance(v, list) for v in [*own.values(), *attributes.values()]
        ):
            raise NotAccepted("`columns` is an object of lists, and its `attributes` too")
        lengths = {name: len(values) for name, values in {**own, **attributes}.items()}
        if len(set(lengths.values())) != 1:
            raise NotAccepted(f"columns are equally long, not {lengths}")
        plain = [dict(zip(own, values, strict=True)) for values in zip(*own.values(), strict=True)]
        carried = [dict(zip(attributes, values, strict=True)) for values in zip(*attributes.values(), strict=True)]
        count = next(iter(lengths.values()))
        return [
            {**(plain[i] if plain else {}), **({"attributes": carried[i]} if carried else {})} for i in range(count)
        ]

    def _answers(self, rows: Sequence[Mapping[str, Any]], request_id: str) -> list[dict[str, Any]]:
        if self.loaded is None:
            raise NotReady("the model was refused", self.refused)
        now = self.usecase.now(self.settings.now)
        keys = [row[self.usecase.key] for row in rows]
        lookup = self.lookup(keys, now)
        scores = self.score(rows, now, lookup)
        manifest, scorer = self.loaded.manifest, self.loaded.scorer
        return [
            {
                self.usecase.key: key,
                "probability": probability,
                "decision": scorer.label(positive),
                "threshold": scorer.decision.threshold,
                "model": manifest.tag,
                "fingerprint": manifest.fingerprint,
                "as_of": clock.rfc3339(as_of),
                "known": known,
                "degraded": lookup.degraded,
                "request_id": request_id,
            }
            for key, probability, positive, as_of, known in zip(
                keys,
                scores.probability.tolist(),
                scores.positive.tolist(),
                lookup.as_of.tolist(),
                lookup.known.tolist(),
                strict=True,
            )
        ]


def _parse(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"the body is no JSON: {error}") from None
