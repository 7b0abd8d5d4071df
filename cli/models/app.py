"""`holdfast models`, and what its commands have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import Json
from model.registry import Registry, RegistryError

models = typer.Typer(help="The model store and its journal.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
Tag = Annotated[str, typer.Argument(help="NAME:VERSION or NAME@ALIAS.")]
Name = Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the journal.")]


def doubt(registry: Registry) -> None:
    """One line on stderr if the journal, which could be read, is not what it was."""
    try:
        registry.verify()
    except RegistryError as error:
        typer.echo(f"holdfast: WARNING: {error}; `holdfast models verify` looks at everything", err=True)


def usecase_of(tag: str) -> str:
    """The use case that a tag, or an alias, is of."""
    return tag.replace("@", ":").split(":")[0]
