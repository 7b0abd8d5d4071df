"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Step = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done, and how many there are."""
