"""What schemathesis is told beside the OpenAPI document: two rules of ours that no JSON schema can say.

- Columns are equally long. Of a request that is meant to be right all are cut to the shortest.
- A bulk request is answered in part: rows that are wrong are told in `errors`, beside the answers of the others. That
  counts as a refusal, and an answer without `errors` does not.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

PARTIAL = ("/v1/predict/bulk", "/v1/feedback")
"""Answered in part."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001  # what it is called with
    """Cut columns to the shortest, just before they are sent."""
    body = case.body
    if case.meta is None or not case.meta.generation.mode.is_positive or not isinstance(body, dict):
        return
    columns = body.get("columns")
    if not isinstance(columns, dict):
        return
    attributes = columns.get("attributes", {})
    lists = [one for one in [*columns.values(), *attributes.values()] if isinstance(one, list)]
    shortest = min(map(len, lists))
    for one in lists:
        del one[shortest:]


@schemathesis.check
def wrong_data_are_told(context: Any, response: Any, case: Any) -> bool | None:
    """`negative_data_rejection`, which is left out in its favour, where what is answered in part is refused in part."""
    if case.operation.path in PARTIAL and response.status_code == 200 and response.json().get("errors"):
        return None
    rejected: bool | None = negative_data_rejection(context, response, case)
    return rejected
