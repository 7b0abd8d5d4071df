"""The way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import Out
from cli.models.app import AsJson, Name, Why, models
from cli.workspace import Workspace
from model import gate
from model.artefact import ArtefactError
from model.gate import GateRefused, Loaded
from model.registry import CHAMPION, RegistryError
from model.store import ModelNotFound


@models.command("rollback")
def rollback_command(
    usecase: Name = None,
    to: Annotated[
        str | None, typer.Option("--to", help="NAME:VERSION; default: the nearest before that loads.")
    ] = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Make an earlier champion the champion again, if the load gate lets it pass here."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name, registry = workspace.usecase.name, workspace.registry
    decided, passed_over = registry.decided(name), dict[str, str]()
    now = None if decided is None else decided.tag
    if to is None:
        registry.previous(name)  # or it is told that there is none
    elif not to.startswith(f"{name}:"):
        raise RegistryError(f"{to} is no model of {name}")
    elif decided is not None and to == now:
        out.proved("rollback", f"{to} is {name}@{CHAMPION} already")
        out.result({**asdict(decided), "passed_over": passed_over})
        return
    for tag in registry.path_back(name) if to is None else [to]:
        try:
            loaded: Loaded = gate.load(workspace.models.path(tag), workspace.usecase.features)
            break
        except (GateRefused, ArtefactError, ModelNotFound) as error:
            if to is not None:
                raise
            passed_over[tag] = str(error)
    else:
        raise RegistryError(
            f"{name} can go back to none of {', '.join(passed_over)} here: {'; '.join(passed_over.values())}; name "
            "another one with --to (`holdfast models list` shows them)"
        )
    for reason in passed_over.values():
        out.proved("passed over", reason)
    content = loaded.manifest.content_digest
    entry = registry.rollback(name, tag, why=why, proof=loaded.proof, content=content, expected=now)
    out.proved("rollback", f"{tag} is {name}@{entry.alias} again, before: {entry.before}; {loaded.proof}")
    out.result({**asdict(entry), "passed_over": passed_over})
