"""`holdfast monitor rebase`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import Out
from cli.monitor.app import AsJson, Model, ledger_of, monitor
from cli.monitor.profiles import profiles
from cli.workspace import Workspace
from features import clock
from monitoring.passes.reference import rebase
from settings import HoldfastError

WINDOWS = 7
"""That become the reference where nobody says how many."""


@monitor.command("rebase")
def rebase_command(
    usecase: Annotated[str, typer.Argument(help="The use case: cdnow, telco or your own.")],
    windows: Annotated[
        int | None,
        typer.Option(
            min=1, help="The last so many closed windows become the reference; default: 7.", show_default=False
        ),
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="The training set is the reference again.")] = False,
    model: Model = None,
    why: Annotated[str, typer.Option("--why", help="The reason, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """Hold a model's windows from now on against others: what was an alarm and is meant to stay is the new normal."""
    if training and windows is not None:
        raise HoldfastError("--windows and --training say two different references: take one of them")
    out, workspace = Out(as_json), Workspace.open(usecase)
    ledger, who = ledger_of(workspace), workspace.registry.who
    newest = {tag: last[-1].closed_at for tag in ledger.models() if (last := ledger.closed(tag, 1))}
    tag = model or max(newest, key=lambda one: newest[one], default=None)
    if tag is None:
        raise HoldfastError(f"{usecase} has no closed window yet: run `holdfast monitor run`")
    if training and profiles(workspace.models)(tag) is None:
        raise HoldfastError(
            f"{tag} is not in the model store here, so there is no training set to hold windows against"
        )
    fact = rebase(ledger, tag, None if training else windows or WINDOWS, at=clock.now(), who=who, why=why)
    span = fact.body["windows"]
    said = (
        "the training set" if span is None else f"windows {span[0]} to {span[1]}, which later ones are not pooled with"
    )
    out.proved("reference", f"of {tag}, from the next window on: {said}")
    out.result({"model": tag, **fact.body})
