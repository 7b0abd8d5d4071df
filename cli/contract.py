"""Commands over contracts: what clients in other languages are made from."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import settings as holdfast_settings
import usecases
from serving.proto import Protocol

contract = typer.Typer(help="The contract of a use case's requests.", no_args_is_help=True)


@contract.command("proto")
def proto_command(
    usecase: Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.")] = None,
) -> None:
    """Print the .proto file of the gRPC service."""
    settings = holdfast_settings.load()
    sys.stdout.write(Protocol(usecases.load(usecase or settings.usecase, settings.usecases)).text())
