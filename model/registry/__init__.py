"""The registry: which model goes by which alias, and everything that ever happened, in a journal nobody rewrites."""

from model.registry.chain import Verified
from model.registry.entry import CANDIDATE, CHAMPION, Check, Entry
from model.registry.error import Busy, Conflict, RegistryError
from model.registry.registry import ANY, Registry, open_registry

__all__ = [
    "ANY",
    "CANDIDATE",
    "CHAMPION",
    "Busy",
    "Check",
    "Conflict",
    "Entry",
    "Registry",
    "RegistryError",
    "Verified",
    "open_registry",
]
