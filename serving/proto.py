"""The protobuf messages of a use case, made from its contract at start: no protoc, no generated files.

Fields are `optional`, so that one that was left out is told from a 0, and carry the name that they have in JSON. Money,
integers and times are int64, numbers double, flags bool, categories and keys string.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from features.contract import Column, columns
from serving.errors import Malformed
from serving.messages import declared, written
from usecases import UseCase


class Protocol:
    """The messages and the service of one use case.

    Attributes:
        service: its full name, `holdfast.cdnow.v1.Predictions`. pool: has the file and nothing else.

    Raises:
        ContractError: if the key or a field of the contract has a name that protobuf cannot have.
    """

    def __init__(self, usecase: UseCase) -> None:
        self.usecase = usecase
        self.file, self._comments = declared(usecase)
        self.service = f"{self.file.package}.{self.file.service[0].name}"
        self.pool = DescriptorPool()
        self.pool.Add(self.file)
        self._predict, self._bulk, self._prediction, self._predictions, self._model, self._none = (
            self.message(name)
            for name in (
                "PredictRequest",
                "PredictBulkRequest",
                "Prediction",
                "PredictBulkResponse",
                "Model",
                "GetModelRequest",
            )
        )
        self._feedback, self._receipt = self.message("FeedbackRequest"), self.message("FeedbackResponse")
        attributes = columns(usecase.features.attributes) if usecase.features.attributes else None
        self._names = None if attributes is None else tuple(column.name for column in attributes)
        self._absent = {column.name: None for column in attributes or () if _optional(column)}

    def message(self, name: str) -> Any:
        """The class of a message."""
        return GetMessageClass(self.pool.FindMessageTypeByName(f"{self.file.package}.{name}"))

    def row(self, data: bytes) -> dict[str, Any]:
        """A PredictRequest as its JSON would be read: fields that were left out are not there, or None where the
        contract lets them be missing; a field that nobody knows is there under its number.

        Raises:
            Malformed: if the bytes are no such message.
        """
        return self._row(_read(self._predict, data))

    def rows(self, data: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A PredictBulkRequest, likewise: its rows, and what it says beside them."""
        bulk = _read(self._bulk, data)
        return [self._row(message) for message in bulk.rows], _asked(bulk)

    def nothing(self, data: bytes) -> None:
        """A GetModelRequest, likewise."""
        _read(self._none, data)

    def outcomes(self, data: bytes) -> list[dict[str, Any]]:
        """A FeedbackRequest, likewise."""
        return [
            {field.name: value for field, value in one.ListFields()} | _unknown(UnknownFieldSet(one))
            for one in _read(self._feedback, data).outcomes
        ]

    def receipt(self, told: Mapping[str, Any]) -> bytes:
        """A FeedbackResponse of what `Feedback.accept` tells."""
        return bytes(self._receipt(**{**told, "errors": _errors(told["errors"])}).SerializeToString())

    def prediction(self, answer: Mapping[str, Any]) -> bytes:
        """A Prediction of an answer's fields by name."""
        return bytes(self._prediction(**_explained(answer)).SerializeToString())

    def predictions(self, answers: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]) -> bytes:
        """A PredictBulkResponse: answers with their `row`, and `{"row": place, "problems": [...]}` of the others."""
        told = _errors(errors)
        predictions = [_explained(one) for one in answers]
        return bytes(self._predictions(predictions=predictions, errors=told).SerializeToString())

    def model(self, tag: str, fingerprint: str, threshold: float) -> bytes:
        """A Model."""
        labels = self.usecase.decisions
        message = self._model(tag=tag, fingerprint=fingerprint, threshold=threshold, decisions=labels)
        return bytes(message.SerializeToString())

    def text(self) -> str:
        """The .proto file, with what the contract says of each field as comments."""
        return "\n".join(written(self.file, self._comments)) + "\n"

    def _row(self, message: Any) -> dict[str, Any]:
        key = self.usecase.key
        row = _asked(message)
        if message.HasField(key):
            row[key] = getattr(message, key)
        if len(unknown := UnknownFieldSet(message)):
            row |= _unknown(unknown)
        if self._names is not None and message.HasField("attributes"):
            given = message.attributes
            has = given.HasField
            attributes = {name: getattr(given, name) for name in self._names if has(name)}
            if len(attributes) < len(self._names):
                attributes = self._absent | attributes
            if len(unknown := UnknownFieldSet(given)):
                attributes |= _unknown(unknown)
            row["attributes"] = attributes
        return row


def _read(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Malformed(f"the message is no {kind.DESCRIPTOR.name}: {error}") from None


def _asked(message: Any) -> dict[str, Any]:
    """What a request says of explanations."""
    return {name: getattr(message, name) for name in ("explain", "top") if message.HasField(name)}


def _explained(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer with the values in its explanation as JSON: protobuf has no type for any of them."""
    if "explanation" not in answer:
        return answer
    own = answer["explanation"]
    told = [{**one, "value": json.dumps(one["value"], ensure_ascii=False)} for one in own["contributions"]]
    return {**answer, "explanation": {**own, "contributions": told}}


def _unknown(fields: Any) -> dict[str, Any]:
    return {f"field {field.field_number}": None for field in fields}


def _optional(column: Column) -> bool:
    """Whether it may be missing."""
    return column.nullable or column.blank is not None


def _problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: str(problem[name]) for name in ("field", "problem")}
    if "given" in problem:
        told["given"] = json.dumps(problem["given"], ensure_ascii=False)
    return told


def _errors(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"row": one["row"], "problems": [_problem(each) for each in one["problems"]]} for one in errors]
