"""What of the chart is made and not written: the schema of its values, its README, its copies of the rules.

`python -m deploy.helm` makes them anew. values.yaml is where a value, its default and its sentence come from; the chart
itself is in holdfast/.
"""

from __future__ import annotations

from pathlib import Path

CHART = Path(__file__).with_name("holdfast")
