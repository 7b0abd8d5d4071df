"""What is wrong with a use case."""

from __future__ import annotations

from settings import HoldfastError


class UseCaseError(HoldfastError, ValueError):
    """A use case cannot be found or does not hold together; the message names it and what to do."""
