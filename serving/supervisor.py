"""The process that BentoML starts workers from: a worker that was killed is replaced at once.

The supervisor (circus 0.19, as BentoML uses it) holds HTTP's socket and looks after its worker every ten seconds. While
there is none, connections queue at the socket: each second less is a second less that clients wait. This is the only
module that knows circus.
"""

from __future__ import annotations

import signal
from functools import wraps
from typing import Any

from circus.controller import Controller
from circus.exc import ConflictError

AGAIN = 0.1
"""Seconds until a look that came while the supervisor was at something else is taken again."""


def attend() -> None:
    """Let the supervisor that is started next in this process look after its worker as soon as one ends."""
    begin = Controller.start

    @wraps(begin)
    def start(controller: Any) -> None:
        begin(controller)
        signal.signal(signal.SIGCHLD, lambda *_: controller.loop.add_callback_from_signal(_look, controller))

    Controller.start = start


def _look(controller: Any) -> None:
    try:
        controller.arbiter.manage_watchers()
    except ConflictError:  # it is starting or stopping
        if controller.started and not controller.arbiter._stopping:
            controller.loop.call_later(AGAIN, _look, controller)
