"""`holdfast rollout`, and what its commands have in common."""

from __future__ import annotations

import typer

from settings import HoldfastError

rollout = typer.Typer(help="Whether what was rolled out serves as it should.", no_args_is_help=True)


class RolloutError(HoldfastError, RuntimeError):
    """What was rolled out is not as it should be; the message says everything that is wrong."""
