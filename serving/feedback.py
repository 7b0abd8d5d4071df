"""Feedback: outcomes as clients send them, each accepted and recorded or told what is wrong with it; by any protocol.

What an outcome is about, and which of several holds: `model.predictions.outcome`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError, from_json

from features import clock
from features.contract import Key
from model.predictions.outcome import Outcome, Outcomes, identity
from model.predictions.pseudonym import Pseudonyms
from serving import metrics
from serving.call import Call
from serving.errors import Malformed, NoLog, NotAccepted, NotReady, NotRecorded, TooLarge
from serving.recorder import Recorder, Unkept
from serving.schema import RowErrors, problems
from usecases import UseCase

SLICE = 250
"""Outcomes that are checked in one go, about 2 ms."""
_STRICT = ConfigDict(strict=True, extra="forbid")
_RFC3339 = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"
_PREDICTION_ID = r"^[0-9a-f]{26}(-[0-9]{1,9})?$"
"""As `serving.call` makes them: a request's id, or that of another system, would never be found."""


def _micros(text: str) -> int:
    try:
        if re.fullmatch(_RFC3339, text):
            return clock.parse(text)
    except clock.TimeError:
        pass
    raise PydanticCustomError("time", "Input should be a time with its zone (RFC 3339), as 2026-07-01T00:00:00Z")


def _ours(text: str) -> str:
    if not re.fullmatch(_PREDICTION_ID, text):
        raise PydanticCustomError("prediction_id", "Input should be the `prediction_id` of an answer")
    return text


Moment = Annotated[
    str, AfterValidator(_micros), WithJsonSchema({"type": "string", "format": "date-time", "pattern": _RFC3339})
]
PredictionId = Annotated[str, AfterValidator(_ours), WithJsonSchema({"type": "string", "pattern": _PREDICTION_ID})]


class Kept(BaseModel):
    """An outcome that was accepted."""

    row: int = Field(description="Position in the request, from 0.")
    outcome_id: str = Field(
        description="Sent again, it is the same outcome; the request's own, or made of what it says."
    )


class Receipt(BaseModel):
    """What became of each outcome."""

    accepted: int = Field(description="How many are recorded.")
    outcomes: list[Kept] = Field(description="Those, in order.")
    errors: list[RowErrors] = Field(description="Those that were not accepted, and why.")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a request's outcomes so far."""

    accepted: list[Outcome] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def receipt(self, count: int) -> dict[str, Any]:
        """Of so many, when all are checked.

        Raises:
            NotAccepted: if none is right.
        """
        if not self.accepted:
            raise NotAccepted(f"none of the {count} outcomes was accepted", self.errors)
        return {"accepted": len(self.accepted), "outcomes": self.kept, "errors": self.errors}


