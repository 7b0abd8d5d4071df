"""The OpenAPI document as it is true: BentoML's own, with the errors, routes and servers that this service has."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, Field

from serving.errors import Malformed, NotAccepted, NotReady, RequestError, TooLarge, WrongMedia

MEDIA = "application/problem+json"
ERRORS: tuple[type[RequestError], ...] = (Malformed, NotAccepted, TooLarge, WrongMedia, NotReady)


class ProblemDetails(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem.")
    title: str
    status: int
    detail: str
    problems: list[Any] = Field(description="Every single reason.")
    request_id: str


class Ready(BaseModel):
    """What /readyz says when predictions can be asked for."""

    ready: bool
    model: str = Field(description="NAME:VERSION.")
    proof: str = Field(description="What the load gate proved.")
    degraded: bool = Field(description="The online store is out of reach, and every key is answered as unknown.")
    problems: list[str] = Field(description="Why it is degraded.")


def document(spec: dict[str, Any], version: str, about: str) -> dict[str, Any]:
    """The document of a service whose BentoML document is `spec`; `version` is the model's, `about` a description."""
    told = copy.deepcopy(spec)
    told["info"] |= {"title": "Holdfast", "version": version, "description": about}
    told["info"].pop("contact", None)
    schemas = told["components"].setdefault("schemas", {})
    for unused in ("InvalidArgument", "NotFound", "InternalServerError", "TaskStatusResponse"):
        schemas.pop(unused, None)
    for model in (ProblemDetails, Ready):
        schemas[model.__name__] = model.model_json_schema()
    problems = {str(error.status): _response(error.title, "ProblemDetails", MEDIA) for error in ERRORS}
    told["paths"].pop("/healthz", None)
    metrics = {"200": {"description": "Metrics, as Prometheus reads them", "content": {"text/plain": {}}}}
    told["paths"]["/metrics"] = {"get": {"operationId": "metrics", "responses": metrics}}
    told["paths"]["/readyz"]["get"]["responses"] = {
        "200": _response("Predictions can be asked for", "Ready", "application/json"),
        "503": problems["503"],
    }
    for path, item in told["paths"].items():
        if path.startswith("/v1/"):
            responses = item["post"]["responses"]
            item["post"]["responses"] = {"200": responses.get("200", responses.get(200)), **problems}
    return told


def _response(description: str, schema: str, media: str) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
