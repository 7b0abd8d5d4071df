"""Directories in the making: nobody sees them before they are whole, and those of dead processes are swept away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from features.store.base import StoreError
from features.store.lock import exclusive


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """An empty directory under `root` while the block runs; what is still in it then is removed.

    Each has a lock that its process holds, so that one whose process was killed is known, and swept by the next.
    """
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _changing(root):
            sweep(root)
            own = Path(mkdtemp(dir=root))
            stack.enter_context(exclusive(own / "lock", f"using {own}"))
            stack.callback(_remove, root, own)
        directory = own / "content"
        directory.mkdir()
        yield directory


def _changing(root: Path) -> AbstractContextManager[None]:
    """Only one process at a time makes directories under `root`, and removes them: none vanishes under a sweep."""
    return exclusive(root / "lock", "changing the staging directories", wait=True)


def _remove(root: Path, own: Path) -> None:
    with _changing(root):
        shutil.rmtree(own, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove the directories under `root` whose processes are dead."""
    for abandoned in root.iterdir():
        if abandoned.is_dir():
            with suppress(StoreError), exclusive(abandoned / "lock", f"using {abandoned}"):
                shutil.rmtree(abandoned, ignore_errors=True)


def settle(directory: Path) -> None:
    """Let any user read what is in the directory (0644, directories 0755), and let it survive a power failure."""
    for path in [*directory.rglob("*"), directory]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        sync(path)


def sync(path: Path) -> None:
    """Have a file's content, or a directory's names, written to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace(path: Path, text: str) -> None:
    """Write a file so that readers see the old content or the new one, whenever the process or the machine stops."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    sync(new)
    new.replace(path)
