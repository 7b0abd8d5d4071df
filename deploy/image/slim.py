"""Takes out of a virtual environment what nothing at work reads, and compiles the rest: `slim.py DIRECTORY IMAGE`.

Runs in the builder's stage, with Python's standard library only.
"""

from __future__ import annotations

import compileall
import re
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

DROPPED = ("**/tests", "**/include", "tornado/test", "numpy/distutils")
"""Directories of what tests or compiles a package."""
UNUSED = {
    "serving": [
        f"scipy/{part}"
        for part in (
            *("cluster", "constants", "datasets", "differentiate", "fft", "fftpack", "integrate", "interpolate", "io"),
            *("misc", "ndimage", "odr", "optimize", "signal", "spatial", "stats"),
        )
    ]
}
"""By image, packages' parts of which nothing is imported there: XGBoost needs of scipy what tells a sparse matrix."""
SOURCES = ("RECORD", "*.pyi", "*.pxd", "*.pyx", "*.c", "*.cpp", "*.h", "*.a")
"""Files of no use at work, or, like a list of all files, no longer right."""
SELDOM = re.compile(r"/(pygments/lexers|pygments/styles)/")
"""Hundreds of modules of which a process reads one, or none: they stay as they are, uncompiled."""


def slim(venv: Path, image: str) -> None:
    """Remove tests, headers, stubs, what the image does not use, lists of files that no longer hold; compile the rest.

    Bytecode is not checked against its source again: neither changes in an image, and each look would cost time at a
    start.
    """
    (packages,) = venv.glob("lib/python3.*/site-packages")
    for pattern in (*DROPPED, *UNUSED.get(image, [])):
        for directory in [found for found in packages.glob(pattern) if found.is_dir()]:
            shutil.rmtree(directory, ignore_errors=True)  # it may have been inside another
    for pattern in SOURCES:
        for file in packages.rglob(pattern):
            file.unlink()
    for script in venv.glob("bin/[Aa]ctivate*"):
        script.unlink()
    compileall.compile_dir(
        packages, rx=SELDOM, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )


if __name__ == "__main__":
    slim(Path(sys.argv[1]), sys.argv[2])
