"""Push and pull: a model's archive to a place, and from there into the store of another machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model import store
from model.archive.form import MIB, MOST_BYTES, ArchiveError, NotArchived, pack, sound, unpack
from model.archive.place import Place, place, telling
from model.artefact import ArtefactError, Manifest, digest

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""
REMEDY: Final = "remove both files there and push again"
_PART = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
_REFERENCE = re.compile(rf"(?P<tag>{_PART}:(?!latest\b){_PART})(?:@sha256:(?P<digest>[0-9a-f]{{64}}))?")


@dataclass(frozen=True)
class Reference:
    """What is pulled: an exact tag, and the sha256 that its archive must have, or whichever it has."""

    tag: str
    digest: str | None = None

    @staticmethod
    def parse(text: str) -> Reference:
        """Of NAME:VERSION or NAME:VERSION@sha256:HEX.

        Raises:
            ArchiveError: if it is neither.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise ArchiveError(f"{text!r} is neither NAME:VERSION nor NAME:VERSION@sha256: and 64 digits of hex")
        return Reference(found["tag"], found["digest"])

    def __str__(self) -> str:
        return self.tag if self.digest is None else f"{self.tag}@sha256:{self.digest}"

    @property
    def path(self) -> str:
        """The archive's path at a place."""
        return self.tag.replace(":", "/") + ".tar"


@dataclass(frozen=True)
class Pushed:
    """An archive that is in its place: the reference to pull it by, its address, its bytes, and whether it is new."""

    reference: str
    url: str
    bytes: int
    stored: bool


@dataclass(frozen=True)
class Pulled:
    """A model that is in the store: its tag, its archive's sha256, and whether it is new there."""

    tag: str
    digest: str
    stored: bool


def push(url: str, tag: str, progress: Progress = lambda *_: None) -> Pushed:
    """Put the archive of a stored model at `url`, and its digest beside it.

    A run that was cut short is completed by the next one. Where the archive is there already, nothing is written;
    an archive of the same content, made at another time, counts as the same and keeps its digest.

    Raises:
        ModelNotFound, ArtefactError: if the store has no such model, or a broken one.
        ArchiveError: if it cannot be written, or another model has that name there.
    """
    to, directory = place(url), store.path(tag)
    manifest = sound(directory)
    with store.staging() as staging:  # what a killed run leaves there, the next one sweeps
        draft = staging / "draft.tar"
        own = Reference(manifest.tag, pack(directory, manifest, draft))
        size = draft.stat().st_size
        stored = to.create(own.path, draft)
        if not stored:
            own, size = _same(to, own, manifest, staging, progress)
        note = staging / "digest"
        note.write_text(f"{own.digest}  {own.path.rpartition('/')[2]}\n")
        if to.create(f"{own.path}.sha256", note):
            stored = True
        elif _promised(to, own) != own.digest:
            raise ArchiveError(f"{to.shown}/{own.path} is not what the digest beside it says: {REMEDY}")
    return Pushed(str(own), f"{to.shown}/{own.path}", size, stored)


def pull(url: str, reference: str, progress: Progress = lambda *_: None, *, content: str = "") -> Pulled:
    """Bring a model from `url` into the store. Nothing of its archive is opened before the digest was found right.

    A model that is there already, with the same content, is left alone.

    Args:
        content: the content digest that the model must have; "": whichever it has.

    Raises:
        NotArchived: if it is not there. Away: if that cannot be told.
        ArchiveError: if it is not what the reference, `content` or its own digests say, or another model has that tag
            in the store.
    """
    asked, source = Reference.parse(reference), place(url)
    promised = Reference(asked.tag, _promised(source, asked))
    if asked.digest not in (None, promised.digest):
        raise ArchiveError(f"{source.shown} holds {promised}, not {asked}: nothing was pulled")
    with store.staging() as staging:
        kept = _kept(asked.tag)
        if kept is not None and pack(*kept, staging / "kept.tar") == promised.digest:
            return Pulled(asked.tag, str(promised.digest), stored=False)
        manifest = _fetch(source, promised, staging, progress)
        if content not in ("", manifest.content_digest):
            raise ArchiveError(
                f"{source.shown}/{promised.path} has content_digest {manifest.content_digest}, and the journal says "
                f"that {asked.tag} has {content}: nothing was pulled"
            )
        stored = kept is None and store.put(staging / "model", asked.tag)
        kept = None if stored else kept or _kept(asked.tag)
        if kept is not None and kept[1].content_digest != manifest.content_digest:
            raise ArchiveError(
                f"the store {store.home()} holds another model {asked.tag}, with content_digest "
                f"{kept[1].content_digest}; that of {promised} is {manifest.content_digest}: nothing was changed"
            )
    return Pulled(asked.tag, str(promised.digest), stored)


