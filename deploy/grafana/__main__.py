"""`python -m deploy.grafana` writes the dashboards' JSON files anew.

Each module beside panel tells one: a row is a question, its panels are the answer. Their uids do not change.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana import DASHBOARDS


def main() -> None:
    """Write them beside this file."""
    for name, made in DASHBOARDS.items():
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
