"""Figures: the same bytes again, nothing from elsewhere, and what they show is what they were given."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training.card.plots import COLOURS, DARK, NAMES, STYLE, Line, bars, histogram, lines

ROOT = Path(__file__).parents[3]
HOSTILE = "a <b>&amp; \"c\" 'd' $x^2$ \u4e2d\U0001f600 \x00\x1b[0m {{ 7 * 7 }} var(--ink)"
Draw = Callable[[str], str]
FIGURES: dict[str, Draw] = {
    "lines": lambda name: lines(
        {name: Line([0, 0.5, 1], [0, 0.8, 1]), "other": Line([0, 1], [0, 1], [(0, 0.1), (0.9, 1)])},
        x=name,
        y="y",
        about=name,
        diagonal=True,
    ),
    "bars": lambda name: bars({name: 3.0, "b": 1.5}, x=name, about=name),
    "histogram": lambda name: histogram({name: [1, 5, 0], "none": [0, 0, 0]}, x=name, y="y", about=name),
}
SVG = "{http://www.w3.org/2000/svg}"


def read(svg: str) -> ElementTree.Element:
    """Our own figure."""
    return ElementTree.fromstring(svg)  # noqa: S314  # see above


@pytest.mark.parametrize("kind", FIGURES)
def test_the_same_figures_have_the_same_bytes_and_others_do_not(kind: str) -> None:
    assert FIGURES[kind]("one") == FIGURES[kind]("one")
    assert FIGURES[kind]("one") != FIGURES[kind]("two")


def test_the_bytes_do_not_depend_on_the_process_or_its_settings(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsvg.fonttype: path\n")
    program = "from tests.training.card.test_plots import FIGURES\nprint(FIGURES['lines']('one'), end='')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == FIGURES["lines"]("one")


@pytest.mark.parametrize("kind", FIGURES)
def test_whatever_a_name_holds_it_is_text(kind: str) -> None:
    svg = FIGURES[kind](HOSTILE)
    root = read(svg)
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert any(text.startswith("a <b>&amp; \"c\" 'd' $x^2$") for text in texts)
    assert root.attrib["aria-label"].startswith("a <b>")
    assert "\x00" not in svg
    assert "\x1b" not in svg
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "g", "defs", "path", "text", "use", "clipPath", "rect")
    }


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_refers_to_nothing_but_itself(kind: str) -> None:
    svg = FIGURES[kind]("x")
    root = read(svg)
    own = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(own) == len(set(own))
    referred = set(re.findall(r"[\"(]#([\w-]+)", svg))
    assert referred == set(own)
    assert re.findall(r"https?:[^\"]*", svg) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert "<style" not in svg
    assert "font-family" not in svg


def test_two_figures_share_no_id() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', draw("x"))) for draw in FIGURES.values()]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]


@pytest.mark.parametrize("kind", FIGURES)
def test_every_colour_has_a_name_that_the_page_knows_light_and_dark(kind: str) -> None:
    svg = FIGURES[kind]("x")
    used = set(re.findall(r"var\(--([\w-]+),#[0-9a-f]{6}\)", svg))
    assert used
    assert not re.findall(r"(?<!,)#[0-9a-f]{6}\b", svg)
    assert used <= set(NAMES.values()) == set(DARK)
    light, dark = STYLE.split("@media")
    for name in used:
        assert f"--{name}:#" in light
        assert f"--{name}:#" in dark


def test_a_line_goes_through_its_points() -> None:
    root = read(lines({"x": Line([0, 0.5, 1], [0, 1, 0])}, x="x", y="y", about="a"))
    (path,) = (p.attrib["d"] for p in root.iter(f"{SVG}path") if NAMES[COLOURS[0]] in p.attrib.get("style", ""))
    points = [tuple(map(float, point)) for point in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert len(points) == 3
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.05)
    assert y0 == y2 > y1  # up is less


def test_bars_are_as_long_as_their_values_and_no_more_than_are_asked_for() -> None:
    root = read(bars({f"n{n}": float(20 - n) for n in range(20)}, x="x", about="a", most=4))
    paths = [p.attrib["d"] for p in root.iter(f"{SVG}path") if NAMES[COLOURS[0]] in p.attrib.get("style", "")]
    widths = []
    for path in paths:
        xs = [float(x) for x, _ in re.findall(r"([\d.]+) ([\d.]+)", path)]
        widths.append(max(xs) - min(xs))
    assert [width / widths[0] for width in widths] == pytest.approx([1, 19 / 20, 18 / 20, 17 / 20], abs=1e-3)


def test_nothing_imports_matplotlib_before_a_figure_is_drawn() -> None:
    program = (
        "import sys, settings; settings.pin_environment()\n"
        "import cli.main, training.card.page\n"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
