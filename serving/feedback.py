"""Feedback: outcomes as clients send them, each accepted and recorded or told what is wrong with it; by any protocol.

What an outcome is about, and which of several holds: `model.predictions.outcome`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
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
        accepted, told = self.check(given, call.client)
        try:
            await asyncio.shield(asyncio.wrap_future(recorder.keep(Outcomes(items=accepted))))
        except Unkept as unkept:
            metrics.outcomes["unrecorded"](len(accepted))
            raise NotRecorded("the outcomes cannot be recorded now", [unkept.why]) from None
        metrics.outcomes["accepted"](len(accepted))
        return told

    def check(self, given: Sequence[Any], client: str = "") -> tuple[list[Outcome], dict[str, Any]]:
        """The outcomes that are right, and the `Receipt` of all.

        Raises:
            NotAccepted, TooLarge: as `accept`.
        """
        if not given:
            raise NotAccepted("feedback tells of at least one outcome")
        if len(given) > self.max_rows:
            raise TooLarge(f"{len(given)} outcomes; one request carries at most {self.max_rows}")
        accepted, kept, errors = list[Outcome](), list[dict[str, Any]](), list[dict[str, Any]]()
        for row, one in enumerate(given):
            try:
                own, outcome = self._outcome(one, client)
                accepted.append(outcome)
                kept.append({"row": row, "outcome_id": own or outcome.outcome_id})
            except ValidationError as error:
                errors.append({"row": row, "problems": [self._said(told) for told in problems(error, frozenset())]})
        metrics.outcomes["refused"](len(errors))
        if not accepted:
            raise NotAccepted(f"none of the {len(given)} outcomes was accepted", errors)
        return accepted, {"accepted": len(accepted), "outcomes": kept, "errors": errors}

    def _ready(self) -> Recorder:
        if self._recorder is None:
            raise NotReady("no outcome can be recorded now", ["the gate refused the model: /readyz says why"])
        if self._recorder.off:
            raise NoLog("this server keeps no prediction log (HOLDFAST_PREDICTIONS_URL=none:), which outcomes go to")
        return self._recorder

    def _outcome(self, given: Any, client: str) -> tuple[str | None, Outcome]:
        """The client's own id, and the outcome: in the log it has a pseudonym too, for it may hold a key."""
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

    def _said(self, problem: dict[str, Any]) -> dict[str, Any]:
        if problem["field"] == "prediction_id" and "given" not in problem:
            return {**problem, "problem": f"{problem['problem']}, or else {self.key} and at"}
        return problem
