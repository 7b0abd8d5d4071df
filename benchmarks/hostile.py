"""Hostile HTTP: valid requests of every route, and what can be done to them. All from one seed.

A message is bytes for a connection, and what the client does with them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.hostile_values import MEDIA, METHODS, NUMBERS, PATHS, SURROGATES, TEXTS
from benchmarks.noise import noisy

Act = Literal["whole", "pieces", "hang up", "reset", "half-close", "silent"]
"""What the client does: sends it and reads; in pieces; goes half-way, or before the answer, politely or not; closes its
own side and reads; sends half of it and waits."""


ACTS: tuple[Act, ...] = ("whole", "pieces", "hang up", "reset", "half-close", "silent")


@dataclass(frozen=True)
class Request:
    """An HTTP request whose parts can still be changed."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sent:
    """What goes to a connection. `framed` is how many answers are due; 0: nobody knows."""

    data: bytes
    act: Act = "whole"
    framed: int = 1


class Hostile:
    """Makes messages, of valid requests and by a source of chance."""

    def __init__(self, chance: random.Random, requests: list[Request]) -> None:
        self.chance, self.requests = chance, requests

    def message(self) -> Sent:
        """A message for an HTTP connection."""
        chance = self.chance
        request = chance.choice(self.requests)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            request = self._changed(request)
        sent = self._framed(request)
        if chance.random() < 0.04:  # several at once
            more = [self._plain(chance.choice(self.requests)) for _ in range(chance.randint(1, 30))]
            sent = replace(sent, data=b"".join(more) + sent.data, framed=sent.framed and sent.framed + len(more))
        if chance.random() < 0.06:
            sent = Sent(noisy(self.chance, sent.data), framed=0)
        return replace(sent, act=chance.choices(ACTS, (80, 6, 5, 4, 4, 0.3))[0])

    def _changed(self, request: Request) -> Request:
        chance = self.chance
        kind = chance.random()
        if kind < 0.6 and request.body:
            return replace(request, body=self._body(request.body))
        if kind < 0.8:
            return replace(request, headers=(*request.headers, self._header()))
        if kind < 0.88:
            return replace(request, method=chance.choice(METHODS))
        if kind < 0.94:
            return replace(request, path=chance.choice(PATHS))
        return replace(request, body=noisy(self.chance, request.body))

    def _body(self, body: bytes) -> bytes:
        chance = self.chance
        kind = chance.random()
        if kind < 0.2:
            return noisy(self.chance, body)
        if kind < 0.23:
            return chance.choice(
                (
                    b"",
                    b" ",
                    b"\xef\xbb\xbf" + body,
                    body.decode("utf-8", "replace").encode("utf-16"),
                    body + body,
                    b"null",
                    b"[]",
                    b"0",
                    b'""',
                    b"\0",
                    body[:-1],
                )
            )
        if kind < 0.26:
            depth = chance.choice((10, 190, 250, 1_000, 100_000))
            opened, inner, close = chance.choice(
                (
                    (b"[", b"", b"]"),
                    (b'{"a":', b"1", b"}"),
                    (b'{"attributes":', b"{}", b"}"),
                    (b'[{"rows":', b"[]", b"}]"),
                )
            )
            nest = opened * depth + inner + (close * depth if chance.random() < 0.5 else b"")
            return nest if chance.random() < 0.5 else self._put(body, nest.decode())
        if kind < 0.263:
            return self._put(body, json.dumps("x" * chance.choice((900_000, 1_200_000))))
        return self._put(body, self._value())

    def _value(self) -> str:
        chance = self.chance
        kind = chance.randint(0, 5)
        if kind == 0:
            return chance.choice(NUMBERS)
        if kind == 1:
            return chance.choice(SURROGATES)
        if kind == 2:
            return json.dumps(chance.choice(TEXTS), ensure_ascii=chance.random() < 0.5)
        if kind == 3:
            return chance.choice(
                (
                    "null",
                    "true",
                    "false",
                    "[]",
                    "{}",
                    "[null]",
                    '{"":null}',
                    "[[1]]",
                    '{"a":1,"a":2}',
                    "None",
                    "undefined",
                )
            )
        if kind == 4:
            return json.dumps([chance.choice(TEXTS[:5])] * chance.choice((1, 100, 20_000)))
        return str(chance.choice((-1, 0, 1, 2**31, 2**53, -(2**63), 2**64, 0.1, 1e308, -1e-320)))

    def _put(self, body: bytes, text: str) -> bytes:
        """The JSON with something in a place of its own: a value, a name, or a name twice."""
        chance = self.chance
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):  # it has been changed before
            return noisy(self.chance, body)
        mark = "\ue000here"
        places = list(_places(told))
        if not places:
            told = mark
        else:
            node, at = chance.choice(places)
            kind = chance.randint(0, 3)
            if at is None:
                node += [mark] * chance.choice((1, 1, 5_000 if len(text) < 300 else 1))
            elif kind == 0 or isinstance(node, list):
                node[at] = mark
            elif kind == 1:
                del node[at]
            elif kind == 2:
                node[chance.choice([*TEXTS[:5], "x", "__proto__"])] = node.pop(at)
            else:
                node[f"{at}{mark}"] = mark  # the same name again
        written = json.dumps(told, ensure_ascii=False)
        return written.replace(f'"{mark}"', text).replace(mark, "").encode("utf-8", "surrogatepass")

    def _header(self) -> tuple[str, str]:
        chance = self.chance
        return chance.choice(
            (
                ("content-type", chance.choice(MEDIA)),
                (
                    "content-length",
                    chance.choice(
                        (
                            "0",
                            "1",
                            "5",
                            "99999",
                            "1000001",
                            "99999999999999999999",
                            "-1",
                            "0x10",
                            "1e3",
                            "",
                            " 3",
                            "3, 3",
                        )
                    ),
                ),
                (
                    "transfer-encoding",
                    chance.choice(("chunked", "gzip", "chunked, chunked", "identity", "xchunked", "chunked\x0b")),
                ),
                ("content-encoding", chance.choice(("gzip", "identity", "br", "deflate, gzip", ""))),
                ("x-request-id", chance.choice(("", "x" * 200, "a b", "\xff", "ok-1", "a\tb", "%0d%0a"))),
                (
                    "traceparent",
                    chance.choice(
                        (
                            "",
                            "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
                            "ff-x",
                            "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
                        )
                    ),
                ),
                (
                    "x-request-timeout-ms",
                    chance.choice(("0", "-1", "", "abc", "1.5", "1e9", "٣", "9" * 400, "60000", " 5000")),
                ),
                ("inference-header-content-length", chance.choice(("0", "-1", "1", "99999999", "abc", "", "9" * 400))),
                ("expect", chance.choice(("100-continue", "200-ok"))),
                ("connection", chance.choice(("close", "keep-alive", "upgrade", "keep-alive, close"))),
                ("upgrade", chance.choice(("h2c", "websocket"))),
                ("host", chance.choice(("", "a b", "x:99999", "evil.example"))),
                ("accept", chance.choice(("text/html", "*/*", "x" * 5_000))),
                ("authorization", chance.choice(("Bearer ", "Bearer " + "x" * 3_000, "Basic Og==", "\xff"))),
                ("x-" + "n" * chance.choice((1, 3_000)), "v" * chance.choice((1, 3_000, 40_000, 200_000))),
                ("origin", "https://evil.example"),
                ("bad name", "x"),
                ("", "x"),
                ("x-odd", chance.choice(("a\nb", "a\r\n b", "\0", "a\rb"))),
            )
        )

    @staticmethod
    def _plain(request: Request) -> bytes:
        head = f"{request.method} {request.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        own = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        return f"{head}{own}content-length: {len(request.body)}\r\n\r\n".encode("utf-8", "surrogatepass") + request.body

    def _framed(self, request: Request) -> Sent:
        """A request as bytes, with its length said as it should be, in chunks, or falsely."""
        chance = self.chance
        names = {name for name, _ in request.headers}
        version = (
            "HTTP/1.1"
            if chance.random() < 0.98
            else chance.choice(("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", ""))
        )
        lines = [f"{request.method} {request.path} {version}"]
        if "host" not in names:
            lines.append("host: x")
        if "content-type" not in names and chance.random() < 0.95:
            lines.append("content-type: application/json")
        lines += [f"{name}: {value}" for name, value in request.headers]
        body, sure = request.body, version == "HTTP/1.1" and request.method in ("GET", "POST", "PUT", "DELETE", "PATCH")
        if "transfer-encoding" in names or ("content-length" not in names and chance.random() < 0.08):
            if "transfer-encoding" not in names:
                lines.append("transfer-encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in self._parts(body)) + b"0\r\n\r\n"
            if chance.random() < 0.3:
                body, sure = (
                    chance.choice(
                        (
                            noisy(self.chance, body),
                            body[:-2],
                            b"ffffffffffffffff\r\nx",
                            b"-1\r\n",
                            b"5;ext=" + b"x" * 20_000 + b"\r\nabcde\r\n0\r\n\r\n",
                        )
                    ),
                    False,
                )
        elif "content-length" not in names:
            lines.append(f"content-length: {len(body)}")
        sure = sure and not names & {
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
            "expect",
            "bad name",
            "",
            "x-odd",
            "host",
        }
        end = "\r\n" if chance.random() < 0.98 else chance.choice(("\n", "\r", "\n\n"))
        head = (
            (end.join(lines) + end + end).encode("latin-1", "replace")
            if chance.random() < 0.5
            else (end.join(lines) + end + end).encode("utf-8", "replace")
        )
        sure = (
            sure
            and end == "\r\n"
            and len(head) < 30_000
            and request.path.isascii()
            and request.path.startswith("/")
            and "\t" not in request.path
        )
        return Sent(head + body, framed=int(sure))

    def _parts(self, body: bytes) -> list[bytes]:
        size = max(1, self.chance.choice((1, 7, 1_000, len(body))))
        size = max(size, len(body) // 2_000)
        return [body[at : at + size] for at in range(0, len(body), size)]


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Where something can be put: an object's names, a list's first places, and None for its end."""
    if isinstance(node, dict):
        inner: list[Any] = list(node)
    else:
        inner = list(range(min(3, len(node)))) if isinstance(node, list) else []
    for at in inner:
        yield node, at
        yield from _places(node[at])
    if isinstance(node, list):
        yield node, None
