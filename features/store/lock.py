"""One writer at a time, over files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.store.base import Held


@contextmanager
def exclusive(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; a second holder is refused, or waits.

    Raises:
        Held: if another process holds it, naming that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise Held(f"{what}: process {file.read().strip() or '?'} is doing it; try again when it is done") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
