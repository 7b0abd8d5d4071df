"""Which process of a pod serves: named so that another one with the same number is not taken for it."""

from __future__ import annotations

import os
from pathlib import Path


def identity(pid: int | None = None) -> str:
    """A process of this machine, by its number and, on Linux, when it started; empty if there is no such process.

    The start is the boot's id and the ticks since then (proc(5), /proc/PID/stat): setting a clock changes neither.
    """
    number = os.getpid() if pid is None else pid
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _elsewhere(number)
    return "" if state in "ZX" else f"{number} {boot}-{fields[18]}"


def gone(named: str) -> bool:
    """Whether that process of this machine has ended; not if nothing is known of it."""
    return named != "" and identity(int(named.partition(" ")[0])) != named


def _elsewhere(number: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""  # Linux, and no such process
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # somebody else's
    return str(number)
