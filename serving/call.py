"""One request's life: its ids, in and out, when it came and until when it must be answered."""

from __future__ import annotations

import itertools
import random
import re
import secrets
import time
from dataclasses import dataclass, field

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_PROCESS = secrets.token_hex(4)
_COUNT = itertools.count(1)


def prediction_id() -> str:
    """A new id, 26 hex digits: milliseconds since the epoch (12), this process (8), a counter (6). Ids sort by time."""
    return f"{time.time_ns() // 1_000_000:012x}{_PROCESS}{next(_COUNT) & 0xFFFFFF:06x}"


@dataclass(slots=True)
class Call:
    """A request on its way.

    Attributes:
        route: template of its path, or its gRPC method. id: ours, of the answer. request_id: the client's, else ours.
        trace: W3C trace id, the client's or a new one. flags: of the trace. deadline: `time.monotonic` until which it
        must be answered; None is the setting's. turns: of the loop in which others that come with it have arrived.
        started: `time.perf_counter` when it came. client: name of the API key that it came with.
    """

    route: str
    id: str
    request_id: str
    trace: str
    flags: str = "00"
    deadline: float | None = None
    turns: int = 2
    started: float = field(default_factory=time.perf_counter)
    client: str = ""

    @staticmethod
    def begin(route: str, request_id: str = "", traceparent: str = "") -> Call:
        """A call with the client's ids where they are well formed, and new ones where they are not."""
        own = prediction_id()
        found = _TRACE.fullmatch(traceparent) if traceparent else None
        if found is None or set(found[1]) == {"0"} or traceparent.startswith("ff"):
            trace, flags = f"{random.getrandbits(128):032x}", "00"  # an id, not a secret
        else:
            trace, flags = found[1], found[3]
        return Call(route, own, request_id if request_id and _ID.fullmatch(request_id) else own, trace, flags)

    @property
    def traceparent(self) -> str:
        """This call as the parent of what comes after (W3C Trace Context, version 00)."""
        return f"00-{self.trace}-{random.getrandbits(64):016x}-{self.flags}"  # an id, not a secret

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.perf_counter() - self.started
