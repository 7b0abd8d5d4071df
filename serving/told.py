"""What routes answer beside predictions, as the OpenAPI document says it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from model.artefact import Manifest
from serving.schema import Problem, RowErrors


class ProblemDetails(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem.")
    title: str = Field(description="The kind, in words.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What is wrong with this request.")
    problems: list[Problem | RowErrors | str] = Field(
        description="Every single reason: of a row, of the rows of a bulk request, or of the service; may be empty."
    )
    request_id: str = Field(description="The request's `x-request-id`, or else ours.")
    retry_after: int | None = Field(
        None, description="Seconds after which to ask again, as in `Retry-After`; not there where that cannot help."
    )


class Ready(BaseModel):
    """Predictions can be asked for."""

    ready: bool
    model: str = Field(description="NAME:VERSION.")
    proof: str = Field(description="What the load gate proved.")
    degraded: bool = Field(description="The online store is out of reach, and every key is answered as unknown.")
    problems: list[str] = Field(description="Why it is degraded.")


class Live(BaseModel):
    """The process lives."""

    live: bool


class Rule(BaseModel):
    """How a probability becomes a decision."""

    rule: str = Field(description="In words.")
    threshold: float
    positive: str = Field(description="The decision from the threshold on.")
    negative: str = Field(description="The decision below it.")
    costs: dict[str, float] = Field(description="What the threshold was made from.")


class Golden(BaseModel):
    """What the load gate asked again: raw inputs with the exact answers that training gave."""

    rows: int
    differing: int = Field(description="Rows that were answered otherwise; more than 0 only with HOLDFAST_GATE=warn.")
    exact: bool = Field(description="Whether every bit counted, as the numeric baseline is the one of training.")


class LiveModel(BaseModel):
    """A model that answers."""

    name: str = Field(description="NAME:VERSION.")
    usecase: str
    title: str
    fingerprint: str = Field(description="Of the features, sha256.")
    decision: Rule
    inputs: list[str] = Field(description="The columns of the model's matrix, in order.")
    golden: Golden
    proof: str = Field(description="What the load gate proved.")
    manifest: Manifest


class Models(BaseModel):
    """What is live."""

    models: list[LiveModel]
