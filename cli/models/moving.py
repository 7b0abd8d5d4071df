"""Models on their way between machines: pushed to a directory or to object storage, pulled from there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import settings as holdfast_settings
from cli.console import Out
from cli.models.app import AsJson, Tag, models, usecase_of
from cli.workspace import Workspace
from model import archive, gate, store
from model.archive import ArchiveError
from model.gate import GateRefused
from usecases import UseCaseError

Url = Annotated[
    str | None, typer.Argument(help="A directory, s3://BUCKET/PREFIX, gs://...; default: HOLDFAST_ARCHIVE_URL.")
]
Reference = Annotated[str, typer.Argument(help="NAME:VERSION@sha256:HEX, as `push` prints it, or NAME:VERSION.")]


@models.command("push")
def push_command(tag: Tag, url: Url = None, as_json: AsJson = False) -> None:
    """Put a model where other machines can pull it: one archive, and its digest. What is there already stays."""
    workspace = Workspace.open(usecase_of(tag))
    out, exact = Out(as_json), workspace.registry.resolve(tag)
    workspace.models.path(exact)
    with out.progress() as progress:
        pushed = archive.push(_place(url), exact, progress)
    out.proved("push", f"{pushed.url}: {pushed.bytes:,} bytes, {'stored' if pushed.stored else 'already there'}")
    command = f"holdfast models pull {pushed.reference}{f' {_elsewhere(url)}' if url else ''}"
    out.say(f"             elsewhere: {command}")
    out.result({**asdict(pushed), "pull": command})


@models.command("pull")
def pull_command(reference: Reference, url: Url = None, as_json: AsJson = False) -> None:
    """Bring a model into the store here, once its archive is shown to be whole and the one that was asked for."""
    out = Out(as_json)
    with out.progress() as progress:
        pulled = archive.pull(_place(url), reference, progress)
    out.proved("pull", f"{pulled.tag}: sha256:{pulled.digest}, {'stored' if pulled.stored else 'already there'}")
    passed, told = _gate(pulled.tag)
    if passed:
        out.proved("gate", told)
        out.say(f"             next: holdfast models promote {pulled.tag}")
    else:
        out.proved("gate", f"it is stored, and cannot be used here: {told}")
    out.result({**asdict(pulled), "gate": {"passed": passed, "told": told}})


def _gate(tag: str) -> tuple[bool, str]:
    """What the load gate says of a stored model here."""
    try:
        return True, gate.load(store.path(tag), Workspace.open(usecase_of(tag)).usecase.features).proof
    except (GateRefused, UseCaseError) as error:
        return False, str(error)


def _place(url: str | None) -> str:
    found = url or holdfast_settings.load().archive_url
    if found is None:
        raise ArchiveError("where? Say a URL behind it, or set HOLDFAST_ARCHIVE_URL: a directory, s3://BUCKET/PREFIX")
    return found


def _elsewhere(url: str) -> str:
    """The address without its password, a path from the root on."""
    return holdfast_settings.redacted(url) if ":" in url else str(Path(url).absolute())
