"""What `make image` prints leads to a digest that a cluster can pull, and shows none that it cannot."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli.release.images import Image as Named
from cli.release.images import ImageError
from deploy.image.build import TARGETS, Image
from deploy.image.telling import following, told

DIGEST = f"sha256:{'d' * 64}"


def built(repository: str) -> dict[str, Image]:
    """Images as they were built under that name."""
    ids = dict(zip(TARGETS, "ab", strict=True))
    return {
        target: Image(f"{repository}-{target}:1-c0ffee", f"sha256:{one * 64}", 300.4, Path(f"/var/{target}.json"))
        for target, one in ids.items()
    }


def test_an_id_is_not_shown_as_what_a_release_takes() -> None:
    said = told(built("shop/holdfast"), "python:3.11-slim")
    assert "shop/holdfast-jobs:1-c0ffee\n" in said
    assert "300 MB over python:3.11-slim" in said
    assert "id on this machine, which is no digest: aaaaaaaaaaaa\n" in said
    for word in ("aaaaaaaaaaaa", "sha256:aaaaaaaaaaaa"):
        with pytest.raises(ImageError):
            Named.parse(f"shop/holdfast-serving@{word}")
    assert re.findall(r"[0-9a-f]{64}|sha256", said) == []


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_the_next_commands_push_both_and_release_what_was_pushed(program: str) -> None:
    repository = "registry.example.com:5000/shop/holdfast"
    *pushes, release = following(built(repository), "cdnow", program).splitlines()[2:]
    names = [f"{repository}-{target}:1-c0ffee" for target in TARGETS]
    assert [shlex.split(line, comments=True)[-1] for line in pushes] == names
    assert all(line.startswith(f"{program} push ") for line in pushes)
    words = shlex.split(re.sub(r"\$\(cat \w+\.digest\)|sha256:\.\.\.", DIGEST, release))
    assert words[:3] == ["holdfast", "release", "cdnow"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert {option: Named.parse(name).repository for option, name in given.items()} == {
        "--image": f"{repository}-serving",
        "--jobs-image": f"{repository}-jobs",
    }
    for file in re.findall(r"\$\(cat (\S+)\)", release):
        assert sum(f"--digestfile {file} " in line for line in pushes) == 1


@pytest.mark.parametrize("repository", ["holdfast", "localhost/holdfast"])
def test_names_without_a_registry_are_told_to_stay_here(repository: str) -> None:
    said = following(built(repository), "cdnow", "podman")
    assert "REPOSITORY=REGISTRY/NAME" in said
    assert "push" not in said
