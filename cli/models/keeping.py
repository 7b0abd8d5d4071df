"""What is kept: whether journal and artefacts are what they were, and which models may go."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

import settings as holdfast_settings
from cli.console import Out, table
from cli.models.app import AsJson, Name, models
from cli.workspace import Workspace, registry
from model import store
from model.artefact import RESTORE, ArtefactError, check_files, read_manifest
from model.registry import Registry, RegistryError
from settings import HoldfastError


class VerifyError(HoldfastError, RuntimeError):
    """The journal or an artefact is not what it was; the message says which, and how."""


@models.command("verify")
def verify_command(
    head: Annotated[str | None, typer.Option("--head", help="A digest that `verify` told before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Whether the journal's chain is whole, and every stored model what it was when it was made and promoted."""
    if head == "":
        raise VerifyError(
            "--head is empty: give it a digest that `holdfast models verify` told before, or leave it out"
        )
    out, journal = Out(as_json), registry(holdfast_settings.load())
    problems, result = list[str](), dict[str, Any]()
    try:
        found = journal.verify(head)
        result |= {"entries": found.entries, "head": found.head}
        out.proved("journal", f"{found.entries} entries, each follows the one before")
        out.say(f"             head {found.head}")
        out.say(
            "             kept elsewhere, `holdfast models verify --head` with it finds a journal that was cut short"
        )
    except RegistryError as error:
        problems.append(str(error))
    tags = store.tags()
    broken = [reason for tag in tags for reason in _artefact(tag)]
    out.proved("models", f"{len(tags)} in the store, {len(broken)} problems")
    problems += broken
    if len(problems) == len(broken):  # the journal can be trusted
        problems += _promoted(journal, tags)
    out.result({**result, "models": tags, "problems": problems})
    if problems:
        raise VerifyError("; ".join(problems))


@models.command("gc")
def gc_command(
    usecase: Name = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="How many to keep, the newest, of those that nothing needs.")
    ] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old models: never one that an alias points to or would go back to, or that is served."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name, journal = workspace.usecase.name, workspace.registry
    needed: dict[str, list[str]] = {}
    for tag, why in journal.live(name):
        needed.setdefault(tag, []).append(why)
    there = store.tags(name)
    free = [tag for tag in there if tag not in needed]
    spared = free[-keep:] if keep else []
    why_spared = f"one of the newest {keep} that nothing needs"
    kept = [(tag, ", ".join(needed.get(tag, [why_spared]))) for tag in there if tag in [*needed, *spared]]
    removed = [tag for tag in free if tag not in spared]
    for tag in [] if dry_run else removed:
        journal.remove(name, tag, f"gc --keep {keep}", partial(store.delete, tag))
    gone = "would be removed" if dry_run else "removed"
    rows = [[tag, "kept", why] for tag, why in kept] + [[tag, gone, "nothing needs it"] for tag in removed]
    out.say(table(sorted(rows), ["model", "", "why"]) if rows else f"{name} has no models")
    out.say(f"--keep {keep} counts only models that nothing needs: {len(free)}; the others are kept in any case")
    out.result({"kept": dict(kept), "removed": removed, "dry_run": dry_run})


def _artefact(tag: str) -> list[str]:
    """What is wrong with the files of a stored model; one that is not ours is passed over."""
    directory = store.path(tag)
    if not (directory / "manifest.json").exists():
        return []
    try:
        return [f"{tag}: {problem}; {RESTORE}" for problem in check_files(directory, read_manifest(directory))]
    except ArtefactError as error:
        return [f"{tag}: {error}"]


def _promoted(journal: Registry, tags: list[str]) -> list[str]:
    """Stored models that are not those that were promoted under their tags."""
    promoted = {entry.tag: entry for entry in journal.entries() if entry.content}
    found = []
    for tag in tags:
        entry = promoted.get(tag)
        if entry is not None and not _artefact(tag) and store.manifest(tag).content_digest != entry.content:
            found.append(
                f"{tag}: its content_digest is {store.manifest(tag).content_digest}, but {entry.content} had it at the "
                f"{entry.action} in line {entry.number} of the journal; {RESTORE}"
            )
    return found
