"""Refusals: how often requests were refused for what they said. Of those there is no prediction, and so no record."""

from __future__ import annotations

import msgspec


class Refusals(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one process refused in some seconds. Fields are encoded by position: a new one goes to the end and has a
    default."""

    id: str
    """Of this record."""
    time: int
    """When it was written, microseconds."""
    counts: dict[str, int]
    """By reason: `field NAME`, rows in which that field of the contract was refused; `field other`, rows with one that
    the contract does not have, or without any; or the kind of problem of a whole request, such as `malformed-body`. A
    row or a request that was refused for several reasons counts in each."""
