"""What a PromQL expression asks for. promtool says whether it is one; this finds the names in it."""

from __future__ import annotations

import re
from typing import NamedTuple

KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{((?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*)\}")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")


class Query(NamedTuple):
    """Names of an expression.

    Attributes:
        metrics: of all selectors; matchers: (metric, label, operator, value); labels: that results are grouped by.
    """

    metrics: set[str]
    matchers: list[tuple[str, str, str, str]]
    labels: set[str]


def read(expression: str) -> Query:
    """The names in a valid expression."""
    selectors: list[tuple[str, str]] = SELECTOR.findall(expression)
    matchers = [(name, *found) for name, inside in selectors for found in MATCHER.findall(inside)]
    bare = SELECTOR.sub(lambda found: f" {found[1]} ", expression)
    labels = {label.strip() for inside in GROUPING.findall(bare) for label in inside.split(",") if label.strip()}
    bare = re.sub(r"\[[^\]]*\]|\"(?:[^\"\\]|\\.)*\"", " ", GROUPING.sub(" ", bare))
    return Query(set(NAME.findall(bare)) - KEYWORDS, matchers, labels)
