"""What is said of images that were built, and what comes next with them."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.image.build import Image

SHOWN = 12
"""Digits of an id: engines take so many, and nobody takes them for the digest of a registry."""


def told(images: Mapping[str, Image], base: str) -> str:
    """Names, sizes and lists of parts of the images, by target."""
    return "".join(
        f"{target:<12} {image.name}\n"
        f"{'':<12} {image.megabytes:.0f} MB over {base}; its id on this machine, which is no digest: {_short(image)}\n"
        f"{'':<12} parts: {image.sbom}\n"
        for target, image in images.items()
    )


def following(images: Mapping[str, Image], usecase: str, program: str) -> str:
    """The commands that push the images and release them by the digests that the registry gives.

    Args:
        program: podman or docker, which built them.
    """
    serving, jobs = (images[target].name.rpartition(":")[0] for target in ("serving", "jobs"))
    if "/" not in serving or serving.startswith("localhost/"):
        return (
            f"\n{serving} names no registry, so these stay on this machine. For a cluster, build them again with "
            "REPOSITORY=REGISTRY/NAME: what was built is not built anew\n"
        )
    if program == "podman":
        pushes = [f"podman push --digestfile {target}.digest {image.name}" for target, image in images.items()]
        digests = ["$(cat serving.digest)", "$(cat jobs.digest)"]
    else:
        pushes = [f"docker push {image.name}    # prints `digest: sha256:...`" for image in images.values()]
        digests = ["sha256:...", "sha256:..."]
    release = f"holdfast release {usecase} --image {serving}@{digests[0]} --jobs-image {jobs}@{digests[1]}"
    return "".join(f"{line}\n" for line in ("\nnext, by the digests that the registry gives:", *pushes, release))


def _short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:SHOWN]
