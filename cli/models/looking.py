"""What there is, and what was: the stored models, one model, and what happened to them."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import shorten
from typing import Annotated

import typer

from cli.console import Out, table
from cli.models.app import AsJson, Name, Tag, doubt, models, usecase_of
from cli.workspace import Workspace
from model import store
from model.artefact import Manifest, read_manifest
from model.registry import CHAMPION, Entry, Registry

FORCED = "forced"


@models.command("list")
def list_command(usecase: Name = None, as_json: AsJson = False) -> None:
    """Every stored model of a use case, oldest first."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name, registry = workspace.usecase.name, workspace.registry
    aliases, forced = registry.aliases(name), _forced(registry, name)
    doubt(registry)
    there, broken = store.manifests(name)
    rows = [
        [
            manifest.tag,
            ", ".join(alias for alias, tag in aliases.items() if tag == manifest.tag),
            FORCED if manifest.tag in forced else "",
            manifest.algorithm,
            _roc_auc(manifest),
            f"{manifest.metrics['model']['log_loss']:.4f}",
            manifest.fingerprint[:16],
            manifest.created_at,
        ]
        for manifest in there
    ]
    header = ["model", "alias", "gate", "algorithm", "ROC-AUC (95 %)", "log loss", "fingerprint", "created"]
    carried = workspace.models.carried(name)
    if rows or not carried:
        out.say(table(rows, header) if rows else f"{name} has no models: run `holdfast train`")
    for tag in carried:
        out.say(
            f"{tag} is in {workspace.models.directory} (HOLDFAST_MODELS), and comes into this store when it is used"
        )
    stored = [manifest.tag for manifest in there]
    away = {alias: tag for alias, tag in aliases.items() if tag not in stored}
    for alias, tag in away.items():
        out.say(f"{name}@{alias} is {tag}, which is not in this store")
    for reason in broken:
        out.say(f"not listed: {reason}")
    out.result(
        {
            "champion": aliases.get(CHAMPION),
            "aliases": aliases,
            "forced": sorted(forced),
            "models": [manifest.model_dump() for manifest in there],
            "carried": carried,
            "broken": broken,
        }
    )


@models.command("show")
def show_command(tag: Tag, as_json: AsJson = False) -> None:
    """A model's card, what its manifest says of its making, and what was decided about it."""
    workspace = Workspace.open(usecase_of(tag))
    out, exact = Out(as_json), workspace.registry.resolve(tag)
    directory = workspace.models.path(exact)
    manifest = read_manifest(directory)
    decisions = [e for e in workspace.registry.entries(manifest.name) if e.tag == exact and e.alias]
    doubt(workspace.registry)
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
    if decisions:
        out.say("\n" + _table(decisions, proof=True))
    out.result({**manifest.model_dump(), "decisions": [asdict(entry) for entry in decisions]})


@models.command("history")
def history_command(
    usecase: Name = None,
    at: Annotated[str | None, typer.Option("--at", help="A time (RFC 3339): what was live then.")] = None,
    as_json: AsJson = False,
) -> None:
    """Everything that happened to a use case's models; or what was live at a time, and who decided it."""
    out, workspace = Out(as_json), Workspace.open(usecase)
    name, registry = workspace.usecase.name, workspace.registry
    if at is not None:
        decided, servers = registry.decided(name, at=at), registry.servers(name, at)
        doubt(registry)
        out.say(f"{name} at {at}: champion {_said(decided) if decided else 'none'}")
        rows = [[e.tag, e.pod, e.image, e.time] for e in servers]
        out.say(table(rows, ["serving", "pod", "image", "since"]) if rows else "serving: none")
        out.result(
            {
                "at": at,
                "champion": decided.tag if decided else None,
                "decided": asdict(decided) if decided else None,
                "serving": sorted({entry.tag for entry in servers}),
                "servers": [asdict(entry) for entry in servers],
            }
        )
        return
    entries = registry.entries(name)
    doubt(registry)
    out.say(_table(entries) if entries else f"{name}: nothing has happened yet")
    out.result({"entries": [asdict(entry) for entry in entries]})


def _forced(registry: Registry, usecase: str) -> set[str]:
    """Tags that were once promoted although the gate refused them."""
    return {entry.tag for entry in registry.entries(usecase) if entry.forced}


def _roc_auc(manifest: Manifest) -> str:
    interval = manifest.metrics.get("model_interval", {}).get("roc_auc")
    around = f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    return f"{manifest.metrics['model']['roc_auc']:.4f}{around}"


def _said(entry: Entry) -> str:
    how = f"{entry.action}, {FORCED}" if entry.forced else entry.action
    return f"{entry.tag}, by {entry.who} at {entry.time} ({how}){f': {entry.why}' if entry.why else ''}"


def _gate(entry: Entry) -> str:
    """What the gate said, as short as a column; all of it is in the journal."""
    failed = ", ".join(check["check"] for check in entry.checks if not check["passed"])
    if not entry.checks:
        return shorten(entry.proof, 60, placeholder=" ...")
    if not failed:
        return f"passed {len(entry.checks)} checks"
    return f"FORCED past: {failed}" if entry.forced else f"refused: {failed}"


def _table(entries: list[Entry], *, proof: bool = False) -> str:
    """Entries, one a line; with what the gate said."""
    header = ["time", "action", "alias", "model", "before", "who", "pod", "why"]
    rows = [
        [e.time, f"{e.action}, {FORCED}" if e.forced else e.action, e.alias, e.tag, e.before or "", e.who, e.pod, e.why]
        for e in entries
    ]
    if proof:
        header, rows = [*header, "gate"], [[*row, _gate(e)] for row, e in zip(rows, entries, strict=True)]
    return table(rows, header)
