"""Commands over features: what they are, and which online rows are still needed."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from cli.console import Json, Out, table
from cli.workspace import Workspace
from model.artefact import read_manifest

features = typer.Typer(help="Features of a use case.", no_args_is_help=True)

AsJson = Annotated[bool, Json]


@features.command("show")
def show_command(
    usecase: Annotated[str, typer.Argument(help="The use case: cdnow, telco or your own.")], as_json: AsJson = False
) -> None:
    """Fingerprint, the SQL text, and the model's inputs."""
    out, own = Out(as_json), Workspace.open(usecase).usecase.features
    out.say(f"fingerprint {own.fingerprint}\n")
    if own.sql:
        out.say(f"{own.sql}\n")
    rows = [[f.__name__, ", ".join(inputs), (f.__doc__ or "").splitlines()[0]] for f, inputs in own.resolved]
    out.say(table(rows, ["row feature", "of", ""]))
    out.say(f"\nmodel inputs: {', '.join(own.inputs)}")
    out.result({"fingerprint": own.fingerprint, "sql": own.sql, "inputs": list(own.inputs)})


@features.command("gc")
def gc_command(
    usecase: Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and keep it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop online rows of fingerprints that no live model refers to.

    Live is the code of today, what an alias points to, what it would go back to, and what some server is serving. A
    model that cannot be read keeps everything.
    """
    out, workspace = Out(as_json), Workspace.open(usecase)
    needed = live(workspace)
    with closing(workspace.online()) as online, online.exclusive():
        there = online.fingerprints()
        gone = [fingerprint for fingerprint in there if fingerprint not in needed]
        for fingerprint in gone:
            if not dry_run:
                online.drop(fingerprint)
    rows = [[f[:16], needed.get(f, "no live model: " + ("would go" if dry_run else "dropped"))] for f in there]
    out.say(table(rows, ["fingerprint", ""]) if rows else f"{workspace.usecase.name} has no online rows")
    out.proved(
        "gc", f"{len(there) - len(gone)} kept, {len(gone)} {'would be' if dry_run else ''} dropped".replace("  ", " ")
    )
    out.result({"kept": [f for f in there if f not in gone], "dropped": gone, "dry_run": dry_run})


def live(workspace: Workspace) -> dict[str, str]:
    """Fingerprints that are needed, each with the reason.

    Raises:
        ArtefactError, ModelNotFound: if a live model cannot be read, as then nobody knows what it needs.
    """
    name, registry = workspace.usecase.name, workspace.registry
    needed = {}
    for tag, why in registry.live(name):
        needed[read_manifest(workspace.models.path(tag)).fingerprint] = f"{tag}, {why}"
    return needed | {workspace.usecase.features.fingerprint: "the code of today"}
