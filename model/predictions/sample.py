"""Whose answers are recorded, where not everybody's are."""

from __future__ import annotations

from hashlib import blake2b


class Sample:
    """A share of all customers, by a hash of the key: one is wholly in it or out, on every pod and for ever, and who is
    in a share is in every larger one.

    Args:
        share: from 0, nobody, to 1, everybody.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._below = int(share * 2**64)

    def __contains__(self, key: str) -> bool:
        """Whether this customer is in it; the key is the plain one."""
        digest = blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._below
