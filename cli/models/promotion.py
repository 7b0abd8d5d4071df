"""What changes what is live: promotion, and the way back."""

from __future__ import annotations

from dataclasses import asdict

from cli.console import Out
from cli.models.app import AsJson, Name, Tag, Why, models, usecase_of
from cli.workspace import Workspace
from model import gate, store


@models.command("promote")
def promote_command(tag: Tag, why: Why = "", as_json: AsJson = False) -> None:
    """Make a model the champion, if the gate lets it pass here."""
    workspace = Workspace.open(usecase_of(tag))
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
