"""Models that the store lacks: from a directory that came with the image, or from where models are pushed to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from model import archive, store
from model.archive import ArchiveError, Away, NotArchived
from model.artefact import ArtefactError
from model.store import ModelNotFound
from settings import HoldfastError

MEMORY: Final = 60.0
"""Seconds in which the archive is not asked again for a model that it lacks, nor for any if it is out of reach."""
_ALL: Final = ""


class Models:
    """Models as a process that began with an empty store has them: what is asked for is brought into the store, once
    it is shown to be the one that the journal knows by that tag.

    Args:
        directory: of models that are there beforehand, NAME/VERSION each. archive: as `archive.pull` takes it.
        content: the content digest that the journal has of a tag, "" if it has none.
        clock: seconds, for how long a failure is remembered.
    """

    def __init__(
        self,
        directory: Path | None,
        archive: str | None,
        content: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory, self.archive, self._content, self._clock = directory, archive, content, clock
        self._failed: dict[str, tuple[float, HoldfastError]] = {}
        self._one = Lock()

    def path(self, tag: str) -> Path:
        """Directory of the artefact with that exact tag, in the store.

        Raises:
            ModelNotFound: if it is nowhere, naming the places. ArtefactError: if what is there is not that model.
            Away, StoreError: if that cannot be told now, as the archive or the journal is out of reach.
        """
        if not store.there(tag):
            with self._one:
                if not store.there(tag) and not self._copied(tag) and self.archive is not None:
                    self._ask(self.archive, tag)
        try:
            return store.path(tag)
        except ModelNotFound as error:
            raise ModelNotFound(f"{error}{self._beside()}") from None

    def carried(self, name: str) -> list[str]:
        """Tags of a use case's models that are there beforehand and not in the store, as nothing asked for them yet."""
        found = [] if self.directory is None else sorted(self.directory.glob(f"{name}/*/manifest.json"))
        return [tag for path in found if not store.there(tag := f"{name}:{path.parent.name}")]

    def _copied(self, tag: str) -> bool:
        """Whether it came out of the directory."""
        name, _, version = tag.partition(":")
        if self.directory is None or not version or not (self.directory / name / version).is_dir():
            return False
        source = self.directory / name / version
        manifest, known = archive.sound(source), self._content(tag)
        if known not in ("", manifest.content_digest):
            raise ArtefactError(
                f"{source} has content_digest {manifest.content_digest}, and the journal says that {tag} has {known}: "
                "it is another model, and was not taken"
            )
        with store.staging() as staging:
            (staging / "model").mkdir()
            for file in archive.members(manifest):
                shutil.copyfile(source / file, staging / "model" / file)
            store.put(staging / "model", tag)
        return True

    def _ask(self, url: str, tag: str) -> None:
        """Pull it, unless that failed a moment ago."""
        for about in (tag, _ALL):
            at, failed = self._failed.get(about, (0.0, None))
            if failed is not None and self._clock() - at < MEMORY:
                raise failed.with_traceback(None)
        try:
            self._pull(url, tag)
        except HoldfastError as error:
            self._failed[_ALL if isinstance(error, Away) else tag] = self._clock(), error
            raise

    def _pull(self, url: str, tag: str) -> None:
        try:
            archive.pull(url, tag, content=self._content(tag))
        except NotArchived as error:
            raise ModelNotFound(f"{error}; it is not in the store {store.home()} here{self._beside()}") from None
        except Away:
            raise
        except ArchiveError as error:
            raise ArtefactError(str(error)) from None

    def _beside(self) -> str:
        return "" if self.directory is None else f"; nor is it in {self.directory} (HOLDFAST_MODELS)"
