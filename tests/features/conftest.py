"""The engines that event stores run on, as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.features.engines import KINDS, Engine


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Each engine in turn, empty."""
    return Engine(
        request.param, tmp_path, request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    )
