"""What a card is built of: sections of paragraphs, lists, tables, source and figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells of text; columns of figures are those named in `right`, by position."""

    header: tuple[str, ...]
    rows: list[list[str]]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class Points:
    """A list."""

    items: list[str]


@dataclass(frozen=True)
class Source:
    """Code, under a title."""

    title: str
    text: str


@dataclass(frozen=True)
class Figures:
    """Plots, by the names that training.card.figures gives them."""

    names: tuple[str, ...]


Block = str | Table | Points | Source | Figures


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: list[Block]
