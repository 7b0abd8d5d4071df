"""What goes over the wire, derived from a use case's contracts: requests, answers, and every problem of a row."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from features.contract import Contract, Key
from features.contract import columns as columns_of
from model.explanation import MOST, TOP
from usecases import UseCase

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """One reason why a row was not accepted."""

    field: str = Field(description="Where: `customer_id`, `attributes.tenure`.")
    problem: str = Field(description="What is wrong.")
    given: Any = Field(None, description="The value that was sent, shortened; nothing where it is missing.")


class RowErrors(BaseModel):
    """All problems of one row of a bulk request."""

    row: int = Field(description="Position in the request, from 0.")
    problems: list[Problem]


class Contribution(BaseModel):
    """What one input of the model adds to the margin."""

    feature: str = Field(description="Of the model's `inputs`.")
    value: bool | int | float | str | None = Field(
        description="Its value: a level as text, money in minor units, times in microseconds; null where it is missing."
    )
    contribution: float = Field(description="In log-odds; above 0 it speaks for the positive decision.")


class Explanation(BaseModel):
    """Why: base + the contributions + rest = margin, but for rounding."""

    base: float = Field(description="The margin before anything is known of a row.")
    margin: float = Field(description="The model's log-odds, before calibration makes the probability of them.")
    contributions: list[Contribution] = Field(description="The largest by size, in that order.")
    rest: float = Field(description="What the other inputs add up to.")


_Whole = Annotated[int, BeforeValidator(lambda given: int(given) if _is_whole(given) else given)]
"""JSON has one kind of number: 5.0 is a whole one too."""


def _absent(schema: dict[str, Any]) -> None:
    """Of a field that is not there or has a value: no null, and no default, with which it would count as there."""
    schema.pop("default")
    if "anyOf" in schema:
        schema.update(schema.pop("anyOf")[0])


_EXPLAIN: dict[str, Any] = {
    "explain": (
        bool,
        Field(
            False,
            description="Whether answers carry an explanation; false where it is not said.",
            json_schema_extra=_absent,
        ),
    )
}
_TOP: dict[str, Any] = {
    "top": (
        _Whole,
        Field(
            TOP,
            ge=1,
            le=MOST,
            description=f"Most contributions of an explanation, if there is one; {TOP} where it is not said.",
            json_schema_extra=_absent,
        ),
    )
}


class Schema:
    """The models of one use case. `Predict` and `Explain` ask for a row, `Bulk` for many, each a `Row`, or for columns;
    `Answer` and `Answers` come back. `Asked` is what each may say beside its rows.

    `fields` are the attributes' columns, in the contract's order, and `names` their names.
    """

    def __init__(self, usecase: UseCase) -> None:
        key, attributes = usecase.key, usecase.features.attributes
        self.key, self.fields = key, tuple(usecase.features.fields.values())
        self.names = tuple(field.name for field in self.fields)
        own = columns_of(attributes) if attributes else ()
        self.money = frozenset(column.name for column in own if column.kind == "money")
        none = create_model("Attributes", __base__=Contract)
        fields: dict[str, Any] = {key: (Key, Field(description="Whose prediction is asked for."))}
        if attributes is not None:
            fields["attributes"] = (attributes, Field(description="What the request says of it."))
        else:
            fields["attributes"] = (none, Field(default_factory=none, description="Nothing: this model reads events."))
        self.Row: type[BaseModel] = create_model("Row", __config__=_STRICT, **fields)
        self.Asked: type[BaseModel] = create_model("Asked", __config__=_STRICT, **_EXPLAIN, **_TOP)
        self.Predict: type[BaseModel] = create_model("Predict", __config__=_STRICT, **fields, **_EXPLAIN, **_TOP)
        self.Explain: type[BaseModel] = create_model("Explain", __config__=_STRICT, **fields, **_TOP)
        columns: dict[str, Any] = {key: (list[str], Field(description="One key per row."))}
        if attributes is not None:
            lists: dict[str, Any] = {name: (list[Any], Field()) for name in attributes.model_fields}
            by_name: Any = create_model("AttributeColumns", __config__=_STRICT, **lists)
            columns["attributes"] = (by_name, Field())
        by_column: Any = create_model("Columns", __config__=_STRICT, **columns)
        either: dict[str, Any] = {
            "rows": (_list(self.Row) | None, Field(None, description="Or else `columns`.", min_length=1)),
            "columns": (by_column | None, Field(None, description="The same by column, all equally long.")),
            **_EXPLAIN,
            **_TOP,
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
            "degraded": (
                bool,
                Field(description="True where the online store was out of reach: answered as a key without events."),
            ),
            "request_id": (str, Field(description="The request's `x-request-id`, or else ours.")),
            "prediction_id": (str, Field(description="Of this answer, in the prediction log.")),
            "explanation": (
                Explanation | None,
                Field(None, description="Only there where it was asked for.", json_schema_extra=_absent),
            ),
        }
        self.Answer: type[BaseModel] = create_model("Answer", **answer)
        row: Any = (int, Field(description="Position in the request, from 0."))
        numbered: Any = create_model("BulkAnswer", row=row, **answer)
        several: dict[str, Any] = {
            "predictions": (_list(numbered), Field(description="One per accepted row, in order.")),
            "errors": (list[RowErrors], Field(description="The rows that were not accepted, and why.")),
        }
        self.Answers: type[BaseModel] = create_model("Answers", **several)


def _is_whole(given: object) -> bool:
    return isinstance(given, float) and given.is_integer()


def _list(one: Any) -> Any:
    """`list[one]` of a type made at run time."""
    return list[one]


def problems(error: ValidationError, money: frozenset[str]) -> list[dict[str, Any]]:
    """Every problem pydantic found, as `Problem` shows it; `money` are the fields that hold cents."""
    found = []
    for one in error.errors(include_url=False, include_context=False):
        told: dict[str, Any] = {"field": ".".join(map(str, one["loc"])) or "body", "problem": _words(one, money)}
        if one["type"] != "missing":
            told["given"] = _short(one["input"])
        found.append(told)
    return found


def _words(one: Any, money: frozenset[str]) -> str:
    if one["type"] in ("model_type", "model_attributes_type"):
        return "Input should be an object"
    if one["type"] == "string_pattern_mismatch":
        return "String should have no control characters"
    if one["type"] == "int_type" and one["loc"][-1:] and one["loc"][-1] in money:
        return f"{one['msg']}: money is a whole number of minor units (cents)"
    return str(one["msg"])


def _short(value: Any) -> Any:
    """A plain value as it is, anything long or nested as its first characters."""
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 2**53):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= 100 else f"{text[:100]}..."
