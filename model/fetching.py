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
from settings import HoldfastError, redacted

MEMORY: Final = 60.0
"""Seconds in which a model that could not be had is not asked for again."""


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
                self._bring(tag)
        return store.path(tag)

    def _bring(self, tag: str) -> None:
        at, failed = self._failed.get(tag, (0.0, None))
        if failed is not None and self._clock() - at < MEMORY:
            raise failed.with_traceback(None)
        try:
            if not self._copied(tag):
                self._pulled(tag)
        except HoldfastError as error:
            self._failed[tag] = self._clock(), error
            raise

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

    def _pulled(self, tag: str) -> None:
        try:
            store.path(tag)  # another process may have brought it; or it is told what the store holds
            return
        except ModelNotFound as error:
            missing = str(error)
        if self.directory is not None:
            missing += f"; {self.directory} (HOLDFAST_MODELS) has it neither"
        if self.archive is None:
            raise ModelNotFound(missing)
        try:
            archive.pull(self.archive, tag, content=self._content(tag))
        except NotArchived:
            raise ModelNotFound(
                f"{missing}; nor has {redacted(self.archive)}: `holdfast models push {tag}` where it is, and it is "
                "found"
            ) from None
        except Away:
            raise
        except ArchiveError as error:
            raise ArtefactError(str(error)) from None
