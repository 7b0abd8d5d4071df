"""Commands over what is rolled out: a canary is judged, a service is checked."""

from cli.rollout import check, judge
from cli.rollout.app import rollout

__all__ = ["check", "judge", "rollout"]
