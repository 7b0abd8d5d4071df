"""Commands over monitoring: a pass, what passes found, what windows are held against, and passes without end."""

from cli.monitor import looking, rebasing, reporting, running
from cli.monitor.app import monitor
from cli.monitor.serve import serve

monitor.command("serve")(serve)

__all__ = ["looking", "monitor", "rebasing", "reporting", "running"]
