"""Processes that store, promote and are killed: what they do, without what training would import."""

from __future__ import annotations

import shutil
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from model import artefact, store
from model.artefact import Manifest
from model.registry import Conflict
from model.staging import staging
from tests.model.registries import Place

ROUNDS = 3


def context() -> ForkServerContext:
    """Where processes begin with the modules loaded, but share nothing with this one."""
    made = ForkServerContext()
    made.set_forkserver_preload([__name__])
    return made


def variant(directory: Path, name: str, version: str, **more: Any) -> Manifest:
    """The manifest of a copy of an artefact under another tag."""
    fields = artefact.read_manifest(directory).model_dump() | {"name": name, "version": version} | more
    return Manifest(**fields | {"content_digest": artefact.content_digest(fields, fields["files"])})


def save(directory: Path, manifest: Manifest) -> bool:
    """Store a copy of the artefact in `directory` with that manifest."""

    def write(to: Path) -> None:
        for name in manifest.files:
            shutil.copyfile(directory / name, to / name)
        artefact.seal(to, manifest)

    return store.save(manifest, write)


def stage(root: Path, times: int) -> None:
    """Make staging directories and leave them, one after the other."""
    for _ in range(times):
        with staging(root) as directory:
            (directory / "one").write_text("content")


def train(number: int, directory: Path, name: str, gate: Any) -> None:
    """Store models, every second one under a tag that others want too."""
    gate.wait(120)
    for turn in range(ROUNDS):
        save(directory, variant(directory, name, f"20200101-own{number}x{turn}"))
        save(directory, variant(directory, name, f"20200101-shared{turn}"))


def promote(number: int, places: list[Place], name: str, told: Any, gate: Any) -> None:
    """Promote whatever there is, in each registry, having looked at what is champion; tell what came of it."""
    registries = [place.open(f"p{number}") for place in places]
    gate.wait(120)
    for turn in range(ROUNDS):
        for which, registry in enumerate(registries):
            seen = registry.alias(name)
            tag = f"{name}:20200101-p{number}x{turn}"
            try:
                told.put((which, "won", registry.promote(name, tag, why="", proof="", expected=seen).number))
            except Conflict:
                told.put((which, "told", seen))
            told.put((which, "ready", registry.deployed(name, "ready", tag, "").number))


def save_for_ever(directory: Path, name: str, begun: Any) -> None:
    """Store one model after the other, until it is killed."""
    begun.set()
    number = len(store.tags(name))
    while True:
        save(directory, variant(directory, name, f"20200101-{number:08}"))
        number += 1
