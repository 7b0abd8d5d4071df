"""Both images of one model and one commit, and what is told of them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.workspace import ROOT
from deploy.image import pip
from deploy.image.context import HERE, context
from deploy.image.engine import Engine
from model.artefact import Manifest
from settings import VERSION, Settings

BASE = "python:3.11-slim"
TARGETS = {"serving": "Predictions over HTTP and gRPC", "jobs": "The holdfast command: data, training, monitoring"}
SBOM = "/opt/holdfast/sbom.cdx.json"


@dataclass(frozen=True)
class Image:
    """An image that was built: its name with the tag, the engine's id of it, its MB over the base, its parts."""

    name: str
    id: str
    megabytes: float
    sbom: Path


def build(
    engine: Engine,
    manifest: Manifest,
    settings: Settings,
    *,
    repository: str,
    tag: str | None = None,
    base: str = BASE,
    options: Sequence[str] = (),
) -> dict[str, Image]:
    """Build REPOSITORY-serving:TAG and REPOSITORY-jobs:TAG.

    Args:
        tag: by default the model's version and the commit. base: the image both stand on; best with its digest.
        options: more words for the engine's `build`.

    Raises:
        EngineError: if one cannot be built; the engine has said why.
    """
    commit = revision()
    tag = tag or f"{manifest.version}-{commit[:9]}{commit[40:]}"
    labels = {
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": base,
        "holdfast.model": manifest.tag,
        "holdfast.fingerprint": manifest.fingerprint,
        "holdfast.content-digest": manifest.content_digest,
    }
    made = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-image-") as name:
        directory = Path(name)
        (directory / "context").mkdir()
        context(directory / "context", manifest.tag, settings)
        secrets, local = pip.secrets(directory)
        if engine.program == "podman":
            options = [*options, *pip.volumes(local)]
        for target, title in TARGETS.items():
            image = f"{repository}-{target}:{tag}"
            engine.build(
                directory / "context",
                HERE / "Containerfile",
                target,
                image,
                arguments={
                    "BASE": base,
                    "PACKAGES": target,
                    "USECASE": manifest.name,
                    "OWN_USECASES": "/opt/holdfast/usecases" if settings.usecases else "",
                },
                labels={
                    **labels,
                    "org.opencontainers.image.title": f"holdfast-{target}",
                    "org.opencontainers.image.description": title,
                },
                secrets=secrets,
                options=options,
            )
            made[target] = _made(engine, image, base, settings.home / "images" / f"{target}-{tag}.cdx.json")
    return made


def revision() -> str:
    """The commit of this source tree, with `-dirty` where files differ from it; `unknown` outside of git."""
    done = subprocess.run(  # noqa: S603  # our own words
        ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _made(engine: Engine, image: str, base: str, sbom: Path) -> Image:
    sbom.parent.mkdir(parents=True, exist_ok=True)
    engine.copy(image, SBOM, sbom)
    id_ = str(engine.inspect(image)["Id"])
    return Image(image, f"sha256:{id_.removeprefix('sha256:')}", engine.size(image) - engine.size(base), sbom)
