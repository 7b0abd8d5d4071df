"""What the protobuf messages of a use case are, as its contract says; and the text of their `.proto` file."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from features.contract import SAFE_INTEGER, Column, ContractError, Kind, columns
from model.explanation import MOST, TOP
from usecases import UseCase

_TYPES = {
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
}
_KINDS: dict[Kind, str] = {
    "money": "int64",
    "integer": "int64",
    "time": "int64",
    "arrival": "int64",
    "number": "double",
    "flag": "bool",
    "category": "string",
    "key": "string",
    "id": "string",
}
_UNITS: dict[Kind, str] = {
    "money": "Minor units (cents)",
    "time": "Microseconds since the epoch, UTC",
    "arrival": "Microseconds since the epoch, UTC",
    "key": "1 to 128 characters, no control characters",
    "id": "1 to 128 characters, no control characters",
}
_METHODS = (
    ("Predict", "PredictRequest", "Prediction", "One row's prediction."),
    (
        "PredictBulk",
        "PredictBulkRequest",
        "PredictBulkResponse",
        "The same for many rows; a row that is not accepted does not fail the others. A large answer may be more than "
        "the 4 MB that clients receive by default.",
    ),
    ("GetModel", "GetModelRequest", "Model", "What answers."),
    (
        "Feedback",
        "FeedbackRequest",
        "FeedbackResponse",
        "What became of those whom predictions were about. An outcome that is not accepted does not fail the others.",
    ),
)
_FILE = (
    "Made by `holdfast contract proto {name}` from the contract of {title!r}. A field's number is its place in the "
    "contract: a new field goes at the end, and none is taken out or moved, or else today's clients misread it. Every "
    "field has to be there unless its comment says what leaving it out means. An unknown field is refused. Every "
    "answer has the metadata x-request-id; an error has its problem (RFC 9457) as JSON in holdfast-problem-bin."
)


@dataclass(frozen=True)
class _Field:
    """One field of a message; `type` is a scalar's or a message's name. Its number is its place."""

    name: str
    type: str
    comment: str = ""
    repeated: bool = False


def declared(usecase: UseCase) -> tuple[FileDescriptorProto, dict[str, str]]:
    """The file, and the comments by the name of what they are about; the file's own under ""."""
    segment = re.sub(r"[^A-Za-z0-9_]", "_", usecase.name)
    package = f"holdfast.{'_' * segment[0].isdigit()}{segment}.v1"
    file = FileDescriptorProto(name=package.replace(".", "/") + "/predictions.proto", package=package, syntax="proto3")
    comments = {"": _FILE.format(name=usecase.name, title=usecase.title)}
    for name, comment, fields in _messages(usecase):
        message = file.message_type.add(name=name)
        comments[name] = comment
        for field in fields:
            _add(message, field, package)
            comments[f"{name}.{field.name}"] = field.comment
    service = file.service.add(name="Predictions")
    comments["Predictions"] = f"Predictions of {usecase.title!r}."
    for name, request, response, comment in _METHODS:
        service.method.add(name=name, input_type=f".{package}.{request}", output_type=f".{package}.{response}")
        comments[f"Predictions.{name}"] = comment
    return file, comments


def written(file: FileDescriptorProto, comments: Mapping[str, str]) -> Iterator[str]:
    """The lines of the file, with what the contract says of each field as comments."""
    words = {number: word for word, number in _TYPES.items()}
    yield from _commented(comments[""])
    yield from ('syntax = "proto3";', "", f"package {file.package};")
    for service in file.service:
        yield from ("", *_commented(comments[service.name]), f"service {service.name} {{")
        for method in service.method:
            yield from _commented(comments[f"{service.name}.{method.name}"], "  ")
            request, response = (kind.rpartition(".")[2] for kind in (method.input_type, method.output_type))
            yield f"  rpc {method.name}({request}) returns ({response});"
        yield "}"
    for message in file.message_type:
        yield from ("", *_commented(comments[message.name]), f"message {message.name} {{")
        for field in message.field:
            yield from _commented(comments[f"{message.name}.{field.name}"], "  ")
            repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
            label = "repeated " if repeated else "optional " if field.proto3_optional else ""
            kind = words.get(field.type) or field.type_name.rpartition(".")[2]
            named = f' [json_name = "{field.json_name}"]' if "_" in field.name else ""  # or else camelCase
            yield f"  {label}{kind} {field.name} = {field.number}{named};"
        yield "}"


