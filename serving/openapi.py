"""The OpenAPI document, made from the models and the errors that answer, and the page at / that shows it.

BentoML's own document knows neither the errors nor most of the routes, and names its schemas for itself. BentoML's own
page reports its visitors to a third party.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.core import Core
from serving.errors import ERRORS
from serving.examples import REQUEST_ID, Examples, Told
from serving.feedback import Receipt
from serving.told import Live, Models, ProblemDetails, Ready
from settings import Settings

JSON, TEXT, MEDIA = "application/json", "text/plain", "application/problem+json"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

OPEN = ("/readyz", "/livez", "/v2/health/ready", "/v2/health/live")
"""Paths that ask for no key."""

PAGE = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Holdfast</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "./docs.json", dom_id: "#page", deepLinking: true, validatorUrl: null})</script></body>
</html>
"""
"""Swagger UI, as BentoML brings it; it asks nobody but this server."""


def document(core: Core) -> dict[str, Any]:
    """The document of what this core answers."""
    examples, schema, limits = Examples(core), core.schema, core.settings
    told: list[type[BaseModel]] = [schema.Answer, schema.Answers, Receipt, Models, Ready, Live, ProblemDetails]
    by_prediction, by_key = core.feedback.ByPrediction, core.feedback.ByKey
    asked: list[type[BaseModel]] = [schema.Predict, schema.Explain, schema.Row, by_prediction, by_key]
    modes: Any = [*((one, "validation") for one in asked), *((one, "serialization") for one in told)]
    found, definitions = models_json_schema(modes, ref_template=f"{_SCHEMAS}{{model}}")
    predict, explain, row, *outcome = (found[mode] for mode in modes[: len(asked)])
    answer, answers, receipt, models, ready, live, problem = (found[mode] for mode in modes[len(asked) :])
    schemas = definitions["$defs"]
    size, most = f"At most {limits.max_body_bytes:,} bytes", min(limits.max_explained_rows, limits.max_rows)
    paths = {
        "/v1/predict": {
            "post": _operation("predict", "Predictions", "The probability and the decision for one row")
            | _body(f"{size}.", predict, {"row": examples.row, "row, and why": examples.why()})
            | _responses(problem, examples.refusals_of_one(), _answer(answer, examples.answers_of_one()))
        },
        "/v1/explain": {
            "post": _operation(
                "explain",
                "Predictions",
                "The same, and why",
                "What inputs add to the margin: Shapley values of the model's trees, or the terms of a linear model. "
                "It costs far more than a prediction, waits in a queue of its own, and never holds up predictions.",
            )
            | _body(f"{size}.", explain, {"row": examples.row})
            | _responses(problem, examples.refusals_of_one(), _answer(answer, examples.answers_of_one(explained=True)))
        },
        "/v1/predict/bulk": {
            "post": _operation(
                "predictBulk",
                "Predictions",
                "The same for many rows",
                "A row that is not accepted does not fail the others: it is told in `errors`. Only a request none of "
                "whose rows is accepted is answered with 422.",
            )
            | _body(
                f"{size} and {limits.max_rows:,} rows; {most:,} where they ask why.",
                {"$ref": f"{_SCHEMAS}Bulk"},
                examples.bulk(),
            )
            | _responses(problem, examples.refusals_of_many(), _answer(answers, examples.answers()))
        },
        "/v1/feedback": {
            "post": _operation(
                "feedback",
                "Predictions",
                "What became of those whom predictions were about",
                "An outcome is recorded before it is acknowledged. Sent again it changes nothing; what was observed "
                "later corrects what was observed before. Late ones, and those of predictions that are not in the log "
                "yet, are as welcome as others. One that is not accepted does not fail the others.",
            )
            | _body(
                f"{size} and {limits.max_rows:,} outcomes.",
                _feedback(outcome, limits.max_rows),
                examples.feedback(),
            )
            | _responses(problem, examples.refusals_of_feedback(), _answer(receipt, examples.receipts()))
        },
        "/v1/models": {
            "get": _operation("models", "Model", "What answers: the manifest, the fingerprint and the decision rule")
            | _responses(problem, examples.not_ready(), _answer(models, {"live": core.models()} if core.loaded else {}))
        },
        "/readyz": {
            "get": _operation("ready", "Operations", "Whether predictions can be asked for, or every reason why not")
            | _responses(problem, examples.not_ready(), _answer(ready, {"ready": examples.ready()}))
        },
        "/livez": {
            "get": _operation("live", "Operations", "Whether the process lives")
            | _responses(problem, (), _answer(live, {"live": {"live": True}}))
        },
        "/metrics": {
            "get": _operation("metrics", "Operations", "What Prometheus reads")
            | _responses(problem, (), _answer({"type": "string"}, {}, TEXT))
        },
        "/docs.json": {
            "get": _operation("document", "Operations", "This document")
            | _responses(problem, (), _answer({"type": "object"}, {}))
        },
    }
    elsewhere = _responses(problem, examples.elsewhere())["responses"]
    names = {str(error.status): error.__name__ for error in ERRORS}
    whole = {
        "openapi": "3.1.0",
        "info": {"title": core.usecase.title, "version": core.tag, "description": _about(core)},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": schemas | _bulk(schemas, predict, row, limits),
            "responses": {names[status]: response for status, response in elsewhere.items()},
        },
    }
    return whole if limits.api_keys is None else _keyed(whole)


