"""A sample is a share of the customers: each wholly in or out, the same everywhere, and smaller ones lie in larger."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.workspace import ROOT
from model.predictions.sample import Sample

KEYS = [str(number) for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
def test_it_is_about_that_share(share: float) -> None:
    count = sum(key in Sample(share) for key in KEYS)
    spread = (len(KEYS) * share * (1 - share)) ** 0.5
    assert abs(count - share * len(KEYS)) < 5 * spread


def test_nobody_and_everybody() -> None:
    assert not any(key in Sample(0) for key in KEYS)
    assert all(key in Sample(1) for key in KEYS)


def test_who_is_in_a_share_is_in_every_larger_one() -> None:
    small, large = ({key for key in KEYS if key in Sample(share)} for share in (0.2, 0.3))
    assert small < large


def test_another_process_chooses_the_same() -> None:
    told = "from model.predictions.sample import Sample; print(*[k for k in map(str, range(500)) if k in Sample(0.3)])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [key for key in KEYS[:500] if key in Sample(0.3)]