def _answer(usecase: UseCase) -> tuple[_Field, ...]:
    below, above = usecase.decisions
    return (
        _Field(usecase.key, "string", "Whose prediction it is."),
        _Field("probability", "double", f"Of: {usecase.title}."),
        _Field("decision", "string", f'"{above}" or "{below}".'),
        _Field("threshold", "double", "The decision is positive from this probability on."),
        _Field("model", "string", "NAME:VERSION that answered."),
        _Field("fingerprint", "string", "Of the features, sha256."),
        _Field("as_of", "string", "The time the aggregates are for, RFC 3339."),
        _Field("known", "bool", "False where no event of the key is known."),
        _Field("degraded", "bool", "True where the online store was out of reach: answered as a key without events."),
        _Field("request_id", "string", "The metadata x-request-id, or else the server's own id of the request."),
        _Field("prediction_id", "string", "The server's own id of this prediction, in the prediction log."),
        _Field("row", "int32", "In a bulk answer: the position in the request, from 0."),
        _Field("explanation", "Explanation", "Why; there where it was asked for."),
    )


_EXPLAIN = (
    _Field("explain", "bool", "Whether predictions carry an explanation. May be left out: means false."),
    _Field("top", "int32", f"Most contributions of an explanation. 1 to {MOST}. May be left out: means {TOP}."),
)


def _messages(usecase: UseCase) -> Iterator[tuple[str, str, tuple[_Field, ...]]]:
    """Name, comment and fields of every message."""
    own = usecase.features.attributes
    key = _Field(usecase.key, "string", f"Whose prediction is asked for. {_UNITS['key']}.")
    if own is None:
        yield "PredictRequest", "One row.", (key, *_EXPLAIN)
    else:
        fields = tuple(_Field(column.name, _KINDS[column.kind], _comment(column)) for column in columns(own))
        said = _Field("attributes", "Attributes", "What the request says of it.")
        yield "PredictRequest", "One row.", (key, said, *_EXPLAIN)
        yield "Attributes", (own.__doc__ or "").strip(), fields
    yield "Prediction", "The answer for one row.", _answer(usecase)
    rows = _Field("rows", "PredictRequest", "At least one.", repeated=True)
    yield "PredictBulkRequest", "Many rows, which say nothing of explanations themselves.", (rows, *_EXPLAIN)
    predictions = _Field("predictions", "Prediction", "One per accepted row, in order.", repeated=True)
    errors = _Field("errors", "RowErrors", "The rows that were not accepted, and why.", repeated=True)
    yield "PredictBulkResponse", "", (predictions, errors)
    place = _Field("row", "int32", "Position in the request, from 0.")
    yield "RowErrors", "All problems of one row.", (place, _Field("problems", "Problem", repeated=True))
    field = _Field("field", "string", "Where: `customer_id`, `attributes.tenure`.")
    given = _Field("given", "string", "The value that was sent, as JSON, shortened; left out where it is missing.")
    yield "Problem", "One reason.", (field, _Field("problem", "string", "What is wrong."), given)
    yield "GetModelRequest", "", ()
    yield (
        "Explanation",
        "Why: base + the contributions + rest = margin, but for rounding. All are log-odds.",
        (
            _Field("base", "double", "The margin before anything is known of a row."),
            _Field("margin", "double", "What calibration makes the probability of."),
            _Field("contributions", "Contribution", "The largest by size, in that order.", repeated=True),
            _Field("rest", "double", "What the other inputs add up to."),
        ),
    )
    yield (
        "Contribution",
        "What one input of the model adds to the margin.",
        (
            _Field("feature", "string", "The input's name."),
            _Field("value", "string", "Its value, as JSON; null where it is missing."),
            _Field("contribution", "double", "Above 0 it speaks for the positive decision."),
        ),
    )
    tag = _Field("tag", "string", "NAME:VERSION.")
    fingerprint = _Field("fingerprint", "string", "Of the features, sha256.")
    threshold = _Field("threshold", "double", "The decision is positive from this probability on.")
    labels = _Field("decisions", "string", "In words: below the threshold, and from it on.", repeated=True)
    yield "Model", "What answers.", (tag, fingerprint, threshold, labels)
    yield from _feedback(usecase)


