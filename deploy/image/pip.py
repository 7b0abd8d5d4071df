"""This machine's pip configuration, for the stage of an image that installs packages; no layer keeps it."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from deploy.image.engine import EngineError

CERTIFICATE = "/run/secrets/pip-cert"
"""Where the build finds the certificates that pip trusts here."""
_SECTIONS = ("global", "install", ":env:")
"""Those that `pip install` heeds; a later one wins."""


def secrets(directory: Path) -> tuple[dict[str, Path], list[Path]]:
    """The build's secrets, and directories of this machine that packages come from; a bare machine has none of either.

    Args:
        directory: where they may be written; its owner removes it.

    Raises:
        EngineError: if pip does not tell its configuration.
    """
    values = configured()
    found = {}
    if "cert" in values:
        found["pip-cert"] = Path(values["cert"])
        values["cert"] = CERTIFICATE
    if values:
        parser = configparser.RawConfigParser()
        parser["global"] = values
        found["pip"] = directory / "pip.conf"
        with found["pip"].open("w") as file:
            parser.write(file)
        found["pip"].chmod(0o600)
    return found, _local(values)


def configured() -> dict[str, str]:
    """The options in force for `pip install`, by name."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"`pip config list` ended with {done.returncode}: {done.stderr.strip()}")
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in found:
            found[section][option] = str(ast.literal_eval(value))
    values = {option: value for section in _SECTIONS for option, value in found[section].items()}
    values.pop("config-file", None)  # it says where the others are
    return values


def _local(values: dict[str, str]) -> list[Path]:
    """Directories among them: indexes and links that are no address of another machine."""
    found = set()
    for option in ("index-url", "extra-index-url", "find-links"):
        for word in values.get(option, "").split():
            parts = urlsplit(word)
            if parts.scheme in ("", "file"):
                path = Path(url2pathname(parts.path))
                found.add(path if option == "find-links" else path.parent)  # an index links to files beside it
    return sorted(path for path in found if path.is_dir())


def volumes(directories: Sequence[Path]) -> list[str]:
    """Options that show the build those directories, read-only; podman has them, docker does not."""
    return [f"--volume={path}:{path}:ro" for path in directories]
