"""Examples of requests, answers and problems, for the OpenAPI document.

Rows are made from the contract, never from data: the document is for everybody who reaches the port. What is wrong with
a wrong one is asked of the decoder, so that it is told in the words that a client will read. Scores are invented.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from features.contract import SAFE_INTEGER, Column
from serving.core import Core
from serving.errors import (
    Failed,
    Late,
    NoLog,
    NotFound,
    NotReady,
    NotRecorded,
    Overloaded,
    RequestError,
    Slow,
    TooLarge,
    Unauthorized,
    WrongMedia,
    WrongMethod,
)
from serving.keys import NEEDED

REQUEST_ID, PREDICTION_ID = "order-77", "019b76da18006c1f20a4000001"
AS_OF, MICROSECONDS = "2026-01-01T00:00:00Z", 1_767_225_600_000_000
"""One time, as an answer tells it and as a contract holds it."""
Told = tuple[str, RequestError]
"""What was sent, and what it is answered with."""


class Examples:
    """Examples for what this core serves.

    Attributes:
        row: a request that the contract accepts. wrong: one that it does not. cut: one that is no JSON.
    """

    def __init__(self, core: Core) -> None:
        self.core, self.key = core, core.usecase.key
        self.row: dict[str, Any] = {self.key: "1"}
        if core.fields:
            self.row["attributes"] = {field.name: value(field) for field in core.fields}
        self.cut = _json({self.key: "1"})[:-1]
        self.wrong: dict[str, Any] = {self.key: 7, "surely_unknown": 3}

    def why(self) -> dict[str, Any]:
        """A request that asks why."""
        return {**self.row, "explain": True, "top": 2}

    def bulk(self) -> dict[str, dict[str, Any]]:
        """Bulk requests that the contract accepts: by row, by column, and asking why."""
        rows = [self.row, {**self.row, self.key: "2"}]
        by_column: dict[str, Any] = {self.key: ["1", "2"]}
        if self.core.fields:
            by_column["attributes"] = {name: [given] * 2 for name, given in self.row["attributes"].items()}
        return {
            "rows": {"rows": rows},
            "columns": {"columns": by_column},
            "rows, and why": {"rows": rows, "explain": True},
        }

    def answer(self, key: str = "1") -> dict[str, Any]:
        """An answer; its probability is invented."""
        usecase, probability = self.core.usecase, 0.25
        threshold = usecase.costs.threshold
        return {
            self.key: key,
            "probability": probability,
            "decision": usecase.decisions[probability >= threshold],
            "threshold": threshold,
            "model": self.core.tag,
            "fingerprint": usecase.features.fingerprint,
            "as_of": AS_OF,
            "known": True,
            "degraded": False,
            "request_id": REQUEST_ID,
            "prediction_id": PREDICTION_ID,
        }

    def answers_of_one(self, *, explained: bool = False) -> dict[str, dict[str, Any]]:
        """Answers to one row; its contributions are invented too."""
        given = self.row.get("attributes", {})
        reasons = [
            {"feature": name, "value": given.get(name, 1), "contribution": contribution}
            for name, contribution in zip(self.core.usecase.features.inputs, (0.5, -0.25), strict=False)
        ]
        added = sum(one["contribution"] for one in reasons)
        why = {"base": -1.25, "margin": added - 1.125, "contributions": reasons, "rest": 0.125}
        told = {"answer, and why": {**self.answer(), "explanation": why}}
        return told if explained else {"answer": self.answer(), **told}

    def answers(self) -> dict[str, dict[str, Any]]:
        """Bulk answers: to all rows, and to all but one."""
        several = [
            {"row": row, **self.answer(key), "prediction_id": f"{PREDICTION_ID}-{row}"} for row, key in enumerate("12")
        ]
        partial = self.core.decoder.many(_json({"rows": [self.row, self.wrong]}))
        return {
            "answers": {"predictions": several, "errors": []},
            "the second row was wrong": {"predictions": several[:1], "errors": partial.errors},
        }

    def feedback(self) -> dict[str, dict[str, Any]]:
        """Outcomes that are accepted: by prediction, and by key and time."""
        said = {"outcome": True, "observed_at": AS_OF}
        by_key = {self.key: "2", "at": AS_OF, **said, "outcome_id": "crm-1042"}
        return {"outcomes": {"outcomes": [{"prediction_id": PREDICTION_ID, **said}, by_key]}}

    def receipts(self) -> dict[str, dict[str, Any]]:
        """What is answered to them, and where one is wrong."""
        check, (asked,) = self.core.feedback.check, self.feedback().values()
        partial = {"outcomes": [asked["outcomes"][0], self.wrong]}
        return {"receipt": check(asked["outcomes"]), "the second was wrong": check(partial["outcomes"])}

    def refusals_of_feedback(self) -> list[Told]:
        """One of each kind that /v1/feedback answers."""
        feedback, most = self.core.feedback, self.core.settings.max_rows

        def read(body: bytes) -> None:
            feedback.check(feedback.read(body))

        bodies: list[dict[str, Any]] = [{"outcomes": [{"outcome": "yes"}]}, {"outcomes": []}, {"rows": []}]
        return [
            _refused(read, self.cut),
            *(_refused(read, _json(body)) for body in bodies),
            ("too many outcomes", TooLarge(f"{most + 1} outcomes; one request carries at most {most}")),
            *self._any(),
            ("no prediction log", NoLog("this server keeps no prediction log")),
            (
                "a model that the gate refused",
                NotReady("no outcome can be recorded now", ["the gate refused the model"]),
            ),
            ("a full disk", NotRecorded("the outcomes cannot be recorded now", ["the disk takes nothing"])),
        ]

    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        proof = self.core.loaded.proof if self.core.loaded else ""
        return {"ready": True, "model": self.core.tag, "proof": proof, "degraded": False, "problems": []}

    def refusals_of_one(self) -> list[Told]:
        """One of each kind that /v1/predict and /v1/explain answer."""
        one = self.core.decoder.one
        return [_refused(one, self.cut), _refused(one, _json(self.wrong)), *self._either(), *self._late()]

    def refusals_of_many(self) -> list[Told]:
        """One of each kind that /v1/predict/bulk answers."""
        many, most = self.core.decoder.many, self.core.settings.max_rows
        why = self.core.settings.max_explained_rows
        rows = ("too many rows", TooLarge(f"{most + 1} rows; one request carries at most {most}"))
        explained = f"{why + 1} rows to explain; one request has at most {why} explained"
        bodies = [{"rows": [self.wrong]}, {"rows": []}]
        return [
            _refused(many, self.cut),
            *(_refused(many, _json(body)) for body in bodies),
            rows,
            ("too many rows to explain", TooLarge(explained)),
            *self._either(),
            *self._late(),
        ]

    @staticmethod
    def not_ready() -> list[Told]:
        """While no answer can be given."""
        store = "online store: it is out of reach, or slower than HOLDFAST_ONLINE_TIMEOUT_MS; the log says more"
        return [("the online store is down", NotReady("the online store cannot answer", [store]))]

    @staticmethod
    def elsewhere() -> list[Told]:
        """For what no route is there, and for who may not ask."""
        return [
            ("no key, where keys are asked for", Unauthorized(NEEDED)),
            ("POST /v1/nothing", NotFound("there is no /v1/nothing; /docs.json lists what there is")),
            ("GET /v1/predict", WrongMethod("/v1/predict takes POST, not GET")),
        ]

    def _either(self) -> list[Told]:
        return [
            *self._any(),
            ("a row that breaks a feature", Failed("these rows cannot be scored; the server's log says why")),
        ]

    def _any(self) -> list[Told]:
        most, waiting = self.core.settings.max_body_bytes, self.core.settings.max_queue_rows
        full = f"{waiting} rows wait, 1 more would be over {waiting}"
        return [
            (
                "half a body",
                Slow(f"the body was not whole {self.core.settings.max_body_ms / 1_000:g} s after its headers"),
            ),
            ("a body too large", TooLarge(f"a body of {most + 1} bytes; the limit is {most}")),
            ("text/plain", WrongMedia("the body is 'text/plain'; send application/json")),
            ("more than can be answered", Overloaded(full, retry_after=2)),
        ]

    def _late(self) -> list[Told]:
        seconds = self.core.settings.max_latency_ms / 1_000
        late = Late(f"its turn came after {seconds:.3g} s, past its deadline")
        return [*self.not_ready(), ("answered too late", late)]


def value(column: Column) -> Any:
    """A value that the column's contract accepts: the first level of a category, a hundredth of the way up a range."""
    if column.levels:
        return column.levels[0]
    if column.kind in ("key", "id"):
        return "1"
    if column.kind == "flag":
        return False
    bounds = [bound for bound in (column.low, column.high) if bound is not None and abs(bound) != SAFE_INTEGER]
    if not bounds:
        return {"time": MICROSECONDS, "arrival": MICROSECONDS, "number": 1.5}.get(column.kind, 1)
    number = bounds[0] + (bounds[-1] - bounds[0]) / 100
    if column.kind == "number":
        return float(number)
    return math.ceil(number) if bounds[0] == column.low else math.floor(number)


def _refused(read: Callable[[bytes], object], body: bytes) -> Told:
    try:
        read(body)
    except RequestError as error:
        return body.decode(), error
    raise AssertionError(f"{body!r} was meant to be refused")


def _json(given: Any) -> bytes:
    return json.dumps(given, ensure_ascii=False).encode()
