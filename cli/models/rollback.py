"""The way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import Out
from cli.models.app import AsJson, Name, Why, models
from cli.workspace import Workspace
from model import gate, store
from model.gate import GateRefused, Loaded
from model.registry import RegistryError
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
    now, passed_over = registry.alias(name), dict[str, str]()
    if to is None:
        registry.previous(name)  # or it is told that there is none
    elif to == now or not to.startswith(f"{name}:"):
        raise RegistryError(f"{to} {'is the champion already' if to == now else f'is no model of {name}'}")
    for tag in registry.path_back(name) if to is None else [to]:
        try:
            loaded: Loaded = gate.load(store.path(tag), workspace.usecase.features)
            break
        except (GateRefused, ModelNotFound) as error:
            if to is not None:
                raise
            passed_over[tag] = str(error)
            out.proved("passed over", str(error))
    else:
        raise RegistryError(
            f"{name} can go back to none of {', '.join(passed_over)} here: {'; '.join(passed_over.values())}; name "
            "another one with --to (`holdfast models list` shows them)"
        )
    content = loaded.manifest.content_digest
    entry = registry.rollback(name, tag, why=why, proof=loaded.proof, content=content, expected=now)
    out.proved("rollback", f"{tag} is {name}@{entry.alias} again, before: {entry.before}; {loaded.proof}")
    out.result({**asdict(entry), "passed_over": passed_over})
