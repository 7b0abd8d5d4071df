"""card.md and card.html: the same content for a terminal and for a browser.

The page is one file without script and without any reference to another: it can be sent, and opened years later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from model.artefact import CARDS
from model.scorer import Decision
from training.card import content
from training.card.blocks import Block, Figures, Points, Section, Source, Table
from training.card.content import Subject
from training.card.figures import figures
from training.card.plots import STYLE
from usecases import UseCase


def write(directory: Path, usecase: UseCase, rule: Decision, fields: Mapping[str, Any]) -> None:
    """Both files, into an artefact's directory; `fields` are the manifest's, less what the files decide."""
    about = Subject(usecase, rule, fields)
    for name, text in zip(CARDS, (markdown(about), html(about)), strict=True):
        (directory / name).write_text(text, encoding="utf-8")


def markdown(about: Subject) -> str:
    """card.md."""
    lines = [f"# {_line(about.usecase.name)}: {_line(about.usecase.title)}", "", content.lead(about), ""]
    for section in content.sections(about):
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            written = _markdown(block)
            lines += [*written, ""] if written else []
    return "\n".join([*lines, "The same with plots is `card.html`, beside this file.", ""])


def html(about: Subject) -> str:
    """card.html."""
    drawn = figures(about.metrics, about.usecase.decisions)
    return rendered(about.usecase.name, about.usecase.title, content.lead(about), content.sections(about), drawn)


def rendered(name: str, title: str, lead: str, sections: Sequence[Section], drawn: Mapping[str, str]) -> str:
    """A page of these sections, whose figures are in `drawn`, SVG by title."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _coded
    return (
        environment.get_template("card.html.j2").render(
            name=name,
            title=title,
            lead=lead,
            sections=[(section, _kinds(section)) for section in sections],
            figures={caption: Markup(svg) for caption, svg in drawn.items()},  # noqa: S704  # ours, its texts escaped
            style=Markup(STYLE),  # noqa: S704  # constants
        )
        + "\n"
    )


def _kinds(section: Section) -> list[tuple[str, Block]]:
    return [(type(block).__name__, block) for block in section.blocks]


def _coded(text: str) -> Markup:
    """Text for HTML, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Figures):
        return []
    if isinstance(block, Points):
        return [f"- {_line(item)}" for item in block.items]
    if isinstance(block, Source):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return [f"{fence}python", block.text, fence]
    if isinstance(block, Table):
        rule = "|".join("---:" if place in block.right else "---" for place in range(len(block.header)))
        return [_row(block.header), f"|{rule}|", *map(_row, block.rows)]
    return [_line(block)]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _line(text: str) -> str:
    """Text that stays on its line."""
    return " ".join(text.split())
