"""What can be wrong with a registry."""

from __future__ import annotations

from settings import HoldfastError


class RegistryError(HoldfastError, LookupError):
    """An alias or a way back that does not exist, or a journal that is not whole; the message says what to do."""


class Conflict(RegistryError):
    """An alias is no longer what it was when its change was decided; the message tells who changed it."""


class Busy(RegistryError):
    """Another process is doing what only one may do at a time; the message names it."""
