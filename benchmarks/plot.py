"""A figure as an SVG that needs nothing else: bars per case, one colour per server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#9aa0a6", "#2e4057")
WIDTH, BAR, LEFT, RIGHT = 860, 18, 190, 110


def serving(found: dict[str, Any], directory: Path) -> Path:
    """CPU per request of every case, and a lone client's worst p50 after a burst; the file's path."""
    panels = [
        (f"{case}: CPU microseconds per request", {name: one["cpu_us"] for name, one in by_name.items()})
        for case, by_name in found["cases"].items()
    ]
    bursts = {name: max(one["after"]) / one["before"] for name, one in found["burst"].items()}
    if bursts:
        panels.append(("a lone client after a burst: worst p50 over the one before", bursts))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "serving.svg"
    path.write_text(bars(panels))
    return path


def bars(panels: list[tuple[str, dict[str, float]]]) -> str:
    """Panels of horizontal bars, each on a scale of its own from 0."""
    names = list(dict.fromkeys(name for _, values in panels for name in values))
    colour = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    parts: list[str] = []
    top = 10
    for title, values in panels:
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
        top += 24
        largest = max(values.values())
        for name, value in values.items():
            width = (WIDTH - LEFT - RIGHT) * value / largest
            middle = top + BAR - 5
            parts.append(f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>')
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 4}" fill="{colour[name]}"/>'
                f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{value:,.{0 if value >= 100 else 2}f}</text>'
            )
            top += BAR
        top += 14
    style = 'font-family="sans-serif" font-size="12"'
    box = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
