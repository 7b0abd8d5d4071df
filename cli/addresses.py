"""Addresses on a command line, where a password must not stand: other users read it."""

from __future__ import annotations

from pathlib import Path

from settings import HoldfastError


def address(given: str) -> str:
    """The address that is given, or of `@FILE` the one that the file holds.

    Raises:
        HoldfastError: if the file cannot be read, or is empty.
    """
    if not given.startswith("@"):
        return given
    try:
        held = Path(given[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HoldfastError(f"{given} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not held:
        raise HoldfastError(f"{given} is empty: it should hold an address")
    return held
