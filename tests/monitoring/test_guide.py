"""docs/monitoring.md is so: its Python runs, on frames as it describes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli.workspace import ROOT

TEXT = (ROOT / "docs" / "monitoring.md").read_text()


def frame(n: int, seed: int, factor: float = 1.0) -> pd.DataFrame:
    """Customers with everything that the page speaks of."""
    random = np.random.default_rng(seed)
    score = random.beta(2, 5, n)
    return pd.DataFrame(
        {
            "income": random.lognormal(11, 0.4, n) * factor,
            "plan": random.choice(["basic", "plus"], n),
            "score": score,
            "decision": np.where(score > 0.5, "act", "leave"),
            "outcome": random.random(n) < score,
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n) * 28 // n, unit="D"),
        }
    )


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_the_python_of_the_page_runs_and_prints_what_alarms(factor: float, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    frames = [frame(1_000, seed) for seed in range(1, 6)] + [frame(1_000, 6, factor)]
    names: dict[str, Any] = {"reference": frame(10_000, 0), "frames": frames, "late": frame(200, 7)}
    exec(code, names)  # noqa: S102  # the page's own lines
    printed = capsys.readouterr().out
    assert names["windows"][-1].labelled == 1_200
    assert printed.startswith("income: location") if factor > 1 else printed == ""
