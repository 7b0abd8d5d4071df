"""The server's log: one JSON object per line, or text on a terminal, with the request's ids where there is one."""

from __future__ import annotations

import logging
import sys
import time

import msgspec

from serving.call import Call
from serving.errors import Failed
from settings import Settings

requests = logging.getLogger("holdfast.requests")
FIELDS = ("request_id", "trace", "route", "client", "outcome", "status", "ms", "unsaid")
"""What a line about a request carries beside its message."""


class JSONFormatter(logging.Formatter):
    """Lines of `time` (RFC 3339), `level`, `logger`, `message`, the request's fields and `error`, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        seconds = time.gmtime(record.created)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{int(record.msecs):03d}Z"
        line = {"time": stamp, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(settings: Settings) -> None:
    """Let every logger of this process write to stderr in the form that the settings ask for."""
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s") if text else JSONFormatter()
    )
    root = logging.getLogger()
    root.handlers = [handler]
    for name in ("bentoml", "holdfast", "uvicorn", "uvicorn.error"):
        own = logging.getLogger(name)
        own.handlers, own.propagate, own.disabled = [], True, False
        own.setLevel(logging.INFO)
    for name in ("grpc._cython.cygrpc", "uvicorn.error"):
        logging.getLogger(name).addFilter(_ours)
    logging.getLogger("uvicorn.access").propagate = False  # without a handler uvicorn does not even make its lines


def _ours(record: logging.LogRecord) -> bool:
    """Whether a line is about us, and not about what a client did: that a method or metadata of gRPC's is no text, or
    that a connection was reset while it was answered. Anybody could fill a disk with these, some of them tracebacks."""
    error = record.exc_info[1] if record.exc_info else None
    theirs = isinstance(error, UnicodeDecodeError) or type(error).__name__ == "ExecuteBatchError"
    return not theirs and record.msg != "ASGI callable returned without completing response."


class Access:
    """A line for each request that was answered, if `which` (HOLDFAST_ACCESS_LOG) wants one: no body, no key.

    Of problems at most `most` a second get one, so that nobody fills a disk by asking wrongly; `unsaid` counts the
    rest, and the metrics count all.
    """

    def __init__(self, which: str, most: int = 50) -> None:
        self.which, self.most = which, most
        self._second, self._said, self._unsaid = 0, 0, 0

    def __call__(self, call: Call, outcome: str, status: int | str) -> None:
        """`status` is HTTP's, or the name of gRPC's code."""
        problem = outcome not in ("ok", "partial")
        if self.which == "off" or (self.which == "problems" and not problem):
            return
        told: dict[str, object] = {"request_id": call.request_id, "trace": call.trace, "route": call.route}
        if call.client:
            told["client"] = call.client
        told |= {"outcome": outcome, "status": status, "ms": round(call.seconds * 1_000, 3)}
        if problem:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._said = second, 0
            if self._said >= self.most:
                self._unsaid += 1
                return
            self._said += 1
            if self._unsaid:
                told["unsaid"], self._unsaid = self._unsaid, 0
        level = logging.ERROR if outcome == Failed.outcome() else logging.WARNING if problem else logging.INFO
        requests.log(level, "%s %s %s", call.route, outcome, status, extra=told)
