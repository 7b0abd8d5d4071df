"""Commands over models: what there is, what is live, what was live, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import Json, Out, table
from cli.workspace import Workspace
from model import gate, store
from model.artefact import read_manifest
from model.registry import CHAMPION

models = typer.Typer(help="The model store and its journal.", no_args_is_help=True)

AsJson = Annotated[bool, Json]
Tag = Annotated[str, typer.Argument(help="NAME:VERSION or NAME@ALIAS.")]
Name = Annotated[str | None, typer.Argument(help="The use case; default: HOLDFAST_USECASE.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the journal.")]


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
    workspace = Workspace.open(_name(tag))
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


@models.command("promote")
def promote_command(tag: Tag, why: Why = "", as_json: AsJson = False) -> None:
    """Make a model the champion, if the gate lets it pass here."""
    workspace = Workspace.open(_name(tag))
    out, exact = Out(as_json), workspace.registry.resolve(tag)
    proof = gate.load(store.path(exact), workspace.usecase.features).proof
    entry = workspace.registry.promote(workspace.usecase.name, exact, why=why, proof=proof)
    out.proved("promote", f"{exact} is {entry.usecase}@{entry.alias}, before: {entry.before or 'none'}; {proof}")
    out.result(asdict(entry))


@models.command("rollback")
def rollback_command(usecase: Name = None, why: Why = "", as_json: AsJson = False) -> None:
    """Make the champion before this one the champion again, if the gate lets it pass here."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name = workspace.usecase.name
    tag = workspace.registry.previous(name)
    proof = gate.load(store.path(tag), workspace.usecase.features).proof
    entry = workspace.registry.rollback(name, tag, why=why, proof=proof)
    out.proved("rollback", f"{tag} is {name}@{entry.alias} again, before: {entry.before}; {proof}")
    out.result(asdict(entry))


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


def _name(tag: str) -> str:
    return tag.replace("@", ":").split(":")[0]