def _kept(tag: str) -> tuple[Path, Manifest] | None:
    """Directory and manifest of a stored model; None if it is not there."""
    if not store.there(tag):
        return None
    directory = store.path(tag)
    try:
        return directory, sound(directory)
    except ArtefactError as error:
        raise ArchiveError(
            f"{tag} is in the store {store.home()} already, and broken ({error}); to pull it anew, delete it first: "
            f"`bentoml models delete {tag}`"
        ) from None


def _same(to: Place, own: Reference, manifest: Manifest, staging: Path, progress: Progress) -> tuple[Reference, int]:
    """The archive that has our model's name there already, if it holds the same content, and its bytes."""
    archive = staging / "archive.tar"
    there = Reference(own.tag, _download(to, own, archive, progress))
    if there != own:
        taken = f"{to.shown}/{own.path} is there already"
        try:
            found = unpack(archive, str(there.digest), own.tag, staging / "model")
        except ArchiveError as error:
            raise ArchiveError(f"{taken}, and broken ({error}): {REMEDY}") from None
        if found.content_digest != manifest.content_digest:
            raise ArchiveError(
                f"{taken}, with another content ({found.content_digest}, ours is {manifest.content_digest}): it is "
                "never overwritten"
            )
    return there, archive.stat().st_size


def _fetch(source: Place, promised: Reference, staging: Path, progress: Progress) -> Manifest:
    """Download and check the archive, then unpack it as `staging`/model."""
    archive = staging / "archive.tar"
    found = _download(source, promised, archive, progress)
    if found != promised.digest:
        raise ArchiveError(
            f"{source.shown}/{promised.path} has sha256 {found}, not {promised.digest}: it was changed or cut short, "
            "and was not opened; push it again from a machine that has the model, after removing it there"
        )
    return unpack(archive, found, promised.tag, staging / "model")


def _download(source: Place, reference: Reference, archive: Path, progress: Progress) -> str:
    """Copy an archive; its sha256."""
    remote = source.open(reference.path)
    if remote is None:
        raise ArchiveError(
            f"{source.shown} holds the digest of {reference.tag} and not its archive: push it again from a machine "
            "that has the model"
        )
    done = 0
    with telling(f"{source.shown}/{reference.path}", "read"), closing(remote), archive.open("wb") as file:
        size = remote.seek(0, 2)
        remote.seek(0)
        if size > MOST_BYTES:
            raise ArchiveError(f"{source.shown}/{reference.path} has {size:,} bytes; {MOST_BYTES:,} are the most")
        while block := remote.read(min(MIB, size - done)):
            file.write(block)
            done += len(block)
            progress("MiB", -(-done // MIB), -(-size // MIB))
    return digest(archive)


def _promised(source: Place, reference: Reference) -> str:
    """The digest that stands beside an archive.

    Raises:
        NotArchived: if there is none. ArchiveError: if there is no digest in it.
    """
    path = f"{reference.path}.sha256"
    remote = source.open(path)
    if remote is None:
        raise NotArchived(
            f"{source.shown} holds no model {reference.tag}, or its push has not ended: `holdfast models push "
            f"{reference.tag} {source.shown}` on a machine that has it"
        )
    with telling(f"{source.shown}/{path}", "read"), closing(remote):
        line = remote.read(1_024)
    found = re.fullmatch(rb"([0-9a-f]{64}) [ *](\S+)\n?", line)
    if found is None or found[2].decode(errors="replace") != reference.path.rpartition("/")[2]:
        raise ArchiveError(f"{source.shown}/{path} holds no digest of {reference.path}: {REMEDY}")
    return found[1].decode()
