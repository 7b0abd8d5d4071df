"""What there is: the stored models, one model, and what happened to them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import Out, table
from cli.models.app import AsJson, Name, Tag, models, usecase_of
from cli.workspace import Workspace
from model import store
from model.artefact import read_manifest
from model.registry import CHAMPION


@models.command("list")
def list_command(usecase: Name = None, as_json: AsJson = False) -> None:
    """Every stored model of a use case, oldest first."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    champion = workspace.registry.alias(workspace.usecase.name)
    there, broken = store.manifests(workspace.usecase.name)
    rows = [
        [
            manifest.tag,
            CHAMPION if manifest.tag == champion else "",
            manifest.algorithm,
            f"{manifest.metrics['model']['roc_auc']:.4f}",
            f"{manifest.metrics['model']['log_loss']:.4f}",
            manifest.fingerprint[:16],
            manifest.created_at,
        ]
        for manifest in there
    ]
    header = ["model", "alias", "algorithm", "ROC-AUC", "log loss", "fingerprint", "created"]
    out.say(table(rows, header) if rows else f"{workspace.usecase.name} has no models: run `holdfast train`")
    for reason in broken:
        out.say(f"not listed: {reason}")
    out.result({"champion": champion, "models": [manifest.model_dump() for manifest in there], "broken": broken})


@models.command("show")
def show_command(tag: Tag, as_json: AsJson = False) -> None:
    """A model's card, and what its manifest says of its making."""
    workspace = Workspace.open(usecase_of(tag))
    out, exact = Out(as_json), workspace.registry.resolve(tag)
    directory = store.path(exact)
    manifest = read_manifest(directory)
    out.say((directory / "card.md").read_text())
    facts = {
        "model": manifest.tag,
        "created": manifest.created_at,
        "commit": manifest.git_commit or "none",
        "parent": manifest.parent or "none",
        "dataset": manifest.dataset.id,
        "content_digest": manifest.content_digest,
        "libraries": ", ".join(f"{name} {library.version}" for name, library in manifest.libraries.items()),
        "directory": str(directory),
    }
    out.say(table([[name, value] for name, value in facts.items()], ["", ""]))
    out.result(manifest.model_dump())


@models.command("history")
def history_command(
    usecase: Name = None,
    at: Annotated[str | None, typer.Option("--at", help="A time (RFC 3339): what was champion then.")] = None,
    as_json: AsJson = False,
) -> None:
    """Everything that happened to a use case's models; or what was live at a time."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name = workspace.usecase.name
    if at is not None:
        tag, serving = workspace.registry.alias(name, at=at), workspace.registry.serving(name, at)
        out.say(f"{name} at {at}: champion {tag or 'none'}; serving {', '.join(serving) or 'none'}")
        out.result({"at": at, "champion": tag, "serving": serving})
        return
    entries = workspace.registry.entries(name)
    rows = [[e.time, e.action, e.alias, e.tag, e.before or "", e.who, e.pod, e.why] for e in entries]
    header = ["time", "action", "alias", "model", "before", "who", "pod", "why"]
    out.say(table(rows, header) if rows else f"{name}: nothing has happened yet")
    out.result({"entries": [asdict(entry) for entry in entries]})
