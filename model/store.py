"""The BentoML model store: where artefacts live. The one module below the service that knows BentoML."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer  # its only way to ask where things are
from bentoml._internal.models.model import MODEL_YAML_FILENAME as INFO
from bentoml._internal.models.model import ModelContext, ModelInfo, ModelOptions
from bentoml.exceptions import BentoMLException

from features.store.lock import exclusive
from model import staging as making
from model.artefact import ArtefactError, Manifest, read_manifest
from settings import HoldfastError


class ModelNotFound(HoldfastError, LookupError):
    """No such model in the store; the message says which there are."""


def home() -> Path:
    """BentoML's home: `BENTOML_HOME`, or its own default."""
    return Path(BentoMLContainer.bentoml_home.get())


def save(manifest: Manifest, write: Callable[[Path], None]) -> bool:
    """Store an artefact under its tag, written by `write(directory)`; False if it is there already.

    It appears whole or not at all, whenever the process is killed.
    """
    if there(manifest.tag):
        return False
    with staging() as directory:
        write(directory)
        return _put(directory, manifest)


def staging() -> AbstractContextManager[Path]:
    """An empty directory on the store's file system, out of sight, while the block runs: to be filled, then `put`."""
    return making.staging(home() / "holdfast" / "staging")


def put(directory: Path, tag: str) -> bool:
    """Move a whole artefact out of a staging directory to its place; False if that tag is there already.

    Raises:
        ArtefactError: if it is not the artefact of that tag.
    """
    manifest = read_manifest(directory)
    if manifest.tag != tag:
        raise ArtefactError(f"{directory} holds {manifest.tag}, not {tag}")
    return _put(directory, manifest)


def delete(tag: str) -> None:
    """Remove a model: it is there whole, or not at all.

    Raises:
        ModelNotFound: naming those that are there.
    """
    with staging() as directory, _changing():
        found = path(tag)
        left = [one for one in tags(tag.partition(":")[0]) if one != tag]
        _point(found.parent, left[-1].partition(":")[2] if left else None)
        found.rename(directory / found.name)
        making.sync(found.parent)
        with suppress(OSError):  # other versions are in it
            found.parent.rmdir()


def there(tag: str) -> bool:
    """Whether the store has a model of exactly that tag."""
    return _held(_models(), tag)


def path(tag: str) -> Path:
    """Directory of the artefact with that exact tag: in the store, or in the Bento that is served.

    Raises:
        ModelNotFound: naming those that are there.
    """
    carried = Path(BentoMLContainer.model_store.get()._path)  # in a served Bento BentoML sets it to the Bento's own
    for models in (_models(), carried):
        if _held(models, tag):
            return models / tag.replace(":", "/")
    name = tag.split(":")[0]
    others = ", ".join(one for one in tags() if one.split(":")[0] == name) or "none"
    raise ModelNotFound(f"no model {tag} in the store {home()}; of {name} there are: {others}")


def manifest(tag: str) -> Manifest:
    """The manifest of the artefact with that exact tag.

    Raises:
        ModelNotFound, ArtefactError: if it is not there, or cannot be read.
    """
    return read_manifest(path(tag))


def tags(name: str | None = None) -> list[str]:
    """Tags of the models of a use case, or of all, oldest first."""
    return list(_made(name))


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


def _models() -> Path:
    """Where BentoML keeps models: NAME/VERSION, and NAME/latest, a file with a version."""
    return Path(BentoMLContainer.model_store_dir.get())


def _held(models: Path, tag: str) -> bool:
    try:
        exact = bentoml.Tag.from_taglike(tag)
    except (BentoMLException, ValueError):  # no tag at all
        return False
    return bool(exact.version) and str(exact) == tag and (models / exact.path() / INFO).exists()


def _made(name: str | None) -> dict[str, datetime]:
    """When each model was made, by tag, oldest first."""
    found = {}
    for path in _models().glob(f"{name or '*'}/*/{INFO}"):
        with suppress(FileNotFoundError), path.open() as file:  # it may be deleted meanwhile
            found[f"{path.parent.parent.name}:{path.parent.name}"] = ModelInfo.from_yaml_file(file).creation_time
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def _put(directory: Path, manifest: Manifest) -> bool:
    info = _info(manifest)
    with (directory / INFO).open("w") as file:
        info.dump(file)
    making.settle(directory)
    target = _models() / manifest.name / manifest.version
    with _changing():
        if there(manifest.tag):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # half of one, left by something else: it has no INFO
            target.rename(directory.with_name(f"{directory.name}-half"))
        newer = [tag for tag, made in _made(manifest.name).items() if made > info.creation_time]
        _point(target.parent, newer[-1].partition(":")[2] if newer else manifest.version)  # BentoML mends one ahead
        directory.rename(target)
        making.sync(target.parent)
    return True


def _changing() -> AbstractContextManager[None]:
    """Only one process at a time changes what is in the store."""
    return exclusive(home() / "holdfast" / "store.lock", "changing the model store", wait=True)


def _point(directory: Path, version: str | None) -> None:
    """Let BentoML's `latest` of a name be that version."""
    if version is None:
        (directory / "latest").unlink(missing_ok=True)
    else:
        making.replace(directory / "latest", version)


def _info(manifest: Manifest) -> ModelInfo:
    """What BentoML keeps of a model beside its files: the main figures, so that `bentoml models get` shows them."""
    return ModelInfo(
        tag=bentoml.Tag(manifest.name, manifest.version),
        module="",
        labels={"usecase": manifest.name, "algorithm": manifest.algorithm, "fingerprint": manifest.fingerprint[:16]},
        options=ModelOptions(),
        metadata={
            "created_at": manifest.created_at,
            "content_digest": manifest.content_digest,
            "dataset": manifest.dataset.id,
            "metrics": manifest.metrics.get("model", {}),
        },
        context=ModelContext(framework_name="", framework_versions={}),
        signatures={},
        api_version="v1",
        creation_time=datetime.fromisoformat(manifest.created_at),
    )
