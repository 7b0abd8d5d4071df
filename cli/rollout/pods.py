"""The servers behind some addresses, looked at again and again: what each has counted since it was first seen."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from cli.rollout.counts import Counts, Look, MetricsError, read

PATIENCE = 3.0
"""Seconds that one look may take."""
AT_ONCE = 16
"""Servers that are looked at side by side."""


class Pod:
    """One server, from the first look at it on.

    Attributes:
        last: the last look at it that came to something. restarts: how often it began anew since the first one.
        answers: whether it did at the last look, or was gone from the addresses then.
    """

    def __init__(self, first: Look) -> None:
        self.last, self.restarts, self.answers = first, 0, True
        self._base, self._before = first.counts, Counts()

    def see(self, look: Look) -> None:
        """Take another look into account."""
        if _anew(self.last, look):
            self._before, self._base = self.counted, Counts()
            self.restarts += 1
        self.last, self.answers = look, True

    @property
    def counted(self) -> Counts:
        """What it has counted since the first look."""
        return self._before + (self.last.counts - self._base)


class Pods:
    """All servers that were ever seen behind some addresses.

    Args:
        places: HOST and port; every address that a HOST has is a server, as those of a headless Service are.
    """

    def __init__(self, places: Sequence[tuple[str, int]]) -> None:
        self.places = places
        self.seen: dict[tuple[str, str], Pod] = {}
        self.trouble: dict[str, str] = {}
        """Why an address told nothing at the last look."""

    def look(self) -> None:
        """Look at each once."""
        addresses = sorted({address for place in self.places for address in _addresses(*place)})
        with ThreadPoolExecutor(AT_ONCE) as threads:
            looks = list(zip(addresses, threads.map(_look, addresses), strict=True))
        self.trouble = {address: look for address, look in looks if isinstance(look, str)}
        for (address, _), pod in self.seen.items():
            pod.answers = address not in self.trouble
        for address, look in looks:
            if isinstance(look, str):
                continue
            known = self.seen.get((address, look.track))
            if known is None:
                self.seen[address, look.track] = Pod(look)
            else:
                known.see(look)

    def of(self, track: str) -> list[Pod]:
        """Those of a track."""
        return [pod for (_, own), pod in self.seen.items() if own == track]


def total(pods: Iterable[Pod]) -> Counts:
    """What they have counted together."""
    return sum((pod.counted for pod in pods), Counts())


def _addresses(host: str, port: int) -> set[str]:
    """Those a name has now; none where there is no such name, as that of a Service without pods."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return set()
    return {f"[{info[4][0]}]:{port}" if info[0] == socket.AF_INET6 else f"{info[4][0]}:{port}" for info in found}


def _look(address: str) -> Look | str:
    """What the server there tells, or why it does not."""
    try:
        answer = httpx.get(f"http://{address}/metrics", timeout=PATIENCE, trust_env=False)
        answer.raise_for_status()
        return read(answer.text)
    except (httpx.HTTPError, MetricsError) as error:
        return str(error) or type(error).__name__


def _anew(before: Look, now: Look) -> bool:
    """Whether another process counts: it started at another time or, where that is not told, has counted less."""
    if before.started == before.started and now.started == now.started:
        return before.started != now.started
    return now.counts.requests < before.counts.requests
