"""The values by which the chart releases a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from cli.release.images import Image, ImageError
from settings import HoldfastError


class ValuesError(HoldfastError, ValueError):
    """A file holds no values of the chart."""


@dataclass(frozen=True)
class Release:
    """A model on its way out.

    Attributes:
        tag: NAME:VERSION. fingerprint: of its features. archive: sha256 of its archive, "" if it is in the image.
        image, jobs: what runs; None leaves the jobs' image as other values have it.
    """

    usecase: str
    events: bool
    tag: str
    fingerprint: str
    image: Image
    jobs: Image | None
    archive: str = ""


@dataclass(frozen=True)
class Kept:
    """Another feature set whose online rows are kept up: by which jobs image, and for which models."""

    fingerprint: str
    image: str
    tags: tuple[str, ...]

    def values(self) -> dict[str, str]:
        """The same as the chart has it."""
        return {"name": f"f{self.fingerprint[:8]}", "image": self.image, "fingerprint": self.fingerprint}


def stable(release: Release, kept: Iterable[Kept]) -> dict[str, Any]:
    """Values that make the model the one that is served, and end a canary."""
    model = {
        "source": "archive" if release.archive else "image",
        "tag": release.tag,
        "digest": release.archive,
        "fingerprint": release.fingerprint,
    }
    return {
        "usecase": release.usecase,
        "events": release.events,
        "image": release.image.values(),
        **({"jobsImage": release.jobs.values()} if release.jobs else {}),
        "model": model,
        "canary": {"enabled": False, "promote": False},
        "jobs": {"materialize": {"also": [one.values() for one in kept]}},
    }


def canary(release: Release) -> dict[str, Any]:
    """Values that run the model beside the stable one, whose own stay as they are."""
    model = {"tag": release.tag, "digest": release.archive, "fingerprint": release.fingerprint}
    return {
        "canary": {
            "enabled": True,
            "promote": False,
            "image": release.image.values(),
            **({"jobsImage": release.jobs.values()} if release.jobs else {}),
            "model": model,
        }
    }


def jobs_images(text: str, name: str) -> dict[str, str]:
    """The jobs images, REPOSITORY@sha256:HEX, that values name, by the fingerprint of their features.

    Raises:
        ValuesError: if that is no values; `name` says whose they are.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValuesError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ValuesError(f"{name} holds no values of the chart")
    stable, canary = _image(given), _image(given.get("canary"))
    own = [(_said(given.get("canary")), replace(canary, repository=canary.repository or stable.repository))]
    found = {fingerprint: image.exact for fingerprint, image in [*own, (_said(given), stable)]}
    also = ((given.get("jobs") or {}).get("materialize") or {}).get("also") or []
    found |= {one.get("fingerprint", ""): one["image"] for one in also}
    return {fingerprint: image for fingerprint, image in found.items() if fingerprint and _exact(image)}


def keep(needed: Iterable[tuple[str, str]], images: Mapping[str, str], own: str) -> tuple[list[Kept], list[str]]:
    """What to keep up beside the features `own`, and the tags of which nothing can be, as no image is known.

    Args:
        needed: tags with the fingerprint of their features. images: jobs images by fingerprint.
    """
    by_features: dict[str, list[str]] = {}
    for tag, fingerprint in needed:
        if fingerprint != own:
            by_features.setdefault(fingerprint, []).append(tag)
    kept = [Kept(one, images[one], tuple(tags)) for one, tags in by_features.items() if one in images]
    return kept, [tag for one, tags in by_features.items() if one not in images for tag in tags]


def written(values: Mapping[str, Any], header: Iterable[str]) -> str:
    """The values as YAML, below comments."""
    comments = "".join(f"# {' '.join(line.split())}\n" for line in header)
    return comments + str(yaml.dump(_quoted(values), Dumper=_Dumper, sort_keys=False, width=1_000))


class _Text(str):
    """A text that is quoted: readers of YAML differ in which bare words are numbers, as 1e23 is for some."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml is published without types
    """Writes such texts."""


_Dumper.add_representer(_Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def _quoted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _quoted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_quoted(one) for one in value]
    return _Text(value) if isinstance(value, str) else value


def _image(values: Any) -> Image:
    given = (values or {}).get("jobsImage") or {}
    return Image(given.get("repository") or "", given.get("tag") or "", given.get("digest") or "")


def _said(values: Any) -> str:
    return str(((values or {}).get("model") or {}).get("fingerprint") or "")


def _exact(image: str) -> bool:
    try:
        return bool(Image.parse(image).exact)
    except ImageError:
        return False
