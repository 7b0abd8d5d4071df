"""What an image is built from: the Bento of one exact model, this source tree as a wheel, and the locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from cli.workspace import ROOT
from deploy.image.engine import EngineError
from settings import Settings

HERE = Path(__file__).parent


def context(directory: Path, tag: str, settings: Settings) -> None:
    """Fill an empty directory with what the Containerfile copies.

    Raises:
        EngineError: if BentoML or hatchling cannot build, with its last words.
    """
    _bento(directory, tag)
    _run("-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory / "wheel"))
    shutil.copytree(ROOT / "requirements", directory / "requirements")
    shutil.copy(HERE / "slim.py", directory)
    (directory / "usecases").mkdir()
    if settings.usecases is not None:
        for module in settings.usecases.glob("*.py"):
            shutil.copy(module, directory / "usecases")


def _bento(directory: Path, tag: str) -> None:
    """`bento/` in that directory: built in this model store, taken out, and removed from the store."""
    said = _run("-m", "bentoml", "build", "--arg", f"model={tag}", "--output", "tag")
    bento = said.rpartition("__tag__:")[2].split()[0]
    archive = directory / "holdfast.tar"
    try:
        _run("-m", "bentoml", "export", bento, str(archive))
    finally:
        _run("-m", "bentoml", "delete", "--yes", bento)
    with tarfile.open(archive) as packed:
        packed.extractall(directory / "bento", filter="data")
    archive.unlink()
    (directory / "bento").chmod(0o755)  # BentoML made it in a temporary directory of its own


def _run(*words: str) -> str:
    environ = dict(os.environ)
    for name in ("HOLDFAST_HOME", "HOLDFAST_USECASES", "BENTOML_HOME"):  # it runs in the repository, the user elsewhere
        if environ.get(name):
            environ[name] = str(Path(environ[name]).absolute())
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, *words], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"`{' '.join(words[1:])}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
