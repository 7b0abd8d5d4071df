"""Figures as SVG: the same bytes for the same numbers, in the page's own fonts and colours, light and dark.

They stand inside an HTML page, whose `STYLE` gives the colours; alone, each colour has a fallback for a light page.
Matplotlib is imported when the first figure is drawn: nothing that serves, and no command's start, waits for it.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1b1f24", "#5b6570", "#d5dae0"
COLOURS = ("#1f6fb2", "#c4570a", "#5f7f1f", "#8a4fa3")
"""Of the series of a figure, in order."""
NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", **{colour: f"series-{n}" for n, colour in enumerate(COLOURS, 1)}}
DARK = {"ink": "#e6e9ed", "muted": "#9aa5b1", "grid": "#3a424c"} | {
    f"series-{n}": colour for n, colour in enumerate(("#5aa9e6", "#f0924c", "#a3c65a", "#c493dc"), 1)
}
STYLE = (
    f":root{{{''.join(f'--{name}:{colour};' for colour, name in NAMES.items())}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{''.join(f'--{name}:{colour};' for name, colour in DARK.items())}}}}}"
)
"""CSS: the colours that figures ask for, light and dark."""
SIZE = (4.7, 3.3)
"""Inches of a figure; on a page it is as wide as its place."""
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Line:
    """A series: n points (x, y), joined; with `intervals`, dots with a bar from low to high each."""

    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[Sequence[float]] | None = None


def lines(series: Mapping[str, Line], *, x: str, y: str, about: str, diagonal: bool = False, unit: bool = True) -> str:
    """Up to four curves over one another, by name; the first is drawn on top, the others are dashed.

    Args:
        x, y: what the axes show; about: what the figure shows, in words, for who cannot see it.
        diagonal: draw the line of equal x and y too; unit: both axes are 0 to 1.
    """
    with _figure(x, y, about) as (axes, done):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for place, (name, line) in enumerate(series.items()):
            look: Any = {"color": COLOURS[place], "label": _text(name), "zorder": 3 - place / 10}  # the first on top
            if line.intervals is None:
                dashes = (0, (4, 1.5)) if place else "-"
                axes.plot(line.x, line.y, linewidth=1.8, linestyle=dashes, **look)
                continue
            low = [v - bounds[0] for v, bounds in zip(line.y, line.intervals, strict=True)]
            high = [bounds[1] - v for v, bounds in zip(line.y, line.intervals, strict=True)]
            axes.errorbar(line.x, line.y, yerr=[low, high], marker="o", markersize=3.5, **look)
        if unit:
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
        if len(series) > 1:
            axes.legend(loc="best")
    return done()


def bars(values: Mapping[str, float], *, x: str, about: str, most: int = 15) -> str:
    """One bar for each name, the first one on top; of more than `most` the first ones."""
    names, sizes = list(values)[:most], list(values.values())[:most]
    with _figure(x, "", about, height=0.7 + 0.23 * len(names)) as (axes, done):
        axes.barh(range(len(names)), sizes, color=COLOURS[0], height=0.66)
        axes.set_yticks(range(len(names)), [_text(name) for name in names])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    return done()


def histogram(
    counts: Mapping[str, Sequence[int]], *, x: str, y: str, about: str, low: float = 0, high: float = 1
) -> str:
    """Counts in equal parts from `low` to `high`, by name: each as shares of its own sum, as outlines."""
    with _figure(x, y, about) as (axes, done):
        for colour, (name, own) in zip(COLOURS, counts.items(), strict=False):
            total = sum(own) or 1
            edges = [low + (high - low) * place / len(own) for place in range(len(own) + 1)]
            axes.stairs([count / total for count in own], edges, color=colour, linewidth=1.6, label=_text(name))
            axes.stairs([count / total for count in own], edges, color=colour, fill=True, alpha=0.18)
        axes.legend(loc="best")
    return done()


@contextmanager
def _figure(x: str, y: str, about: str, *, height: float = SIZE[1]) -> Iterator[tuple[Axes, Callable[[], str]]]:
    """An empty figure in Holdfast's style, and what gives its SVG once the block is left."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    written = io.StringIO()
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "holdfast",
        "text.parse_math": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GRID,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "legend.frameon": False,
        "font.size": 10,
        "figure.dpi": 72,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it is text: the page's font has it
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_xlabel(_text(x, 60))
        axes.set_ylabel(_text(y, 60))
        yield axes, lambda: _plain(written.getvalue(), _text(about, 200))
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)


def _plain(svg: str, about: str) -> str:
    """Matplotlib's file as an element of a page: no prologue, no size, no rules for the rest of the page, no id that
    two figures share; colours by name, and the page's font."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # matplotlib's own
    referred = set(re.findall(r"[\"(]#(\w+)", svg))
    unique = f"f{hashlib.sha256((about + svg).encode()).hexdigest()[:8]}-"
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for child in element.findall(f"{SVG}style"):
            element.remove(child)
        old, element.attrib = element.attrib, {}
        for name, value in old.items():
            name = name.rpartition("}")[2]
            if name == "id":
                value = f"{unique}{value}" if value in referred else ""
            elif name == "style":
                value = _coloured(re.sub(r"font-family: [^;]*;? ?", "", value))
            elif name in ("d", "x", "y", "points", "transform", "width", "height"):
                value = " ".join(re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", value).split())
            else:
                value = re.sub(r"^(url\()?#", rf"\g<1>#{unique}", value)
            if value and not value.startswith("rotate(-0.00 ") and not value.startswith("rotate(-0 "):
                element.set(name, value)
    root.attrib = {"xmlns": SVG[1:-1], "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": about}
    return ElementTree.tostring(root, encoding="unicode")


def _coloured(style: str) -> str:
    return re.sub(r"#[0-9a-f]{6}", lambda c: f"var(--{NAMES[c[0]]},{c[0]})" if c[0] in NAMES else c[0], style)


def _text(name: str, most: int = 28) -> str:
    """What XML can hold, and not longer than there is room for."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
