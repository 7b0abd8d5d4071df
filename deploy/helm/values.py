"""values.yaml as it is written: every key with its default and its sentence."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from deploy.helm import CHART


@dataclass(frozen=True)
class Key:
    """A key of values.yaml.

    Args:
        path: with dots, `image.tag`; default: its value; said: the comment above it, less the marks;
        told: whether that comment begins with `# --`: then it is a value to set, with all that is below it.
    """

    path: str
    default: Any
    said: str
    told: bool

    @property
    def depth(self) -> int:
        return self.path.count(".")


@functools.cache
def keys() -> tuple[Key, ...]:
    """All of them, in the order of the file, what is below one behind it."""
    text = (CHART / "values.yaml").read_text()
    return tuple(_below("", yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text), text.splitlines()))


def _below(prefix: str, node: yaml.MappingNode, values: dict[str, Any], lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        comment = _above(lines, key.start_mark.line, key.start_mark.column)
        said = " ".join(line.removeprefix("--").strip() for line in comment)
        yield Key(path, values[key.value], said, bool(comment) and comment[0].startswith("--"))
        if isinstance(value, yaml.MappingNode):
            yield from _below(f"{path}.", value, values[key.value], lines)


def _above(lines: list[str], line: int, column: int) -> list[str]:
    """The comment that stands directly above a line, at its column."""
    found: list[str] = []
    for above in reversed(lines[:line]):
        comment = re.fullmatch(rf" {{{column}}}# ?(.*)", above)
        if comment is None:
            break
        found.insert(0, comment[1])
    return found
