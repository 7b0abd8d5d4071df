"""Hostile gRPC: calls, and bytes of HTTP/2 below them. All from one seed."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from benchmarks.noise import noisy


@dataclass(frozen=True)
class Called:
    """A gRPC call; `cancel`: seconds after which the client gives up."""

    method: str
    body: bytes
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    timeout: float = 20.0
    cancel: float | None = None


class HostileCalls:
    """Makes messages, of valid bodies by method and by a source of chance."""

    def __init__(self, chance: random.Random, calls: dict[str, list[bytes]]) -> None:
        self.chance, self.calls = chance, calls
        self.methods = sorted(calls)

    def call(self) -> Called:
        """A gRPC call."""
        chance = self.chance
        method = chance.choice(self.methods)
        body = chance.choice(self.calls[method])
        kind = chance.random()
        if kind < 0.1:
            body = chance.choice(self.calls[chance.choice(self.methods)])
        elif kind < 0.45:
            body = noisy(chance, body)
        elif kind < 0.6:
            body = self.wire(body)
        elif kind < 0.65:
            body = chance.randbytes(chance.choice((1, 10, 1_000, 100_000)))
        elif kind < 0.655:
            body = bytes(1_200_000)
        if chance.random() < 0.03:
            method = chance.choice(
                (method + "x", "/" + "a" * 3_000, "/no.Service/Method", method.replace("/", "//"), "/")
            )
        metadata: list[tuple[str, str | bytes]] = []
        while chance.random() < 0.2:
            name = chance.choice(
                (
                    "x-request-id",
                    "traceparent",
                    "x-api-key",
                    "authorization",
                    "x-bin",
                    "grpc-previous-rpc-attempts",
                    "holdfast-problem-bin",
                )
            )
            value = "".join(chr(chance.randint(32, 126)) for _ in range(chance.choice((0, 5, 200, 3_000))))
            metadata.append((name, value.encode() if name.endswith("-bin") else value))
        timeout = chance.choice((1e-6, 1e-4, 1e-3, 0.01)) if chance.random() < 0.04 else 20.0
        return Called(
            method, body, tuple(metadata), timeout, chance.random() * 0.01 if chance.random() < 0.04 else None
        )

    def http2(self) -> bytes:
        """Bytes for the gRPC port: a well-formed call of which something is wrong, or a flood of one kind of frame."""
        chance, method = self.chance, self.chance.choice(self.methods)
        body = chance.choice(self.calls[method])
        size = len(body) if chance.random() < 0.5 else chance.choice((0, 1, len(body) + 1, 2**31, 2**32 - 1))
        message = struct.pack(">BI", chance.choice((0, 0, 1, 255)), size) + body
        head = frame(
            1,
            4,
            1,
            hpack(
                (":method", "POST"),
                (":scheme", "http"),
                (":path", method),
                (":authority", "x"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ),
        )
        frames = [frame(4, 0, 0, b""), head, frame(0, 1, 1, message)]
        kind = chance.randint(0, 6)
        if kind == 0:
            frames.insert(
                chance.randint(0, 3),
                frame(
                    chance.randint(0, 255),
                    chance.randint(0, 255),
                    chance.choice((0, 1, 2, 3)),
                    chance.randbytes(chance.randint(0, 50)),
                ),
            )
        elif kind == 1:
            frames += [frame(6, 0, 0, bytes(8))] * 500
        elif kind == 2:
            frames += [frame(4, 0, 0, struct.pack(">HI", 4, chance.randint(0, 2**32 - 1)))] * 100
        elif kind == 3:
            frames[1:2] = [frame(1, 0, 1, hpack((":method", "POST")))] + [
                frame(9, 0, 1, hpack(("x" * 50, "y" * 100)))
            ] * 300
        elif kind == 4:
            frames = [
                frames[0],
                *(
                    part
                    for n in range(1, 400, 2)
                    for part in (head[:5] + struct.pack(">I", n) + head[9:], frame(3, 0, n, struct.pack(">I", 8)))
                ),
            ]
        elif kind == 5:
            frames.append(frame(8, 0, chance.choice((0, 1)), struct.pack(">I", chance.choice((0, 2**31 - 1)))))
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames)
        return noisy(chance, data) if chance.random() < 0.3 else data

    def wire(self, body: bytes) -> bytes:
        """Protobuf's wire format with a field that lies, behind a message."""
        chance = self.chance
        number, kind = chance.choice((1, 2, 3, 5, 7, 15, 536_870_911)), chance.randint(0, 7)
        tag = varint(number << 3 | kind)
        payload = chance.choice(
            (
                b"",
                varint(2**63),
                varint(2**31),
                b"\xff" * 11,
                chance.randbytes(8),
                varint(5) + b"abcde",
                varint(2**62) + b"x",
                varint(4) + b"\xff\xff\xff\xff",
            )
        )
        nested = b"".join(varint(number << 3 | 3) for _ in range(chance.choice((0, 0, 0, 99, 5_000))))
        return body + nested + tag + payload


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def hpack(*headers: tuple[str, str]) -> bytes:
    """Headers as literals without Huffman's code (RFC 7541, section 6.2.2); none is longer than 126."""
    return b"".join(
        b"\0" + bytes((len(n),)) + n.encode() + bytes((min(126, len(v)),)) + v[:126].encode() for n, v in headers
    )


def varint(number: int) -> bytes:
    """Protobuf's variable-length integer."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
