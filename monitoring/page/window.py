"""The page of one window: its verdict, and every column then and now."""

from __future__ import annotations

from monitoring.page.columns import drawn, is_pair, moved
from monitoring.page.model import referred, told
from monitoring.page.rendering import rendered
from monitoring.page.strip import SAID, SYMBOLS, state
from monitoring.page.watched import Watched
from monitoring.verdict import Verdict


def page(watched: Watched, tag: str, number: int) -> str:
    """HTML.

    Raises:
        NotThere: if there is no such window.
        StoreError: if the ledger cannot be read.
    """
    ring = watched.ring(watched.model(tag), number)
    window, profile = ring[-1], watched.profile(tag)
    verdict = Verdict.from_json(window.verdict)
    reference = watched.reference(tag, window)
    ranked = moved(verdict, profile.use if profile else {})
    names = [one.name for one in ranked]
    if reference is not None:  # a settling window has no effects, and yet columns
        names += [column.name for column in reference.columns if column.name not in names]
    pairs = sorted((one for one in verdict.columns.values() if is_pair(one.column)), key=lambda one: one.adjusted)
    last = watched.ledger.closed(tag, 1)[-1].number
    return rendered(
        "window.html.j2",
        watched=watched,
        tag=tag,
        window=window,
        state=state(window),
        symbol=SYMBOLS[state(window)],
        said=SAID[state(window)],
        before=number - 1 if number > 1 else None,
        after=number + 1 if number < last else None,
        verdict=verdict,
        findings=told(verdict, reference, ring),
        columns=ranked,
        use=bool(profile and profile.use),
        pairs=pairs,
        alarmed={found.column for found in verdict.findings},
        histograms=drawn(reference, [window], verdict, names) if reference else [],
        reference=referred(window, profile),
        known=profile is not None,
        report=next((n for n in _reports(watched) if n == f"{tag.replace(':', '-')}-{number}.html"), None),
    )


def _reports(watched: Watched) -> list[str]:
    return [path.name for path in watched.reports.glob("*.html")]
