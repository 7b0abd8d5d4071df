"""How hard property tests try: `make prove` sets THOROUGH and draws every example, each time others; `make test` draws
a part of them, and the same ones each time, so that what fails is the change's and not the draw's."""

from __future__ import annotations

import os

import hypothesis

THOROUGH = "THOROUGH" in os.environ


def examples(most: int) -> int:
    """How many to draw of a test that is worth `most`."""
    return most if THOROUGH else max(5, most // 3)


def steady() -> None:
    """Draw the same examples each time, unless it is to be thorough."""
    hypothesis.settings.register_profile("steady", derandomize=not THOROUGH)
    hypothesis.settings.load_profile("steady")
