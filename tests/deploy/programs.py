"""promtool and prometheus on any machine: from the PATH, or else out of Debian's package, without root.

Version 2: since 3.0 a range leaves out its first instant, and figures in the texts that tests expect are others.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

from cli.workspace import ROOT

CACHE = ROOT / "var" / "tests" / "prometheus"
"""Where the package is unpacked, once for all runs."""


def program(name: str) -> str:
    """Path of `promtool` or `prometheus`.

    Raises:
        RuntimeError: if it is neither installed nor to be had, with the words of apt-get.
    """
    found = shutil.which(name)
    if found and _run(Path(), found, "--version").startswith(f"{name}, version 2."):
        return found
    own = CACHE / "usr" / "bin" / name
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process may be fetching it
        if not own.exists():
            with tempfile.TemporaryDirectory(dir=CACHE.parent) as directory:
                _fetch(Path(directory)).rename(CACHE)
    return str(own)


def _fetch(directory: Path) -> Path:
    """Debian's package of Prometheus, checked by apt against Debian's keys, unpacked in the directory."""
    lists, cache, made = directory / "lists", directory / "cache", directory / "made"
    for one in (lists / "partial", cache / "archives" / "partial", made):
        one.mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]  # those of the system are root's
    try:
        _run(directory, "apt-get", *own, "update")
        _run(directory, "apt-get", *own, "download", "prometheus")
        _run(directory, "dpkg", "-x", *(path.name for path in directory.glob("prometheus_*.deb")), made.name)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"Prometheus 2 is not on the PATH, and Debian's package cannot be fetched: {error}. Install it, so that "
            "`promtool --version` says 2.x"
        ) from error
    return made


def _run(directory: Path, *command: str) -> str:
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(ran.stdout + ran.stderr)[-2000:]}")
    return ran.stdout + ran.stderr
