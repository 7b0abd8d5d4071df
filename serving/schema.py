"""What goes over the wire, derived from a use case's contracts: requests, answers, and every problem of a row."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from features.contract import Contract, Key
from usecases import UseCase

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """One reason why a row was not accepted."""

    field: str = Field(description="Where: `customer_id`, `attributes.tenure`.")
    problem: str = Field(description="What is wrong.")
    given: str = Field(description="The value that was sent, shortened.")


class RowErrors(BaseModel):
    """All problems of one row of a bulk request."""

    row: int = Field(description="Position in the request, from 0.")
    problems: list[Problem]


class Schema:
    """The models of one use case. `Predict` is a row; `Bulk` is rows or columns; `Answer` and `Answers` come back."""

    def __init__(self, usecase: UseCase) -> None:
        key, attributes = usecase.key, usecase.features.attributes
        none = create_model("Attributes", __base__=Contract)
        fields: dict[str, Any] = {key: (Key, Field(description="Whose prediction is asked for."))}
        if attributes is not None:
            fields["attributes"] = (attributes, Field(description="What the request says of it."))
        else:
            fields["attributes"] = (none, Field(default_factory=none, description="Nothing: this model reads events."))
        self.Predict: type[BaseModel] = create_model("Predict", __config__=_STRICT, **fields)
        columns: dict[str, Any] = {key: (list[str], Field(description="One key per row."))}
        if attributes is not None:
            lists: dict[str, Any] = {name: (list[Any], Field()) for name in attributes.model_fields}
            by_name: Any = create_model("AttributeColumns", __config__=_STRICT, **lists)
            columns["attributes"] = (by_name, Field())
        by_column: Any = create_model("Columns", __config__=_STRICT, **columns)
        either: dict[str, Any] = {
            "rows": (_list(self.Predict) | None, Field(None, description="Or else `columns`.", min_length=1)),
            "columns": (by_column | None, Field(None, description="The same by column, all equally long.")),
        }
        self.Bulk: type[BaseModel] = create_model("Bulk", __config__=_STRICT, **either)
        answer: dict[str, Any] = {
            key: (str, Field()),
            "probability": (float, Field(ge=0, le=1, description=f"Of: {usecase.title}.")),
            "decision": (str, Field(description=f"`{usecase.decisions[1]}` or `{usecase.decisions[0]}`.")),
            "threshold": (float, Field(description="The decision is positive from this probability on.")),
            "model": (str, Field(description="NAME:VERSION that answered.")),
            "fingerprint": (str, Field(description="Of the features, sha256.")),
            "as_of": (str, Field(description="The time the aggregates are for, RFC 3339.")),
            "known": (bool, Field(description="False where no event of the key is known.")),
            "request_id": (str, Field()),
        }
        self.Answer: type[BaseModel] = create_model("Answer", **answer)
        row: Any = (int, Field(description="Position in the request, from 0."))
        numbered: Any = create_model("BulkAnswer", row=row, **answer)
        several: dict[str, Any] = {
            "predictions": (_list(numbered), Field(description="One per accepted row, in order.")),
            "errors": (list[RowErrors], Field(description="The rows that were not accepted, and why.")),
        }
        self.Answers: type[BaseModel] = create_model("Answers", **several)


def _list(model: Any) -> Any:
    """`list[model]` of a model made at run time."""
    return list[model]


def problems(error: ValidationError) -> list[dict[str, str]]:
    """Every problem pydantic found, as `Problem` shows it."""
    return [
        {
            "field": ".".join(map(str, one["loc"])) or "body",
            "problem": one["msg"],
            "given": "nothing" if one["type"] == "missing" else repr(one["input"])[:100],
        }
        for one in error.errors(include_url=False, include_context=False)
    ]