def _keyed(whole: dict[str, Any]) -> dict[str, Any]:
    """The document where keys are asked for."""
    bearer, header = {"type": "http", "scheme": "bearer"}, {"type": "apiKey", "in": "header", "name": "x-api-key"}
    whole["components"]["securitySchemes"] = {"bearer": bearer, "header": header}
    whole["security"] = [{"bearer": []}, {"header": []}]
    for path, item in whole["paths"].items():
        for operation in item.values():
            if path in OPEN:
                operation["security"] = []
            else:
                operation["responses"]["401"] = {"$ref": "#/components/responses/Unauthorized"}
    return whole


def _about(core: Core) -> str:
    limits, kinds = core.settings, sorted({(error.status, error.title) for error in ERRORS})
    size, rows, waiting = (f"{most:,}" for most in (limits.max_body_bytes, limits.max_rows, limits.max_queue_rows))
    problems = ", ".join(f"{status} {title.lower()}" for status, title in kinds)
    return (
        f"Answered by `{core.tag}`, whose features have the fingerprint `{core.usecase.features.fingerprint}`.\n\n"
        f"**Problems** are `{MEDIA}` (RFC 9457): {problems}. 404 is for any path and 405 for any method that "
        "is not listed here. With 429 and 503, `Retry-After` says when to ask again; no prediction was "
        "made then.\n\n"
        "**The Open Inference Protocol** V2 is spoken under `/v2`, by which `GET /v2/models/"
        f"{core.usecase.name}` tells its tensors.\n\n"
        f"**Limits**: a body of {size} bytes, {rows} rows in a request, {waiting} rows that wait to be scored, and "
        f"{limits.max_latency_ms / 1_000:g} s until their turn: what would come later is refused.\n\n"
        "**Ids**: `x-request-id` and `traceparent` come back with every answer, the request's own where they are well "
        "formed. `prediction_id` finds an answer in the prediction log."
    )


def _operation(name: str, tag: str, summary: str, description: str = "") -> dict[str, Any]:
    parameters = [
        {"in": "header", "name": header, "required": False, "description": told["description"], "schema": _ANY}
        for header, told in _IDS.items()
    ]
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description or f"{summary}.",
        "parameters": parameters,
    }


def _body(limits: str, schema: dict[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "description": limits, "content": _content(JSON, schema, examples)}}


def _answer(schema: dict[str, Any], examples: Mapping[str, Any], media: str = JSON) -> dict[str, Any]:
    return {"200": {"description": "Answered", "headers": _IDS, "content": _content(media, schema, examples)}}


