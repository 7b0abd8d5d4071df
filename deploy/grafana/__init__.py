"""The dashboards of this directory, told in Python; the JSON files are made of it by `python -m deploy.grafana`."""

from deploy.grafana.model import MODELS
from deploy.grafana.monitoring import MONITORING
from deploy.grafana.service import SERVICE

__all__ = ["DASHBOARDS"]

DASHBOARDS = {"service": SERVICE, "model": MODELS, "monitoring": MONITORING}
"""By the name of their file."""
