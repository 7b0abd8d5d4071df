"""Noise: what becomes of bytes on a bad day."""

from __future__ import annotations

import random


def noisy(chance: random.Random, data: bytes) -> bytes:
    """Bytes turned, cut out, cut off, repeated or put in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randint(0, len(changed))
        kind = chance.randint(0, 4)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randint(0, 7)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + chance.randint(1, 20)]
        elif kind == 3:
            changed[at:at] = chance.choice(
                (b"\xff\xfe", b"\0", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", chance.randbytes(5))
            )
        else:
            changed[at:at] = changed[max(0, at - 30) : at] * chance.randint(1, 20)
    return bytes(changed)
