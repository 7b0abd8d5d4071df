"""The page where there is nothing, or where it cannot be read."""

from __future__ import annotations

from monitoring.page.rendering import rendered
from monitoring.page.watched import Watched


def page(watched: Watched, status: int, why: str) -> str:
    """HTML."""
    title = {404: "Not here", 405: "Only to be read", 503: "The ledger cannot be read"}.get(status, "It went wrong")
    return rendered("trouble.html.j2", watched=watched, title=title, why=why)
