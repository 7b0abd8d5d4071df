"""Where archives are: a directory, or whatever fsspec has a driver for. A file that is there is never overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from fsspec.core import url_to_fs

from features.store.lock import exclusive
from model.archive.form import ArchiveError, Away
from model.staging import sync
from settings import HoldfastError, redacted


class Place(Protocol):
    """A place for files, each named by a relative path."""

    shown: str
    """Its address as messages may show it."""

    def create(self, name: str, source: Path) -> bool:
        """Copy a file there, whole or not at all; False where that name is taken, and nothing was written.

        Raises:
            Away: if it cannot be written.
        """

    def open(self, name: str) -> BinaryIO | None:
        """A file to read from and to close; None where there is none.

        Raises:
            Away: if it cannot be read, or there is no such directory at all.
        """


def place(url: str) -> Place:
    """The place at a path, file:///..., s3://BUCKET/PREFIX, or another address that fsspec knows.

    Raises:
        ArchiveError: if it is no address. Away: if there is no driver for it, naming the extra that brings one.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        return Remote(url) if "://" in url else Directory(Path(url))
    if parts.netloc not in ("", "localhost"):
        raise ArchiveError(f"{redacted(url)} names a host: file:// takes an absolute path, as in file:///srv/models")
    return Directory(Path(unquote(parts.path)))


@contextmanager
def telling(where: str, doing: str) -> Iterator[None]:
    """Tell whatever goes wrong in the block as one line about that place.

    Raises:
        Away: for any error but our own.
    """
    try:
        yield
    except HoldfastError:
        raise
    except Exception as error:  # each driver has exceptions of its own, of which not all are OSErrors
        lines = [getattr(error, "strerror", None) or "", *str(error).splitlines(), type(error).__name__]
        told = next(line.strip() for line in lines if line.strip())
        if told == "Unable to locate credentials":
            told += ": AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, are read from the environment"
        raise Away(f"{where} cannot be {doing}: {redacted(told)}") from None


class Directory:
    """A directory, on a disk or a share; made when it is first written."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.shown = str(self.root)

    def create(self, name: str, source: Path) -> bool:
        """One writer at a time for each model: so a draft that is there is one whose writer died."""
        target = self.root / name
        draft = target.with_name(".draft")
        with telling(str(target), "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(target.with_name(".lock"), f"writing {target}", wait=True):
                if target.exists():
                    return False
                with source.open("rb") as content, draft.open("wb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                draft.chmod(0o644)
                draft.rename(target)
                sync(target.parent)
        return True

    def open(self, name: str) -> BinaryIO | None:
        with telling(str(self.root / name), "read"):
            try:
                return (self.root / name).open("rb")
            except FileNotFoundError:
                if self.root.is_dir():
                    return None
                raise Away(
                    f"there is no directory {self.root}: is the address right, and the share mounted? The first push "
                    "to it makes it"
                ) from None


class Remote:
    """Object storage, or another place that fsspec reaches. Credentials and endpoints are its driver's own matter."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        address = f"{scheme}://{rest.rstrip('/')}"
        self.shown = redacted(address)
        with telling(self.shown, "reached"):
            try:
                found = url_to_fs(address, skip_instance_cache=True, use_listings_cache=False)
            except ImportError as error:
                remedy = "`pip install -e '.[jobs,s3]'`" if scheme in ("s3", "s3a") else error
                raise Away(f"{self.shown}: the driver of {scheme}:// is not installed: {remedy}") from None
        self._files: Any = found[0]
        self._root: str = found[1]

    def create(self, name: str, source: Path) -> bool:
        """Objects come into being whole; `mode` keeps two that come at once apart, and not every driver knows it."""
        path = f"{self._root}/{name}"
        with telling(f"{self.shown}/{name}", "written"):
            try:
                if self._files.exists(path):
                    return False
                self._files.put_file(str(source), path, mode="create")
            except FileExistsError:
                return False
        return True

    def open(self, name: str) -> BinaryIO | None:
        """None also where there is no such bucket: S3 does not tell them apart."""
        with telling(f"{self.shown}/{name}", "read"):
            try:
                file: BinaryIO = self._files.open(f"{self._root}/{name}", "rb")
            except FileNotFoundError:
                return None
        return file
