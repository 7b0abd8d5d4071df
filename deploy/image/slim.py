"""Takes out of a virtual environment what nothing at work reads, and compiles the rest: `python slim.py DIRECTORY`.

Runs in the builder's stage, with Python's standard library only.
"""

from __future__ import annotations

import compileall
import shutil
import sys
from py_compile import PycInvalidationMode
from pathlib import Path

KEPT = ("numpy/_core/tests", "numpy/testing/tests")
"""Tests that code at work imports: numpy.testing does, and SciPy imports that."""


def slim(venv: Path) -> None:
    """Remove tests, headers, stubs and lists of files that no longer hold; compile what is left.

    Bytecode is not checked against its source again: neither changes in an image, and each look would cost time at a
    start.
    """
    (packages,) = venv.glob("lib/python3.*/site-packages")
    for name in ("tests", "include"):
        for found in list(packages.rglob(name)):
            if found.is_dir() and str(found.relative_to(packages)) not in KEPT:
                shutil.rmtree(found)
    for pattern in ("*.dist-info/RECORD", "**/*.pyi", "**/*.pxd", "**/*.pyx", "**/*.a", "**/*.h"):
        for file in packages.glob(pattern):
            file.unlink()
    for script in venv.glob("bin/[Aa]ctivate*"):
        script.unlink()
    compileall.compile_dir(packages, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
