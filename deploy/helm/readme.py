"""The chart's README: what is written by hand, and a table of values for each component."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.helm.schema import rule
from deploy.helm.values import Key, keys

INTRO = Path(__file__).with_name("intro.md")


def readme() -> str:
    """The whole of it."""
    return "\n".join([INTRO.read_text(), *(line for top, told in _components() for line in _section(top, told))])


def _components() -> list[tuple[str, list[Key]]]:
    """Keys that have a sentence, by what stands first in their path; those that stand alone come together, first."""
    found: dict[str, list[Key]] = {"": []}
    for key in keys():
        if key.said and (key.told or key.depth):
            found.setdefault(key.path.partition(".")[0] if key.depth else "", []).append(key)
    return list(found.items())


def _section(top: str, told: list[Key]) -> list[str]:
    said = next((key.said for key in keys() if key.path == top), "")
    head = [f"### {top}" if top else "### The whole release", "", *([said, ""] if said else [])]
    return [*head, "| key | type | default | what |", "|---|---|---|---|", *map(_row, told), ""]


def _row(key: Key) -> str:
    """A value's; or that of a group, which has neither type nor default."""
    known = f"{_type(key)} | `{_escaped(json.dumps(key.default))}`" if key.told else "|"
    return f"| `{key.path}` | {known} | {_escaped(key.said)} |"


def _type(key: Key) -> str:
    given = rule(key.path).get("type", type(key.default))
    names = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "dict": "object", "list": "array"}
    return " or ".join(given) if isinstance(given, list) else names.get(getattr(given, "__name__", ""), str(given))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