def _responses(
    schema: dict[str, Any], refusals: Iterable[Told], answer: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The answer and the problems by status; each example of a problem is named for what was sent."""
    by_status = defaultdict[int, list[Told]](list)
    for sent, error in refusals:
        by_status[error.status].append((sent, error))
    responses = dict(answer or {})
    for status, told in sorted(by_status.items()):
        why = dict.fromkeys(f"{error.title}: {type(error).__doc__}" for _, error in told)
        bodies = {sent: error.body(REQUEST_ID) for sent, error in told}
        own = {401: _AUTHENTICATE, 405: _ALLOW}.get(status, {})
        headers = _IDS | (_RETRY if told[0][1].retry_after else {}) | own
        content = _content(MEDIA, schema, bodies)
        responses[str(status)] = {"description": " ".join(why), "headers": headers, "content": content}
    return {"responses": responses}


def _content(media: str, schema: dict[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    told = {f"{n}": {"summary": name, "value": example} for n, (name, example) in enumerate(examples.items(), 1)}
    return {media: {"schema": schema, **({"examples": told} if told else {})}}


def _bulk(schemas: Mapping[str, Any], predict: dict[str, Any], row: dict[str, Any], limits: Settings) -> dict[str, Any]:
    """The schema of a bulk request, and those of the same by column."""
    most, explained = limits.max_rows, min(limits.max_explained_rows, limits.max_rows)
    said = schemas[predict["$ref"].removeprefix(_SCHEMAS)]["properties"]
    one = schemas[row["$ref"].removeprefix(_SCHEMAS)]
    attributes = schemas[one["properties"]["attributes"]["$ref"].removeprefix(_SCHEMAS)]
    columns = _listed(one, "Columns", most)
    columns["properties"]["attributes"] = {"$ref": f"{_SCHEMAS}AttributeColumns"}
    bulk = {
        "title": "Bulk",
        "type": "object",
        "description": f"Rows, or else the same by column, all lists equally long: at most {most:,}, and {explained:,} "
        "with `explain`.",
        "properties": {
            "rows": {"type": "array", "items": row, "minItems": 1, "maxItems": most},
            "columns": {"$ref": f"{_SCHEMAS}Columns"},
            "explain": said["explain"],
            "top": said["top"],
        },
        # as `oneOf` generators of clients make another type of each, without properties
        "if": {"required": ["rows"]},
        "then": {"not": {"required": ["columns"]}},
        "else": {"required": ["columns"]},
        "additionalProperties": False,
    }
    return {"Bulk": bulk, "Columns": columns, "AttributeColumns": _listed(attributes, "AttributeColumns", most)}


def _feedback(outcomes: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """The schema of a request with outcomes of these kinds."""
    several = {"type": "array", "items": {"anyOf": outcomes}, "minItems": 1, "maxItems": most}
    return {
        "title": "Feedback",
        "type": "object",
        "properties": {"outcomes": several},
        "required": ["outcomes"],
        "additionalProperties": False,
    }


def _listed(schema: Mapping[str, Any], title: str, most: int) -> dict[str, Any]:
    """Of an object with a list where `schema` has one value."""
    shape = {"type": "array", "minItems": 1, "maxItems": most}
    lists = {name: {**shape, "items": one} for name, one in schema["properties"].items()}
    return {**schema, "title": title, "properties": lists}


_SCHEMAS = "#/components/schemas/"
_IDS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "The client's id of this request: 1 to 128 letters, digits, dots, underscores and hyphens; "
        "anything else is replaced by our own.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "traceparent": {
        "description": "W3C Trace Context: the trace this request is part of; a new one where there is none.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"},
    },
}
_ANY: dict[str, Any] = {"type": "string"}
"""Of a header that is looked at, and never a reason to refuse a request."""
_RETRY = {"retry-after": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}
_AUTHENTICATE = {"www-authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
_ALLOW = {"allow": {"description": "The method that the path takes.", "schema": {"type": "string"}}}
