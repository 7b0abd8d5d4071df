"""How hard property tests try: `make prove` sets THOROUGH and draws every example, `make test` a part of them."""

from __future__ import annotations

import os


def examples(most: int) -> int:
    """How many to draw of a test that is worth `most`."""
    return most if "THOROUGH" in os.environ else max(5, most // 3)
