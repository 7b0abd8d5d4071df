"""Images by their names, and what a container engine here knows of one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from settings import HoldfastError

ENGINES: Final = ("podman", "docker")
MODEL: Final = "holdfast.model"
"""The label that says which model an image carries; `make image` sets it."""
TITLE: Final = "org.opencontainers.image.title"
SERVING, JOBS = "-serving", "-jobs"
_ENDS: Final = {SERVING: "--image", JOBS: "--jobs-image"}
_OPTIONS: Final = {f"holdfast{end}": option for end, option in _ENDS.items()}
"""Titles of the images that `make image` builds, and the option for each."""
_NAMED = re.compile(
    r"(?P<repository>(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class ImageError(HoldfastError, ValueError):
    """An image cannot be released: it is not named exactly, is the other one of the two, or carries another model."""


@dataclass(frozen=True)
class Image:
    """An image by its exact name; `tag` or `digest` may be empty, not both."""

    repository: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Image:
        """Of REPOSITORY:TAG, REPOSITORY@sha256:HEX or both.

        Raises:
            ImageError: if it is none of them, or names what may be another image tomorrow.
        """
        found = _NAMED.fullmatch(text)
        if found is None:
            raise ImageError(f"{text!r} is no image: write REPOSITORY:TAG or REPOSITORY@sha256:HEX")
        image = Image(found["repository"], found["tag"] or "", found["digest"] or "")
        if not image.digest and image.tag in ("", "latest"):
            raise ImageError(
                f"{text} may be another image tomorrow, and a rollback to it would bring that one: write "
                "REPOSITORY:TAG with a tag that is given once, or REPOSITORY@sha256:HEX"
            )
        return image

    def __str__(self) -> str:
        return f"{self.repository}{f':{self.tag}' * bool(self.tag)}{f'@{self.digest}' * bool(self.digest)}"

    @property
    def exact(self) -> str:
        """REPOSITORY@DIGEST; "" where the digest is not known."""
        return f"{self.repository}@{self.digest}" if self.digest else ""

    def values(self) -> dict[str, str]:
        """The same as the chart has it; all three, so that none of an earlier file's is left."""
        return {"repository": self.repository, "tag": self.tag, "digest": self.digest}

    def jobs(self) -> Image | None:
        """The image of the jobs that was built beside this one, where a tag says which that is."""
        start, found, end = self.repository.rpartition(SERVING)
        return Image(f"{start}{JOBS}", self.tag) if found and not end and self.tag else None


def looked_at(image: Image, option: str, model: str | None) -> str:
    """What an engine here knows of an image, in words; not its digest, for the one that a registry gives is another.

    Args:
        option: --image or --jobs-image, as which it was given.
        model: the tag that it has to carry; None: any, as it gets one from elsewhere.

    Raises:
        ImageError: if its digest is an image's id on this machine, if it is the other of the two images, or if it
            carries another model.
    """
    if image.digest:
        _not_an_id(image)
    known = next((found for name in ENGINES if (found := _inspect(name, str(image))) is not None), None)
    if known is None:
        meant = next((other for end, other in _ENDS.items() if image.repository.endswith(end)), option)
        doubt = f", but its name is that of one for {meant}: is {option} right?" if meant != option else ""
        return f"{image} is not on this machine: which model it carries was not looked at{doubt}"
    labels: dict[str, str] = (known.get("Config") or {}).get("Labels") or {}
    title, carried = labels.get(TITLE, ""), labels.get(MODEL)
    if _OPTIONS.get(title, option) != option:
        raise ImageError(f"{option} {image} is a {title} image, which is for {_OPTIONS[title]}: were the two swapped?")
    if model is not None and carried is not None and carried != model:
        raise ImageError(f"{image} carries {carried}, not {model}: build it with the model that is meant")
    return f"{image} {f'carries {carried}' if carried else 'does not say which model it carries'}"


def _not_an_id(image: Image) -> None:
    """Refuse the id by which an engine here has an image; Docker's may also be its digest, and is one of those then."""
    for engine in ENGINES:
        known = _inspect(engine, image.digest) or {}
        digests = [one.rpartition("@")[2] for one in known.get("RepoDigests") or ()]
        own = f"sha256:{str(known.get('Id', '')).removeprefix('sha256:')}"
        if image.digest == own and own not in digests:
            raise ImageError(
                f"{image} has the id of an image on this machine where the registry's digest belongs, and no node "
                "could pull that: push the image and take the digest that the registry gives it, which "
                "`podman push --digestfile FILE NAME` writes to FILE and `docker push NAME` prints"
            )


def _inspect(engine: str, image: str) -> dict[str, Any] | None:
    program = shutil.which(engine)
    if program is None:
        return None
    command = [program, "image", "inspect", image]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return found[0] if found else None
