"""Figures as people read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from features import clock
from monitoring.page import watched, words
from tests.monitoring.page import stage


@pytest.mark.parametrize(
    ("value", "text"),
    [(10_550.0, "10,550"), (0.0, "0"), (18.25, "18.25"), (-4.2, "-4.2"), (1_234_567.8, "1,235,000"), (0.5, "0.5"),
     (100.0, "100"), (9_999.9, "10,000"), (0.001_234_56, "0.001235"), (3e12, "3e+12"), (1e-7, "1e-07")],
)  # fmt: skip
def test_an_axis_has_plain_numbers(value: float, text: str) -> None:
    assert words.plain(value) == text


@pytest.mark.parametrize(("p", "text"), [(0.0, "< 1e-300"), (2.5e-20, "2.5e-20"), (0.04, "0.040")])
def test_a_chance_is_never_nought(p: float, text: str) -> None:
    assert words.chance(p) == text


def test_a_window_within_a_minute_is_told_to_the_second(tmp_path: Path) -> None:
    long = stage.staged(tmp_path, windows=5, drift=9).ledger.closed(stage.TAG, 1)[0]
    assert (watched.start(long), watched.end(long)) == ("2026-11-01 12:00", "2026-11-01 15:00")
    short = replace(long, end=long.start + 7 * clock.SECOND)
    assert (watched.start(short), watched.end(short)) == ("2026-11-01 12:00:00", "2026-11-01 12:00:07")
    moment = replace(long, end=long.start + 600_000)
    assert (watched.start(moment), watched.end(moment)) == ("2026-11-01 12:00:00", "2026-11-01 12:00:00.600")
