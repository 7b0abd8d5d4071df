"""What stands for a customer's key where the key itself must not: its HMAC-SHA256 (RFC 2104) with the user's secret.

Without the secret nobody finds out whose it is, nor tries out keys. Whoever joins something with the prediction log
(feedback, outcomes, monitoring) hashes with the same secret, and sees by `mark` whether it is the same.
"""

from __future__ import annotations

import hmac

from pydantic import SecretStr

DIGITS = 32
"""Hex digits of a pseudonym: 128 bits, so that no two of 10**9 keys have the same."""
_WHICH = "which secret this is"


class Pseudonyms:
    """Keys as the prediction log holds them.

    Args:
        secret: HOLDFAST_ID_HMAC_KEY; None leaves keys as they are.

    Attributes:
        mark: 8 hex digits that say which secret; "" for none.
    """

    def __init__(self, secret: SecretStr | None) -> None:
        self._begun = None if secret is None else hmac.new(secret.get_secret_value().encode(), digestmod="sha256")
        self.mark = "" if self._begun is None else self(_WHICH)[:8]

    def __call__(self, key: str) -> str:
        """What stands for it: `DIGITS` hex digits, or itself if there is no secret."""
        if self._begun is None:
            return key
        whole = self._begun.copy()
        whole.update(key.encode(errors="surrogatepass"))
        return whole.hexdigest()[:DIGITS]
