"""`holdfast monitor`, and what its commands have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import Json
from cli.workspace import Workspace
from monitoring.ledger import Ledger, open_ledger

monitor = typer.Typer(help="Whether what is served is still what was trained for.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
Name = Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.", show_default=False)]
SkewShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Share of the answers whose features are computed again; default: at most 1,000 of what is read at once.",
        show_default=False,
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="NAME:VERSION; default: all, or the last one that served.")]


def ledger_of(workspace: Workspace) -> Ledger:
    """What monitoring knows of the use case."""
    return open_ledger(workspace.settings.monitor_url, workspace.home, workspace.usecase.name)
