"""Two models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import Out, table
from cli.models.app import AsJson, Tag, models, usecase_of
from cli.workspace import Workspace
from settings import HoldfastError


@models.command("compare")
def compare_command(
    first: Tag,
    second: Tag,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots: one file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Two models on the same held-out examples: metrics, flips, score shift, features, parameters."""
    from training.card.blocks import Table  # late, with scikit-learn
    from training.contrast import contrast

    name = usecase_of(first)
    if usecase_of(second) != name:
        raise HoldfastError(f"{first} and {second} are of different use cases: their answers are about other things")
    if html is not None and not html.absolute().parent.is_dir():
        raise HoldfastError(f"--html {html}: there is no directory {html.absolute().parent}")
    out, workspace = Out(as_json), Workspace.open(name)
    directories = [workspace.models.path(workspace.registry.resolve(tag)) for tag in (first, second)]
    for step, line in workspace.prepare():
        out.proved(step, line)
    found = contrast(workspace.usecase, workspace.events, *directories, as_of=workspace.now, cache=workspace.cache)
    out.say(f"A is {found.first.tag}, B is {found.second.tag}")
    for section in found.sections():
        out.say(f"\n{section.title}\n")
        for block in section.blocks:
            if isinstance(block, Table):
                out.say(table(block.rows, list(block.header)) + "\n")
            elif isinstance(block, str):
                out.say(block.replace("`", ""))
    if html is not None:
        html.write_text(found.page(), encoding="utf-8")
        out.proved("compare", f"{html} has the plots")
    out.result(found.result())
