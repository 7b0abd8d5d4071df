"""What can go wrong with a request, and how it is told: RFC 9457 over HTTP, a status code over gRPC, one map for both.

RequestError            HTTP  gRPC
  Malformed             400   INVALID_ARGUMENT    the body is no JSON
  Unauthorized          401   UNAUTHENTICATED     no API key came with it, or none of ours
  NotFound              404   NOT_FOUND           no such path
  WrongMethod           405   UNIMPLEMENTED       the path takes another method
  Slow                  408   DEADLINE_EXCEEDED   the body was not whole in time; over HTTP only
  TooLarge              413   INVALID_ARGUMENT    more bytes or rows than the limits
  WrongMedia            415   INVALID_ARGUMENT    the body is not application/json
  NotAccepted           422   INVALID_ARGUMENT    not what the contract asks for; every problem of every row
  Overloaded            429   RESOURCE_EXHAUSTED  more is asked for than can be answered in time; nothing was computed
  Failed                500   INTERNAL            these rows cannot be scored, whatever stands beside them
  NoLog                 501   UNIMPLEMENTED       this server keeps no prediction log, which feedback goes to
  NotReady              503   UNAVAILABLE         the gate refused the model, or the online store cannot answer
  NotRecorded           503   UNAVAILABLE         feedback cannot be recorded now: the disk or the spool is full
  Late                  503   DEADLINE_EXCEEDED   the request's deadline passed before it was its turn
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar


class RequestError(Exception):
    """A request that is answered with a problem.

    Attributes:
        problems: the single reasons, all of them. retry_after: whole seconds after which to ask again; None: never.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "INVALID_ARGUMENT"
    title: ClassVar[str] = "Bad request"
    retry_after: int | None = None

    def __init__(self, detail: str, problems: Sequence[Any] = (), *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail, self.problems = detail, list(problems)
        if retry_after is not None:
            self.retry_after = max(1, math.ceil(retry_after))

    @classmethod
    def outcome(cls) -> str:
        """The kind of problem as a label: `not-found`."""
        return cls.title.lower().replace(" ", "-")

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem as RFC 9457 says it; beside it `problems`, the request's id, and `retry_after`, since clients may
        not show headers."""
        kind = f"urn:holdfast:problem:{self.outcome()}"
        plain = {"type": kind, "title": self.title, "status": self.status, "detail": self.detail}
        again = {} if self.retry_after is None else {"retry_after": self.retry_after}
        return {**plain, "problems": self.problems, "request_id": request_id, **again}


class Malformed(RequestError):
    """The body is no JSON."""

    status, title = 400, "Malformed body"


class Unauthorized(RequestError):
    """No API key came with the request, or none of ours."""

    status, code, title = 401, "UNAUTHENTICATED", "Unauthorized"


class NotFound(RequestError):
    """There is no such path."""

    status, code, title = 404, "NOT_FOUND", "Not found"


class WrongMethod(RequestError):
    """The path takes another method."""

    status, code, title = 405, "UNIMPLEMENTED", "Wrong method"


class Slow(RequestError):
    """The body was not whole in time, and the connection is closed."""

    status, code, title = 408, "DEADLINE_EXCEEDED", "Too slow"


class TooLarge(RequestError):
    """More bytes or rows than the limits."""

    status, title = 413, "Too large"


class WrongMedia(RequestError):
    """The body is not application/json."""

    status, title = 415, "Wrong media type"


class NotAccepted(RequestError):
    """The JSON is not what the contract asks for."""

    status, title = 422, "Not what the contract asks for"


class Overloaded(RequestError):
    """More is asked for than can be answered in time; nothing was computed."""

    status, code, title = 429, "RESOURCE_EXHAUSTED", "Overloaded"
    retry_after = 1


class Failed(RequestError):
    """These rows cannot be scored, whatever stands beside them."""

    status, code, title = 500, "INTERNAL", "Cannot be scored"


class NoLog(RequestError):
    """This server keeps no prediction log, which feedback goes to."""

    status, code, title = 501, "UNIMPLEMENTED", "No log"


class NotReady(RequestError):
    """No answer can be given now; `problems` say why and what to do."""

    status, code, title = 503, "UNAVAILABLE", "Not ready"
    retry_after = 5


class NotRecorded(RequestError):
    """Feedback cannot be recorded now; sending all of it again is safe."""

    status, code, title = 503, "UNAVAILABLE", "Not recorded"
    retry_after = 5


class Late(RequestError):
    """The deadline passed before it was this request's turn; nothing was computed."""

    status, code, title = 503, "DEADLINE_EXCEEDED", "Too late"
    retry_after = 1


ERRORS: tuple[type[RequestError], ...] = (
    Malformed,
    Unauthorized,
    NotFound,
    WrongMethod,
    Slow,
    TooLarge,
    WrongMedia,
    NotAccepted,
    Overloaded,
    Failed,
    NoLog,
    NotReady,
    NotRecorded,
    Late,
)
"""Every kind there is; their outcomes are the labels of the metrics."""
