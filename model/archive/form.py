"""The archive's form: a plain tar (ustar) of the artefact's files, sorted, without times, owners or modes of their own.

It is not compressed: gzip makes less than half of it (352 KB of cdnow's 819), but other builds of zlib make other bytes
of the same content, and the digest of an archive is its name. So an archive is also never larger inside than outside.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from model.artefact import MANIFEST, SEAL, ArtefactError, Manifest, check_files, digest, read_manifest
from settings import HoldfastError

MIB: Final = 2**20
MOST_BYTES: Final = 4_096 * MIB
"""Of an archive; a larger one is neither written nor read."""
MOST_TEXT: Final = 16 * MIB
"""Of the manifest and of its seal, which are read whole before anything is known of them."""
MOST_FILES: Final = 1_000

BENTOML: Final = ("model.yaml", "custom_objects.pkl")
"""What BentoML keeps in a model's directory itself; it would unpickle the second one."""


class ArchiveError(HoldfastError, RuntimeError):
    """An archive cannot be written or had, or is not what it should be; the message says where and what to do."""


class Away(ArchiveError):
    """The place of archives cannot be reached, read or written now; later it may."""


class NotArchived(ArchiveError):
    """The place holds no archive of that model."""


def sound(directory: Path) -> Manifest:
    """The manifest of an artefact with every digest right.

    Raises:
        ArtefactError: naming what is wrong.
    """
    manifest = read_manifest(directory)
    broken = check_files(directory, manifest)
    if broken:
        raise ArtefactError("; ".join(broken))
    return manifest


def members(manifest: Manifest) -> list[str]:
    """Names of the files in its archive, in order.

    BentoML's own model.yaml is not among them: no digest covers it, and it holds the time at which one store took the
    model in. The store that takes it in next writes its own.
    """
    return sorted([*manifest.files, MANIFEST, SEAL])


def pack(directory: Path, manifest: Manifest, archive: Path) -> str:
    """Write the archive of an artefact; its sha256. The same artefact gives the same bytes.

    Raises:
        ArchiveError: if a file is none of those that an archive holds, or all are too large.
    """
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in members(manifest):
            path = directory / name
            if not _allowed(name) or not path.is_file():
                raise ArchiveError(f"{manifest.tag}: {name!r} is no plain file of the artefact, it cannot be archived")
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            if tar.offset + member.size > MOST_BYTES:
                raise ArchiveError(f"{manifest.tag}: an archive holds {MOST_BYTES:,} bytes at most")
            with path.open("rb") as content:
                tar.addfile(member, content)
    return digest(archive)


def unpack(archive: Path, expected: str, tag: str, directory: Path) -> Manifest:
    """Unpack an archive with that sha256 into a new directory, once it is shown to be the artefact with that tag.

    Nothing of it is trusted: it holds exactly the files of its manifest, each with its digest, and is byte for byte
    what `pack` makes of them.

    Raises:
        ArchiveError: naming what is wrong; what is in the directory then is of no use.
    """
    directory.mkdir()
    try:
        _extract(archive, directory)
        manifest = read_manifest(directory)
        found, named = {path.name for path in directory.iterdir()}, set(members(manifest))
        if found != named:  # before a file is looked for by a name that the manifest made up
            odd = ", ".join(sorted(found ^ named)[:3])
            raise ArtefactError(f"its files are not those that its manifest names: {odd}")
        if manifest.tag != tag:
            raise ArtefactError(f"it holds {manifest.tag}")
        sound(directory)
    except (tarfile.TarError, ArtefactError) as error:
        raise ArchiveError(f"the archive of {tag} holds no sound artefact: {error}") from None
    again = directory.with_suffix(".again")
    if pack(directory, manifest, again) != expected:
        raise ArchiveError(f"the archive of {tag} is not of the form that `holdfast models push` writes")
    again.unlink()
    for path in directory.iterdir():
        path.chmod(0o644)
    directory.chmod(0o755)
    return manifest


def _extract(archive: Path, directory: Path) -> None:
    """Write the members: plain regular files, once each. Extended headers, which tarfile would follow, are refused."""
    with archive.open("rb") as tar:
        for _ in range(MOST_FILES):
            header = tar.read(tarfile.BLOCKSIZE)
            if header == tarfile.NUL * tarfile.BLOCKSIZE:
                return
            member = tarfile.TarInfo.frombuf(header, "ascii", "surrogateescape")
            if member.type != tarfile.REGTYPE or member.size < 0 or not _allowed(member.name):
                raise ArtefactError(f"{member.name!r} is no plain file of an artefact")
            if member.name in (MANIFEST, SEAL) and member.size > MOST_TEXT:
                raise ArtefactError(f"{member.name} has {member.size:,} bytes; {MOST_TEXT:,} are the most")
            _write(tar, member.size, directory / member.name)
            tar.seek(-member.size % tarfile.BLOCKSIZE, os.SEEK_CUR)
        raise ArtefactError(f"it has more than {MOST_FILES:,} files")


def _write(tar: BinaryIO, size: int, path: Path) -> None:
    try:
        with path.open("xb") as file:
            while size and (block := tar.read(min(size, MIB))):
                size -= file.write(block)
    except FileExistsError:
        raise ArtefactError(f"{path.name} is there twice") from None
    if size:
        raise ArtefactError(f"{path.name} ends {size:,} bytes early")


def _allowed(name: str) -> bool:
    """Whether a name stays where it is put, as ustar keeps it, and is none that means something to BentoML."""
    alone = name == Path(name).name and not name.startswith(".") and "\0" not in name
    return alone and name.isascii() and len(name) <= 100 and name not in BENTOML
