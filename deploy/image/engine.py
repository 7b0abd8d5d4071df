"""The program that builds and runs containers: podman or docker, whichever works here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import HoldfastError

PROGRAMS = ("podman", "docker")


class EngineError(HoldfastError, RuntimeError):
    """There is no container engine, or it could not do what it was asked."""


@dataclass(frozen=True)
class Engine:
    """A container engine, by the name of its program."""

    program: str

    @staticmethod
    def find() -> Engine:
        """The first that answers; a client without its daemon does not.

        Raises:
            EngineError: if none does, with what each said.
        """
        said = []
        for program in PROGRAMS:
            if shutil.which(program) is None:
                said.append(f"{program} is not installed")
                continue
            engine = Engine(program)
            try:
                engine("version")
            except EngineError as error:
                said.append(str(error))
            else:
                return engine
        raise EngineError(f"no container engine: {'; '.join(said)}. Install podman or docker, or start its daemon")

    def __call__(self, *words: str, told: bool = False) -> str:
        """What the program prints, trimmed; `told`: it goes to the terminal instead, and nothing is returned.

        Raises:
            EngineError: if it fails, with its last words.
        """
        # chroot: podman then also builds inside a container, where it may not make namespaces
        environ = {"BUILDAH_ISOLATION": "chroot", "DOCKER_BUILDKIT": "1", **os.environ}
        done = subprocess.run(  # noqa: S603  # our own words
            [self.program, *words],
            env=environ,
            stdout=None if told else subprocess.PIPE,
            stderr=None if told else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            words_ = "" if told else f": {(done.stderr or done.stdout).strip()[-2000:]}"
            raise EngineError(f"{self.program} {words[0]} ended with {done.returncode}{words_}")
        return "" if told else done.stdout.strip()

    def build(
        self,
        context: Path,
        containerfile: Path,
        target: str,
        image: str,
        *,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, Path],
        options: Sequence[str] = (),
    ) -> None:
        """Build one target. The network is this machine's: what reaches a package index here does so in there.

        Args:
            secrets: files that are there while it is built, by their id. options: more, for the engine's `build`.

        Raises:
            EngineError: if it fails; the engine has said why.
        """
        words = ["build", "--network=host", f"--file={containerfile}", f"--target={target}", f"--tag={image}"]
        words += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        words += [f"--label={name}={value}" for name, value in labels.items()]
        words += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        self(*words, *options, str(context), told=True)

    def inspect(self, image: str) -> dict[str, Any]:
        """What the engine knows of an image.

        Raises:
            EngineError: if there is none of that name.
        """
        found: dict[str, Any] = json.loads(self("image", "inspect", image))[0]
        return found

    def size(self, image: str) -> float:
        """MB (10**6 bytes) of an image, unpacked, with its base."""
        return float(self.inspect(image)["Size"]) / 1e6

    def copy(self, image: str, source: str, to: Path) -> None:
        """Take a file out of an image."""
        container = self("create", image)
        try:
            self("cp", f"{container}:{source}", str(to))
        finally:
            self("rm", container)