def _feedback(usecase: UseCase) -> Iterator[tuple[str, str, tuple[_Field, ...]]]:
    """The messages of outcomes."""
    outcomes = _Field("outcomes", "Outcome", "At least one.", repeated=True)
    yield "FeedbackRequest", "Outcomes.", (outcomes,)
    yield (
        "Outcome",
        f"What became of one: of a prediction by its id, or of {usecase.key} and at. Times are RFC 3339.",
        (
            _Field("prediction_id", "string", f"Of an answer. May be left out: {usecase.key} and at say which."),
            _Field(usecase.key, "string", "Whom the prediction was about. May be left out: prediction_id says which."),
            _Field("at", "string", "Of the last prediction at or before this time. May be left out, as the key."),
            _Field("outcome", "bool", f"Whether it happened. What is predicted: {usecase.title}."),
            _Field("observed_at", "string", "When this was known. A later one corrects what was observed before."),
            _Field("outcome_id", "string", "Sent again, it changes nothing. May be left out: made of the rest."),
        ),
    )
    kept = _Field("outcomes", "KeptOutcome", "The accepted ones, in order.", repeated=True)
    errors = _Field("errors", "RowErrors", "Those that were not accepted, and why.", repeated=True)
    yield "FeedbackResponse", "", (_Field("accepted", "int32", "How many are recorded."), kept, errors)
    place = _Field("row", "int32", "Position in the request, from 0.")
    yield "KeptOutcome", "", (place, _Field("outcome_id", "string", "The request's own, or made of what it says."))


def _comment(column: Column) -> str:
    parts = [column.description.strip().removesuffix("."), _UNITS.get(column.kind, "")]
    if column.levels:
        parts.append("One of " + ", ".join(json.dumps(level, ensure_ascii=False) for level in column.levels))
    elif column.kind not in ("key", "id"):
        parts.append(_bounds(column.low, column.high))
    if column.nullable:
        parts.append("May be left out: missing")
    if column.blank is not None:
        parts.append(f"May be left out: means {json.dumps(column.blank.value)}, {column.blank.why}")
    return "".join(f"{part}. " for part in parts if part).strip()


def _bounds(low: float | None, high: float | None) -> str:
    low, high = (None if bound is None or abs(bound) == SAFE_INTEGER else bound for bound in (low, high))
    if low is None or high is None:
        return f"At least {low}" if low is not None else f"At most {high}" if high is not None else ""
    return f"{low} to {high}"


def _add(message: DescriptorProto, field: _Field, package: str) -> None:
    if not field.name.isascii():
        raise ContractError(f"{field.name!r} cannot be a field of a protobuf message: its letters are not all ASCII")
    label = FieldDescriptorProto.LABEL_REPEATED if field.repeated else FieldDescriptorProto.LABEL_OPTIONAL
    added = message.field.add(name=field.name, number=len(message.field) + 1, label=label, json_name=field.name)
    if field.type in _TYPES:
        added.type = _TYPES[field.type]
    else:
        added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{field.type}"
    if not field.repeated and field.type in _TYPES:
        added.proto3_optional, added.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{field.name}")


def _commented(comment: str, indent: str = "") -> list[str]:
    slashes = f"{indent}// "
    return textwrap.wrap(comment, 100, initial_indent=slashes, subsequent_indent=slashes, break_on_hyphens=False)
