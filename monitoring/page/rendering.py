"""Templates, the style, and the headers that go with every answer."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from monitoring.page import words
from monitoring.page.watched import end, moment, start

HERE = Path(__file__).parent
STYLE = (HERE / "style.css").read_text(encoding="utf-8")
ICON = (HERE / "icon.svg").read_text(encoding="utf-8")
VERSION = hashlib.sha256(STYLE.encode()).hexdigest()[:12]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: nothing runs, nothing comes from elsewhere, nobody frames it, and no copy of it stays."""


def rendered(template: str, **values: Any) -> str:
    """A page."""
    return _environment().get_template(template).render(**values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": _coded,
        "chance": words.chance,
        "share": words.share,
        "figure": words.figure,
        "duration": words.duration,
        "windows": words.windows,
        "many": words.many,
        "moment": moment,
        "start": start,
        "end": end,
    }
    environment.globals |= {"version": VERSION}
    return environment


def _coded(text: str) -> Markup:
    """Text for HTML, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before
