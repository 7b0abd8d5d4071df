"""What can go wrong with a request, and how it is told (RFC 9457, application/problem+json).

RequestError
  Malformed           400  the body is no JSON
  NotAccepted         422  the JSON is not what the contract asks for; every problem of every row
  TooLarge            413  more bytes or rows than the limits
  WrongMedia          415  the body is not application/json
  NotReady            503  the gate refused the model, or the online store is out of reach or lacks the rows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RequestError(Exception):
    """A request that is answered with a problem. `problems` are the single reasons, all of them."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(detail)
        self.detail, self.problems = detail, list(problems)

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem as RFC 9457 says it, with `problems` and the request's id beside."""
        kind = f"urn:holdfast:problem:{self.title.lower().replace(' ', '-')}"
        plain = {"type": kind, "title": self.title, "status": self.status, "detail": self.detail}
        return {**plain, "problems": self.problems, "request_id": request_id}


class Malformed(RequestError):
    """The body is no JSON."""

    status, title = 400, "Malformed body"


class NotAccepted(RequestError):
    """The JSON is not what the contract asks for."""

    status, title = 422, "Not what the contract asks for"


class TooLarge(RequestError):
    """More bytes or rows than the limits."""

    status, title = 413, "Too large"


class WrongMedia(RequestError):
    """The body is not application/json."""

    status, title = 415, "Wrong media type"


class NotReady(RequestError):
    """No answer can be given now; `problems` say why and what to do."""

    status, title = 503, "Not ready"
