"""What a request asks for once it was accepted, whatever protocol it came by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rows:
    """n accepted rows.

    Attributes:
        keys: n. columns: one list of n plain values per field of the request's contract, in its order; as the contract
            read them, None where a value is missing.
        places: n positions in a bulk request; None for a single prediction.
        errors: of the bulk request's other rows: `{"row": position, "problems": [...]}`.
    """

    keys: list[str]
    columns: tuple[list[Any], ...]
    places: Sequence[int] | None = None
    errors: Sequence[dict[str, Any]] = ()

    def __len__(self) -> int:
        return len(self.keys)
