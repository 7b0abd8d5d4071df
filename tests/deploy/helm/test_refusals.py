"""Values that are wrong each by itself, and what helm says of them: where, and what to do.

test_contradictions.py and test_jobs_refused.py have those that are wrong together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.helm.chart import refused

WRONG: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("wrong.yaml").read_text())


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused(case: str) -> None:
    wrong = WRONG[case]
    lines = refused(wrong["shape"], wrong["values"]).splitlines()
    told = [line for line in lines if line.lstrip(" -").startswith(f"at '{wrong['at']}': ")]
    assert any(wrong["says"] in line for line in told), lines
