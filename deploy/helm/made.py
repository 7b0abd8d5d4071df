"""The chart's files that are made from others."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.helm.readme import readme
from deploy.helm.schema import schema

_DEPLOY = Path(__file__).parents[1]


def made() -> dict[str, str]:
    """What each has to hold, by its path in the chart."""
    rules = [_DEPLOY / "prometheus" / f"{name}.yaml" for name in ("recording", "alerts")]
    return {
        "README.md": readme(),
        "values.schema.json": json.dumps(schema(), indent=1) + "\n",
        **{f"files/{path.name}": path.read_text() for path in [*rules, *sorted((_DEPLOY / "grafana").glob("*.json"))]},
    }
