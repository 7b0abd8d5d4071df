"""Routes: which handler answers a path, by which method, and what it may be sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from serving.call import Call

JSON, PROBLEM = b"application/json", b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as its handler sees it: headers by lower-case names, and what the template's names stand for."""

    call: Call
    body: bytes
    headers: dict[bytes, bytes]
    path: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out with 200; `outcome` is the metrics' label."""

    body: bytes
    outcome: str = "ok"
    media: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Asked], Awaitable[Answer]]


def _plain(problem: dict[str, Any]) -> dict[str, Any]:
    return problem


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        template: a path, in which `{name}` stands for one segment. open: whether it asks for no key.
        media: content types that a body may have. problem: what this face adds to a problem's body, of `problem_media`.
    """

    method: str
    template: str
    handler: Handler
    open: bool = False
    media: tuple[bytes, ...] = (JSON,)
    problem: Callable[[dict[str, Any]], dict[str, Any]] = field(default=_plain)
    problem_media: bytes = PROBLEM


class Routes:
    """All routes of a server; a path has one."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        self._exact = {route.template: route for route in self.all if "{" not in route.template}
        self._patterns = [(_pattern(route.template), route) for route in self.all if "{" in route.template]

    def find(self, path: str) -> tuple[Route | None, dict[str, str]]:
        """The path's route and what its names stand for; None where there is none."""
        found = self._exact.get(path)
        if found is None:
            for pattern, route in self._patterns:
                if match := pattern.fullmatch(path):
                    return route, match.groupdict()
        return found, {}


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