class Feedback:
    """Takes outcomes for one use case.

    Args:
        pseudonyms: of keys, as in the log. recorder: None where the gate refused the model.

    Attributes:
        ByPrediction, ByKey: the contracts of an outcome, by what it is about.
    """

    def __init__(self, usecase: UseCase, max_rows: int, pseudonyms: Pseudonyms, recorder: Recorder | None) -> None:
        self.key, self.max_rows, self._name, self._recorder = usecase.key, max_rows, pseudonyms, recorder
        self._last = 0
        said: dict[str, Any] = {
            "outcome": (bool, Field(description=f"Whether it happened. What is predicted: {usecase.title}.")),
            "observed_at": (
                Moment,
                Field(description="When this was known. A later one corrects what was observed before."),
            ),
            "outcome_id": (
                Key,
                Field(
                    None, description="An id of your own: sent again, it changes nothing. By default made of the rest."
                ),
            ),
        }
        name: Any = (PredictionId, Field(description="The answer's `prediction_id`."))
        key: Any = (Key, Field(description="Whom the prediction was about."))
        at: Any = (
            Moment,
            Field(description="It is about the last prediction that was answered at or before this time."),
        )
        self.ByPrediction: type[BaseModel] = create_model(
            "OutcomeByPrediction", __config__=_STRICT, __doc__="Of that prediction.", prediction_id=name, **said
        )
        by_key: dict[str, Any] = {self.key: key, "at": at}
        self.ByKey: type[BaseModel] = create_model(
            "OutcomeByKey", __config__=_STRICT, __doc__="Of the last prediction at a time.", **by_key, **said
        )

    def read(self, body: bytes) -> list[Any]:
        """The outcomes of a request's body, as they are.

        Raises:
            Malformed, NotAccepted: if it is no such body.
        """
        try:
            given = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise Malformed(f"the body is no JSON: {error}") from None
        if not isinstance(given, dict) or set(given) != {"outcomes"} or not isinstance(given["outcomes"], list):
            raise NotAccepted('feedback is {"outcomes": [...]}')
        return given["outcomes"]

    async def accept(self, given: Sequence[Any], call: Call) -> dict[str, Any]:
        """Record the outcomes that are right; they are on the disk when this returns. What it returns is a `Receipt`.

        Raises:
            NotAccepted, TooLarge: if none is right, or there are too many. NoLog, NotReady, NotRecorded: if none can
            be recorded, or whether they are is not known; then they may be sent again.
        """
        recorder = self._ready()
        self._count(given)
        checked = Checked()
        for start in range(0, len(given), SLICE):
            self._check(given[start : start + SLICE], start, call.client, checked)
            await asyncio.sleep(0)  # predictions take their turn in between
        metrics.outcomes["refused"](len(checked.errors))
        told = checked.receipt(len(given))
        try:
            await asyncio.shield(asyncio.wrap_future(recorder.keep(Outcomes(items=checked.accepted))))
        except Unkept as unkept:
            metrics.outcomes["unrecorded"](len(checked.accepted))
            raise NotRecorded("the outcomes cannot be recorded now", [unkept.why]) from None
        metrics.outcomes["accepted"](len(checked.accepted))
        return told

    def check(self, given: Sequence[Any]) -> dict[str, Any]:
        """The `Receipt` of outcomes that are not recorded.

        Raises:
            NotAccepted, TooLarge: as `accept`.
        """
        self._count(given)
        checked = Checked()
        self._check(given, 0, "", checked)
        return checked.receipt(len(given))

    def outcome(self, given: Any, client: str) -> tuple[str | None, Outcome]:
        """The client's own id, and the outcome: in the log it has a pseudonym too, for it may hold a key.

        Raises:
            ValidationError: if it is not what one of the contracts asks for; `problems` tells of it.
        """
        by_key = isinstance(given, dict) and "prediction_id" not in given and (self.key in given or "at" in given)
        said = dict((self.ByKey if by_key else self.ByPrediction).model_validate(given))
        about = said.get("prediction_id")
        key, at = (None, None) if about else (self._name(said[self.key]), said["at"])
        outcome, observed_at = said["outcome"], said["observed_at"]
        self._last = received_at = max(time.time_ns() // 1_000, self._last + 1)
        own = said["outcome_id"]
        return own, Outcome(
            outcome_id=self._name(own) if own else identity(about, key, at, outcome, observed_at),
            prediction_id=about,
            key=key,
            at=at,
            outcome=outcome,
            observed_at=observed_at,
            received_at=received_at,
            client=client,
        )

    def problems(self, error: ValidationError) -> list[dict[str, Any]]:
        """What is wrong with an outcome, in words for its sender."""
        return [self._said(problem) for problem in problems(error, frozenset())]

    def _count(self, given: Sequence[Any]) -> None:
        if not given:
            raise NotAccepted("feedback tells of at least one outcome")
        if len(given) > self.max_rows:
            raise TooLarge(f"{len(given)} outcomes; one request carries at most {self.max_rows}")

    def _check(self, given: Sequence[Any], start: int, client: str, checked: Checked) -> None:
        for row, one in enumerate(given, start):
            try:
                own, outcome = self.outcome(one, client)
            except ValidationError as error:
                checked.errors.append({"row": row, "problems": self.problems(error)})
            else:
                checked.accepted.append(outcome)
                checked.kept.append({"row": row, "outcome_id": own or outcome.outcome_id})

    def _ready(self) -> Recorder:
        if self._recorder is None:
            raise NotReady("no outcome can be recorded now", ["the gate refused the model: /readyz says why"])
        if self._recorder.off:
            raise NoLog("this server keeps no prediction log (HOLDFAST_PREDICTIONS_URL=none:), which outcomes go to")
        return self._recorder

    def _said(self, problem: dict[str, Any]) -> dict[str, Any]:
        if problem["field"] == "prediction_id" and "given" not in problem:
            return {**problem, "problem": f"{problem['problem']}, or else {self.key} and at"}
        return problem
