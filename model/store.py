"""The BentoML model store: where artefacts live. The one module below the service that knows BentoML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException, NotFound

from model.artefact import ArtefactError, Manifest, read_manifest
from settings import HoldfastError


class ModelNotFound(HoldfastError, LookupError):
    """No such model in the store; the message says which there are."""


def home() -> Path:
    """BentoML's home: `BENTOML_HOME`, or its own default."""
    from bentoml._internal.configuration.containers import BentoMLContainer  # its only way to ask

    return Path(BentoMLContainer.bentoml_home.get())


def save(manifest: Manifest, write: Callable[[Path], None]) -> bool:
    """Store an artefact under its tag, written by `write(directory)`; False if it is there already.

    The main figures go into the store's labels and metadata too, so that `bentoml models get` shows them.
    """
    if manifest.tag in tags(manifest.name):
        return False
    labels = {"usecase": manifest.name, "algorithm": manifest.algorithm, "fingerprint": manifest.fingerprint[:16]}
    facts = {
        "created_at": manifest.created_at,
        "content_digest": manifest.content_digest,
        "dataset": manifest.dataset.id,
        "metrics": manifest.metrics,
    }
    with bentoml.models.create(manifest.tag, labels=labels, metadata=facts) as model:
        write(Path(model.path))
    stored = Path(bentoml.models.get(manifest.tag).path)
    stored.chmod(0o755)
    (stored / "model.yaml").chmod(0o644)  # BentoML's own, written last
    return True


def path(tag: str) -> Path:
    """Directory of the artefact with that exact tag.

    Raises:
        ModelNotFound: naming those that are there.
    """
    try:
        return Path(bentoml.models.get(tag).path)
    except (BentoMLException, ValueError):  # not there, or no tag at all
        name = tag.split(":")[0]
        there = ", ".join(one for one in tags() if one.split(":")[0] == name) or "none"
        raise ModelNotFound(f"no model {tag} in the store {home()}; of {name} there are: {there}") from None


def manifest(tag: str) -> Manifest:
    """The manifest of the artefact with that exact tag.

    Raises:
        ModelNotFound, ArtefactError: if it is not there, or cannot be read.
    """
    return read_manifest(path(tag))


def tags(name: str | None = None) -> list[str]:
    """Tags of the models of a use case, or of all, oldest first."""
    try:
        models = sorted(bentoml.models.list(name), key=lambda model: model.creation_time)
    except NotFound:  # BentoML's answer for a name without models
        return []
    return [str(model.tag) for model in models]


def manifests(name: str | None = None) -> tuple[list[Manifest], list[str]]:
    """Manifests of the stored artefacts, oldest first, and why others cannot be read; other models are passed over."""
    found, broken = [], []
    for tag in tags(name):
        directory = path(tag)
        if not (directory / "manifest.json").exists():
            continue
        try:
            found.append(read_manifest(directory))
        except ArtefactError as error:
            broken.append(f"{tag}: {error}")
    return found, broken
